"""Text made once and filled for every step."""

import json
from typing import Any

import numpy as np

from scaleprof.intervals import Spans, spans
from scaleprof.synth.dialects import DIALECTS, Event
from scaleprof.synth.template import STEP, duration, number, sequence, start, template_of

TIMES = spans([(4_000_000_000_000_000, 4_000_000_000_001_500), (7_001, 7_001), (12_345_678, 13_000_000)])


def event(row: int, **more: Any) -> Event:
    return {"ph": "X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7, "ts": start(row), "dur": duration(row), **more}


def filled(events: list[Event], dialect: str, step: int = 0) -> list[Event]:
    form = DIALECTS[dialect]
    text = form.between.encode().join(template_of(events, form, 100).filled(TIMES, step))
    decoded: list[Event] = json.loads(b"[" + text + b"]", parse_float=str, parse_int=str)
    return decoded


def times(dialect: str) -> list[tuple[str, str]]:
    return [(one["ts"], one["dur"]) for one in filled([event(row) for row in range(3)], dialect)]


def test_times_have_as_many_decimals_as_the_dialect_writes() -> None:
    assert times("native") == [("4000000000000.000", "1.500"), ("7.001", "0.000"), ("12345.678", "654.322")]
    assert times("compact") == [("4000000000000.0", "1.5"), ("7.001", "0.0"), ("12345.678", "654.322")]
    assert times("old2022") == [("4000000000000", "1"), ("7", "0"), ("12345", "654")]


def test_numbers_grow_with_the_step() -> None:
    events = [event(0, id=number(7), args={"Seq": sequence(2, 3)}), {**event(1), "name": f"ProfilerStep#{STEP}"}]
    first, later = filled(events, "native"), filled(events, "native", step=4)
    assert (first[0]["id"], first[0]["args"]["Seq"], first[1]["name"]) == ("7", "2", "ProfilerStep#0")
    assert (later[0]["id"], later[0]["args"]["Seq"], later[1]["name"]) == ("407", "14", "ProfilerStep#4")


def test_texts_are_kept_as_they_are() -> None:
    odd = 'est. achieved occupancy %, "quoted", <float, 4>, back\\slash, Größe'
    for dialect in DIALECTS:
        (found,) = filled([{**event(0), "name": odd}], dialect)
        assert found["name"] == odd


def test_many_events_are_filled_block_by_block() -> None:
    many = Spans(np.arange(2500, dtype=np.int64) * 1001, np.arange(2500, dtype=np.int64) * 1002)
    template = template_of([event(row) for row in range(2500)], DIALECTS["compact"], 0)
    parts = list(template.filled(many, 0))
    assert len(parts) == 3
    decoded = json.loads(b"[" + b",".join(parts) + b"]")
    assert [one["ts"] for one in decoded] == [row * 1001 / 1000 for row in range(2500)]
    assert [one["dur"] for one in decoded] == [row / 1000 for row in range(2500)]
