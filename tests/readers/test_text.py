"""Trace files as streams of events: every layout, in blocks, whole or broken."""

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaleprof.errors import BrokenFile
from scaleprof.readers.json_text import inflate
from scaleprof.readers.json_text import text as text_module
from scaleprof.readers.json_text.text import head_of, pieces, tail_of, whole_text
from tests.readers.making import write_bytes

DECODER = msgspec.json.Decoder(list[dict[str, Any]])
ONE = msgspec.json.Decoder(dict[str, Any])
EVENTS = [{"ph": "X", "name": f"a{number}", "args": {"list": [{}, {"b": "}, {"}]}} for number in range(50)]


def read(path: Path) -> tuple[list[Any], dict[str, Any], int, int | None]:
    """Events, metadata, lost events, where the file was cut off."""
    events: list[Any] = []
    metadata: dict[str, Any] = {}
    lost, cut_off = 0, None
    for piece in pieces(path, DECODER, ONE):
        events += piece.events
        lost += piece.lost
        for part in piece.metadata:
            metadata |= json.loads(part)
        cut_off = piece.cut_off_at if piece.cut_off_at is not None else cut_off
    return events, metadata, lost, cut_off


@pytest.fixture(params=[1 << 20, 256, 40])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks larger than the file, smaller, and smaller than one event."""
    monkeypatch.setattr(text_module, "BLOCK_BYTES", request.param)
    monkeypatch.setattr(inflate, "_CAREFUL_BYTES", max(request.param // 4, 16))
    return int(request.param)


LAYOUTS = {
    "compact": json.dumps({"a": 1, "traceEvents": EVENTS, "z": [{"b": 2}, {"c": 3}]}, separators=(",", ":")),
    "blanks": json.dumps({"a": 1, "traceEvents": EVENTS, "z": [{"b": 2}, {"c": 3}]}),
    "indented": json.dumps({"a": 1, "traceEvents": EVENTS, "z": [{"b": 2}, {"c": 3}]}, indent=4),
    "metadata first": json.dumps({"a": 1, "z": [{"b": 2}, {"c": 3}], "traceEvents": EVENTS}),
    "metadata last": json.dumps({"traceEvents": EVENTS, "a": 1, "z": [{"b": 2}, {"c": 3}]}),
    "CRLF": json.dumps({"a": 1, "z": [{"b": 2}, {"c": 3}], "traceEvents": EVENTS}, indent=2).replace("\n", "\r\n"),
    "key inside": json.dumps({"a": 1, "z": [{"b": 2}, {"c": 3}], "i": {"traceEvents": [1]}, "traceEvents": EVENTS}),
    "key in a string": json.dumps({"a": 1, "z": [{"b": 2}, {"c": 3}], "i": '"traceEvents": [{', "traceEvents": EVENTS}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_every_layout_gives_the_same_events(tmp_path: Path, block_bytes: int, layout: str, name: str) -> None:
    events, metadata, lost, cut_off = read(write_bytes(tmp_path / name, LAYOUTS[layout].encode()))
    assert events == EVENTS
    assert (metadata["a"], metadata["z"]) == (1, [{"b": 2}, {"c": 3}])
    assert (lost, cut_off) == (0, None)


def test_a_bare_array_is_read(tmp_path: Path, block_bytes: int) -> None:
    assert read(write_bytes(tmp_path / "t.json", json.dumps(EVENTS).encode()))[0] == EVENTS


def test_a_byte_order_mark_is_skipped(tmp_path: Path, block_bytes: int) -> None:
    text = b"\xef\xbb\xbf" + LAYOUTS["compact"].encode()
    path = write_bytes(tmp_path / "t.json", text)
    assert read(path)[0] == EVENTS
    assert head_of(path, 10) == b'{"a":1,'


def test_an_empty_array_has_no_events_and_is_whole(tmp_path: Path) -> None:
    assert read(write_bytes(tmp_path / "t.json", b'{"a": 1, "traceEvents": [ ]}')) == ([], {"a": 1}, 0, None)


def test_gzip_is_known_by_its_first_bytes_not_its_name(tmp_path: Path) -> None:
    text = LAYOUTS["compact"].encode()
    assert read(write_bytes(tmp_path / "t.json", text, gz=True))[0] == EVENTS
    assert read(write_bytes(tmp_path / "t.json.gz", text, gz=False))[0] == EVENTS


def test_gzip_in_several_members_and_with_padding_is_one_text(tmp_path: Path, block_bytes: int) -> None:
    text = LAYOUTS["compact"].encode()
    members = gzip.compress(text[:700]) + gzip.compress(text[700:])
    assert read(write_bytes(tmp_path / "t.gz", members, gz=False))[0] == EVENTS
    assert read(write_bytes(tmp_path / "u.gz", members + b"\0" * 512, gz=False))[0] == EVENTS


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_a_cut_off_text_keeps_the_events_before_the_cut(tmp_path: Path, block_bytes: int, name: str) -> None:
    text = LAYOUTS["compact"]
    cut = text.index("a30") + 5
    events, metadata, lost, cut_off = read(write_bytes(tmp_path / name, text[:cut].encode()))
    assert events == EVENTS[:30]
    assert metadata == {"a": 1}
    assert cut_off == text.index("a30") - len(',{"ph":"X","name":"')
    assert lost == 0


def test_cut_off_compressed_data_keeps_the_events_before_the_cut(tmp_path: Path, block_bytes: int) -> None:
    # Distinct names, so that half of the compressed bytes hold about half of the text.
    events = [{"ph": "X", "name": f"{number * 7919 % 100_003:x}"} for number in range(20_000)]
    data = gzip.compress(json.dumps({"traceEvents": events}).encode())
    found, _, lost, cut_off = read(write_bytes(tmp_path / "t.json.gz", data[: len(data) // 2], gz=False))
    assert found == events[: len(found)]
    assert 5_000 < len(found) < 15_000
    assert lost == 0
    assert cut_off is not None


def test_damaged_compressed_data_ends_the_text(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(LAYOUTS["compact"].encode()))
    data[60:90] = bytes(30)
    path = write_bytes(tmp_path / "t.json.gz", bytes(data), gz=False)
    text, damage = whole_text(path)
    assert len(text) < len(LAYOUTS["compact"])
    assert "damaged" in damage


def test_an_event_that_is_no_json_costs_itself(tmp_path: Path, block_bytes: int) -> None:
    text = LAYOUTS["compact"].replace('"name":"a7"', '"name":}')
    events, _, lost, cut_off = read(write_bytes(tmp_path / "t.json", text.encode()))
    assert events == EVENTS[:7] + EVENTS[8:]
    assert (lost, cut_off) == (1, None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"hello", "is not JSON"),
        (b"\x89PNG....", "is not JSON"),
        (b'{"a": 1}', "holds no list of traceEvents"),
        (b'{"traceEvents": null}', "holds no list of traceEvents"),
        (b"\x1f\x8b\x08", "compressed data"),
    ],
)
def test_what_is_no_trace_says_so(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(BrokenFile, match=reason):
        read(write_bytes(tmp_path / "t.json", content, gz=False))


def test_a_file_without_an_event_anywhere_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_module, "LARGEST_GAP_BYTES", 10_000)
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 1_000)
    path = write_bytes(tmp_path / "t.json", b'{"traceEvents": [' + b"[" * 50_000)
    with pytest.raises(BrokenFile, match="no complete event"):
        read(path)


def test_head_and_tail_are_the_ends_of_the_text(tmp_path: Path) -> None:
    text = LAYOUTS["indented"].encode()
    for name in ("t.json", "t.json.gz"):
        path = write_bytes(tmp_path / name, text)
        assert head_of(path, 100)[:100] == text[:100]
        assert tail_of(path, 100) == text[-100:]


VALUES = st.recursive(
    st.none() | st.integers() | st.text('ab{}[],:"\\\n é', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab{}[]"\\', max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.dictionaries(st.text("xyz", max_size=3), VALUES, max_size=4), max_size=12),
    st.integers(20, 200),
    st.sampled_from([None, 1, 4]),
)
def test_any_json_survives_any_cutting(
    tmp_path_factory: pytest.TempPathFactory, events: list[Any], block: int, indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("json") / "t.json"
    write_bytes(path, json.dumps({"h": "[{", "traceEvents": events, "t": {"u": ["]"]}}, indent=indent).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_module, "BLOCK_BYTES", block)
        assert read(path) == (events, {"h": "[{", "t": {"u": ["]"]}}, 0, None)


def test_what_follows_behind_an_endless_gap_is_missing_not_what_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_module, "LARGEST_GAP_BYTES", 10_000)
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 1_000)
    text = LAYOUTS["compact"].encode()
    cut = text.index(b',{"ph":"X","name":"a30"')
    events, _, lost, cut_off = read(write_bytes(tmp_path / "t.json", text[:cut] + bytes(50_000) + text[cut:]))
    assert (events, lost, cut_off) == (EVENTS[:30], 0, cut)


def test_a_text_of_nothing_but_bad_events_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "MOST_LOST", 100)
    path = write_bytes(tmp_path / "t.json", b'{"traceEvents": [' + b'{"ph"},' * 500 + b"]}")
    with pytest.raises(BrokenFile, match="holds 500 events that cannot be decoded, beside 0 that can"):
        read(path)


def test_a_cut_within_an_event_that_has_others_in_its_arguments_is_no_cut(tmp_path: Path, block_bytes: int) -> None:
    inner = {"ph": "X", "name": "inner"}
    events = [{"ph": "X", "name": f"a{number}", "args": {"list": [{}, inner, inner]}} for number in range(50)]
    path = write_bytes(tmp_path / "t.json", json.dumps({"traceEvents": events}).encode())
    found: list[Any] = []
    for piece in pieces(path, DECODER, ONE, lambda block: None):
        found += piece.events
        assert piece.lost == 0
    assert found == events


def test_metadata_that_breaks_off_is_handed_on_as_it_is(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "t.json", b'{"a": 1, "traceEvents": [], "b": {"c"')
    (metadata,) = [piece.metadata for piece in pieces(path, DECODER, ONE) if piece.metadata]
    assert metadata == (b'{"a": 1}', b'{ "b": {"c"')
