"""Waits and the operations that end them, on paper."""

import numpy as np

from scaleprof.readers.recorded.waits import attributed
from scaleprof.trace import Blocked, Comm, Events

MS = 1_000_000


def events(*spans: tuple[float, float]) -> Events:
    start = np.array([round(begin * MS) for begin, _ in spans], dtype=np.int64)
    dur = np.array([round((end - begin) * MS) for begin, end in spans], dtype=np.int64)
    nothing = np.zeros(len(spans), dtype=np.int32)
    return Events(start, dur, nothing, nothing, nothing - 1, nothing - 1)


def comm(*ops: str) -> Comm:
    rows = np.arange(len(ops))
    return Comm(rows.astype(np.int32), rows, ops, rows, ops, ops, rows, rows.astype(np.int32))


def found(waits: list[tuple[float, float, str]], spans: list[tuple[float, float]], *ops: str) -> list[int]:
    start = np.array([round(begin * MS) for begin, _, _ in waits], dtype=np.int64)
    dur = np.array([round((end - begin) * MS) for begin, end, _ in waits], dtype=np.int64)
    blocked = Blocked(start, dur, ("Work.wait",) * len(waits), tuple(op for *_, op in waits), start.astype(np.int32))
    return attributed(blocked, events(*spans), comm(*ops)).comm.tolist()


def test_a_wait_is_for_the_last_operation_that_ends_within_it() -> None:
    assert found([(10, 20, "")], [(0, 12), (1, 19), (2, 40)], "all_reduce", "all_reduce", "all_reduce") == [1]


def test_what_had_ended_before_is_not_waited_for() -> None:
    assert found([(10, 10.01, "")], [(0, 9)], "all_reduce") == [-1]


def test_the_kind_of_operation_narrows_the_choice() -> None:
    assert found([(10, 20, "all_gather")], [(0, 15), (1, 19)], "all_gather", "all_reduce") == [0]


def test_the_end_may_be_written_down_a_little_later() -> None:
    assert found([(10, 20, "recv")], [(0, 20.4)], "recv") == [0]
    assert found([(10, 20, "recv")], [(0, 22)], "recv") == [-1]


def test_a_wait_that_says_nothing_is_for_no_transfer() -> None:
    assert found([(10, 20, "")], [(0, 15), (0, 14)], "send", "all_reduce") == [1]


def test_an_operation_that_began_after_the_wait_ended_it_not() -> None:
    assert found([(10, 20, "")], [(20.1, 20.5)], "all_reduce") == [-1]


def test_waits_without_operations_and_operations_without_waits() -> None:
    assert found([], [(0, 1)], "all_reduce") == []
    assert found([(1, 2, "")], []) == [-1]
