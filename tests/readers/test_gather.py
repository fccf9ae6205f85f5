"""Blocks to the columns of a rank: what the scan leaves open, and the watch that is kept over it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.readers.base import Columns
from scaleprof.readers.json_text import text
from scaleprof.readers.json_text.scan import Scanned, Scanner
from scaleprof.readers.kineto import gather, operations
from scaleprof.readers.kineto.kineto import read_rows
from tests.readers.making import Json, complete, kernel, launch, write_bytes

HEAD, TAIL = '{"schemaVersion": 1, "traceEvents": [\n', "\n]}"


def write_events(path: Path, events: list[Any]) -> Path:
    """A file that the scan reads: a few hundred events, texts as they are."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return write_bytes(path, (HEAD + ",\n".join(texts) + TAIL).encode())


def many(count: int) -> list[Any]:
    return [complete("op", "cpu_op", number, 1) for number in range(count)]


def names_of(columns: Columns) -> list[str]:
    return [columns.names[name][1] for name in columns.name.tolist()]


def test_a_nan_in_arguments_loses_nothing_and_keeps_the_scan(tmp_path: Path) -> None:
    nan = json.dumps(complete("op", "cpu_op", 5, 1, x=1)).replace('"x": 1', '"x": nan')
    columns = read_rows([write_events(tmp_path / "t.json", [*many(1000), nan, *many(1000), nan, *many(50)])])
    assert len(columns.start_ns) == 2052
    assert not columns.caveats
    assert not columns.extra


@pytest.mark.parametrize("bad", ["nan", "-Infinity", '"a"b"', '"\\q"', '"\n"', '"\udcff"', "[" * 5000 + "]" * 5000])
def test_a_checked_event_that_no_decoder_takes_is_no_reason_to_read_slowly(tmp_path: Path, bad: str) -> None:
    sampled = json.dumps(complete("op", "cpu_op", 5, 1, x=1)).replace('"x": 1', f'"x": {bad}')
    path = tmp_path / "t.json"
    path.write_bytes(
        (HEAD + ",\n".join([sampled, *map(json.dumps, many(2500))]) + TAIL).encode("utf-8", "surrogateescape")
    )
    columns = read_rows([path])
    assert len(columns.start_ns) == 2501
    assert not columns.caveats


def test_odd_events_are_decoded_and_keep_their_rows(tmp_path: Path) -> None:
    odd = [complete("string", "cpu_op", "7.5", 1), complete("negative", "cpu_op", 8, -1), kernel("k", 9, 1, 5)]
    del odd[2]["dur"]
    columns = read_rows([write_events(tmp_path / "t.json", [*many(300), *odd, launch(10, 5), *many(300)])])
    assert names_of(columns)[300:304] == ["string", "negative", "k", "cudaLaunchKernel"]
    assert columns.start_ns[300:304].tolist() == [7_500, 8_000, 9_000, 10_000]
    assert columns.dur_ns[300:304].tolist() == [1_000, 0, 0, 5_000]
    assert columns.correlation[300:304].tolist() == [-1, -1, 5, 5]
    assert columns.extra == {"events_without_duration": 1, "negative_durations": 1}


def test_a_lost_event_of_a_scanned_block_is_counted_with_its_place(tmp_path: Path) -> None:
    path = write_events(tmp_path / "t.json", [*many(300), complete("lost", "cpu_op", "soon", 1), *many(300)])
    columns = read_rows([path])
    assert len(columns.start_ns) == 600
    at = path.read_bytes().index(b'"lost"')
    at = path.read_bytes().rindex(b"{", 0, at)
    assert columns.caveats == (f"t.json: events lost: 1 of 601, the first at byte {at:,}: they could not be decoded",)


def test_where_no_event_can_be_understood_all_are_counted(tmp_path: Path) -> None:
    events = [complete("op", "cpu_op", "soon", 1), complete("op", "cpu_op", "7", 1), complete("op", "cpu_op", 8, 1)]
    assert read_rows([write_events(tmp_path / "t.json", events)]).start_ns.tolist() == [7_000, 8_000]


SLOWLY = "t.json is laid out as no trace was before: it was read slowly, event by event"


def test_a_file_that_fools_the_scan_is_read_slowly(tmp_path: Path) -> None:
    inner = {"ph": "X", "cat": "cpu_op", "name": "inner", "pid": 1, "tid": 1, "ts": 5, "dur": 5}
    events = [complete("outer", "cpu_op", number, 1, list=[{}, inner]) for number in range(3000)]
    events[7]["dur"] = -1
    columns = read_rows([write_events(tmp_path / "t.json", events)])
    assert set(names_of(columns)) == {"outer"}
    assert columns.start_ns.tolist() == [number * 1000 for number in range(3000)]
    assert columns.extra == {"negative_durations": 1}
    assert columns.caveats in ((SLOWLY,), ())


def test_a_checked_row_that_is_an_argument_of_another_event_sends_the_file_to_the_slow_way(tmp_path: Path) -> None:
    inner = {"ph": "X", "cat": "cpu_op", "name": "inner", "pid": 1, "tid": 1, "ts": 5, "dur": 5}
    outer = complete("outer", "cpu_op", 999, 1, list=[{}, inner])
    columns = read_rows([write_events(tmp_path / "t.json", [*many(999), outer, *many(1500)])])
    assert "inner" not in names_of(columns)
    assert len(columns.start_ns) == 2500
    assert columns.caveats == (SLOWLY,)


