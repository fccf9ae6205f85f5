"""Events in the order of time: sorted, each once, with what belongs to their rows."""

import dataclasses
import json
from pathlib import Path

from scaleprof.readers.kineto.kineto import read_columns, read_rows
from scaleprof.readers.order import in_time_order
from tests.readers.making import Json, complete, kernel, write_bytes, write_trace


def memcpy(ts: int, size: int) -> Json:
    return complete("Memcpy HtoD (Pinned -> Device)", "gpu_memcpy", ts, 1, pid=0, tid=7, correlation=ts, bytes=size)


EVENTS = [
    kernel("late", 9, 1, 90, op="allreduce", n_in=4, n_out=4, dtype="Float", group="0"),
    memcpy(5, 500),
    complete("same start, first", "cpu_op", 3, 2),
    complete("same start, second", "cpu_op", 3, 1),
    memcpy(1, 100),
]


def test_rows_and_all_that_refers_to_them_are_sorted_alike(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.json", EVENTS)
    in_place, copied = read_columns([path]), in_time_order(read_rows([path]))
    for columns in (in_place, copied):
        names = [columns.names[name][1] for name in columns.name]
        assert columns.start_ns.tolist() == [1_000, 3_000, 3_000, 5_000, 9_000]
        assert names[1:3] == ["same start, first", "same start, second"]
        assert columns.correlation.tolist() == [1, -1, -1, 5, 90]
        assert [part.tolist() for part in columns.copied] == [[0, 3], [100, 500]]
        assert {row: note.op for row, note in columns.notes.items()} == {4: "allreduce"}
    assert in_time_order(in_place) is in_place, "nothing to do"


def test_what_two_windows_saw_counts_once_and_belongs_to_the_first(tmp_path: Path) -> None:
    first = write_trace(tmp_path / "a.json", EVENTS[:3])
    second = write_trace(tmp_path / "b.json", [EVENTS[1], EVENTS[3], EVENTS[4]])
    columns = in_time_order(read_columns([first, second]))
    assert columns.start_ns.tolist() == [1_000, 3_000, 3_000, 5_000, 9_000]
    assert columns.file.tolist() == [1, 0, 1, 0, 0]
    assert [part.tolist() for part in columns.copied] == [[0, 3], [100, 500]]
    assert list(columns.notes) == [4]


def test_operations_stay_with_their_operators(tmp_path: Path) -> None:
    products = [complete("aten::mm", "cpu_op", ts, 1, dims=[[ts, 1], [1, 1]]) for ts in (9, 2, 5)]
    first = write_trace(tmp_path / "a.json", [*products, complete("other", "cpu_op", 3, 1)])
    second = write_trace(tmp_path / "b.json", [products[0], complete("aten::bmm", "cpu_op", 1, 1)])
    for columns in (in_time_order(read_columns([first, second])), in_time_order(read_rows([first, second]))):
        assert columns.start_ns.tolist() == [1_000, 2_000, 3_000, 5_000, 9_000]
        assert [part.tolist() for part in columns.operations] == [[0, 1, 3, 4], [-1, 4, 10, 18]]


def test_equal_events_of_one_file_stay_two(tmp_path: Path) -> None:
    text = json.dumps([complete("a", "cpu_op", 1, 1)] * 2)
    path = write_bytes(tmp_path / "t.json", text.encode())
    other = write_trace(tmp_path / "u.json", [complete("b", "cpu_op", 2, 1)])
    assert len(in_time_order(read_columns([path, other])).start_ns) == 3


def test_columns_are_not_changed_by_sorting_a_copy(tmp_path: Path) -> None:
    rows = read_rows([write_trace(tmp_path / "t.json", EVENTS)])
    before = dataclasses.replace(rows, start_ns=rows.start_ns.copy(), name=rows.name.copy())
    in_time_order(rows)
    assert rows.start_ns.tolist() == before.start_ns.tolist()
    assert rows.name.tolist() == before.name.tolist()
