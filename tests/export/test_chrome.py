"""Chrome's format, to the letter."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest

from scaleprof.export import chrome
from scaleprof.export.chrome import ChromeWriter
from scaleprof.export.tracks import Track
from tests.export.making_shards import ABOUT, RANK, SHARD


def test_a_rank_to_the_letter() -> None:
    file = io.BytesIO()
    writer = ChromeWriter(file)
    writer.begin(ABOUT)
    written = writer.rank(RANK, SHARD)
    writer.end(ABOUT)
    text = file.getvalue().decode()
    assert json.loads(text)["otherData"]["run"] == "made"
    lines = [line.removesuffix(",") for line in text.splitlines()]
    assert lines[0] == '{"displayTimeUnit":"ns","traceEvents":['
    assert lines[1:-1] == [
        '{"ph":"M","pid":2,"name":"process_name","args":{"name":"rank 1"}}',
        '{"ph":"M","pid":2,"name":"process_labels","args":{"labels":"host, clock ±2 µs"}}',
        '{"ph":"M","pid":2,"name":"process_sort_index","args":{"sort_index":1}}',
        '{"ph":"M","pid":2,"tid":3,"name":"thread_name","args":{"name":"steps"}}',
        '{"ph":"M","pid":2,"tid":3,"name":"thread_sort_index","args":{"sort_index":0}}',
        '{"ph":"M","pid":2,"tid":4,"name":"thread_name","args":{"name":"stream 20"}}',
        '{"ph":"M","pid":2,"tid":4,"name":"thread_sort_index","args":{"sort_index":1}}',
        '{"ph":"X","pid":2,"tid":3,"ts":0.000,"dur":2000.001,"name":"step 0","cat":"step"}',
        '{"ph":"X","pid":2,"tid":4,"ts":1.001,"dur":7.999,"name":"sum \\"é\\"","cat":"kernel,collective",'
        '"args":{"number": 4, "wait_us": 2.999, "group": "0"},"bind_id":"0x5","flow_in":true,"flow_out":true}',
        '{"ph":"X","pid":2,"tid":4,"ts":1.001,"dur":2.999,"name":"wait","cat":"wait"}',
        '{"ph":"C","pid":2,"name":"GPU power","ts":0.005,"args":{"W":151.25}}',
        '{"ph":"C","pid":2,"name":"GPU power","ts":1000.005,"args":{"W":0.1}}',
    ]
    assert written == len("\n".join(text.splitlines()[1:-1]).encode()) + 1


def test_letters_that_are_none_do_no_harm() -> None:
    file = io.BytesIO()
    writer = ChromeWriter(file)
    writer.begin(ABOUT)
    writer.rank(type(RANK)(0, "rank 0", "\ud800 \x00"), SHARD)
    writer.end(ABOUT)
    assert json.loads(file.getvalue())["traceEvents"][1]["args"]["labels"] == "? \x00"


def test_a_rank_of_many_names_and_tracks_has_each_name_once_for_each_track_that_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not all names for each track: threads times names took a minute."""
    texts = [(f"name {place}", "cat") for place in range(50)]
    at = np.array([0])
    tracks = tuple(Track(f"thread {place}", texts, at + place, at, at + 1) for place in range(50))
    said: list[str] = []
    monkeypatch.setattr(chrome, "_text", lambda value: said.append(value) or f'"{value}"')
    file = io.BytesIO()
    ChromeWriter(file).rank(RANK, replace(SHARD, tracks=tracks, series=()))
    assert sum(str(text).startswith("name ") for text in said) == 50
    assert all(f'"name":"name {place}"'.encode() in file.getvalue() for place in range(50))