@pytest.mark.parametrize("column", ["start_ns", "dur_ns", "fragment", "correlation"])
def test_a_difference_switches_the_file_to_the_slow_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    scan = Scanner.scan

    def fooled(scanner: Scanner, block: Any) -> Scanned | None:
        found = scan(scanner, block)
        if found is not None:
            getattr(found, column)[1000] = 1
        return found

    events = [launch(number, 7) for number in range(1500)] + [kernel("k", 5, 1, 7), complete("x", "cpu_op", 9, -9)]
    path = write_events(tmp_path / "t.json", events)
    expected = read_rows([path])
    monkeypatch.setattr(Scanner, "scan", fooled)
    columns = read_rows([path])
    assert not expected.caveats
    assert columns.caveats == (SLOWLY,)
    assert columns.start_ns.tolist() == expected.start_ns.tolist()
    assert columns.dur_ns.tolist() == expected.dur_ns.tolist()
    assert columns.correlation.tolist() == expected.correlation.tolist()
    assert names_of(columns) == names_of(expected)
    assert columns.extra == expected.extra == {"negative_durations": 1}


def test_one_event_in_a_thousand_is_decoded_besides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = gather.decode_event
    monkeypatch.setattr(gather, "decode_event", lambda text, one: decoded.append(text) or decode(text, one))
    monkeypatch.setattr(text, "BLOCK_BYTES", 10_000)
    read_rows([write_events(tmp_path / "t.json", many(3100))])
    assert [json.loads(event.rstrip(b",\n"))["ts"] for event in decoded] == [0, 1000, 2000, 3000]


def test_two_layouts_in_one_file_lose_nothing(tmp_path: Path) -> None:
    tight = [json.dumps(event, separators=(",", ":")) for event in many(300)]
    columns = read_rows([write_events(tmp_path / "t.json", [*many(300), *tight, *many(300)])])
    assert columns.start_ns.tolist() == [number * 1000 for number in range(300)] * 3
    assert not columns.caveats


def test_zeros_in_the_middle_are_not_passed_over(tmp_path: Path) -> None:
    path = write_events(tmp_path / "t.json", many(1000))
    content = bytearray(path.read_bytes())
    content[40_000:40_300] = bytes(300)
    path.write_bytes(content)
    columns = read_rows([path])
    assert columns.extra["events_lost"] >= 1
    assert 995 <= len(columns.start_ns) < 1000
    assert "events lost" in columns.caveats[0]


def test_counts_of_a_file_that_is_left_out_are_forgotten(tmp_path: Path) -> None:
    far = [complete("far", "cpu_op", 4e15, -1), complete("far", "cpu_op", "soon", 1)]
    broken = write_bytes(tmp_path / "a.json", json.dumps({"traceEvents": far, "baseTimeNanoseconds": 2**61}).encode())
    columns = read_rows([broken, write_events(tmp_path / "b.json", many(3))])
    assert columns.unread == {0}
    assert len(columns.start_ns) == 3
    assert not columns.extra


def test_notes_and_copies_come_from_scanned_and_decoded_events_alike(tmp_path: Path) -> None:
    events = [
        kernel("nccl", 1, 1, 5, op="allreduce", n_in=8),
        complete("Memcpy DtoH", "gpu_memcpy", 2, 1, pid=0, tid=7, correlation=6, bytes=512),
        complete("Memcpy DtoH", "gpu_memcpy", 3, 1, pid=0, tid=7, correlation="6", bytes="256"),
    ]
    columns = read_rows([write_events(tmp_path / "t.json", [*many(200), *events, *many(200)])])
    assert {row: note.op for row, note in columns.notes.items()} == {200: "allreduce"}
    assert [part.tolist() for part in columns.copied] == [[201, 202], [512, 256]]


def product(ts: Any, rows: int, **args: Any) -> Json:
    return complete("aten::mm", "cpu_op", ts, 1, dims=[[rows, 3], [3, 4]], **args)


def test_operations_come_from_scanned_odd_and_decoded_events_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [
        product(1, 1),
        product(2, 1, more=1),
        product("3", 5),
        complete("aten::mm", "cpu_op", 4, 1),
        product(5, 2),
    ]
    path = write_events(tmp_path / "t.json", [*many(200), *events, product("soon", 1), product(6, 3), *many(200)])
    expected = [[200, 201, 202, 203, 204, 205], [24, 24, 120, -1, 48, 72]]
    assert [part.tolist() for part in read_rows([path]).operations] == expected
    monkeypatch.setattr(Scanner, "scan", lambda scanner, block: None)
    assert [part.tolist() for part in read_rows([path]).operations] == expected


def test_equal_operators_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = operations.decode_event
    monkeypatch.setattr(operations, "decode_event", lambda text, one: decoded.append(text) or decode(text, one))
    events = [product(ts, 1 + ts % 2, id=ts) for ts in range(1, 500)]
    columns = read_rows([write_events(tmp_path / "t.json", events)])
    assert columns.operations[1].tolist() == [24 * (1 + ts % 2) for ts in range(1, 500)]
    assert len(decoded) == 3, "one to know the name, two for their shapes"


def test_operations_of_a_file_that_is_given_up_are_forgotten(tmp_path: Path) -> None:
    far = [product(4e15, 7), product("soon", 7)]
    broken = write_bytes(tmp_path / "a.json", json.dumps({"traceEvents": far, "baseTimeNanoseconds": 2**61}).encode())
    columns = read_rows([broken, write_events(tmp_path / "b.json", [product(1, 1)])])
    assert [part.tolist() for part in columns.operations] == [[0], [24]]


def test_a_wrong_number_of_operations_switches_the_file_to_the_slow_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_events(tmp_path / "t.json", [product(ts, 1) for ts in range(1, 50)])
    monkeypatch.setattr(operations.Flops, "of_texts", lambda self, names, texts: np.zeros(len(names), dtype=np.int64))
    columns = read_rows([path])
    assert columns.caveats == (SLOWLY,)
    assert set(columns.operations[1].tolist()) == {24}
