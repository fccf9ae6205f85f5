"""Events in the order of time, each once: files hold them in the order of threads and streams, and windows that overlap repeat what both saw."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.readers.base import Columns


def in_time_order(columns: Columns) -> Columns:
    """The events sorted by start, those with the same start as they stand in the file; what a later file repeats is left out."""
    first = _first_time(columns)
    if first is None and is_sorted(columns.start_ns):
        return columns
    order = np.argsort(columns.start_ns, kind="stable")
    if first is not None:
        order = order[first[order]]
    row_of = inverse(order, len(columns.start_ns))
    return dataclasses.replace(
        columns,
        start_ns=columns.start_ns[order],
        dur_ns=columns.dur_ns[order],
        name=columns.name[order],
        lane=columns.lane[order],
        correlation=columns.correlation[order],
        file=columns.file[order],
        copied=moved(columns.copied, row_of),
        operations=moved(columns.operations, row_of),
        awaiting=moved(columns.awaiting, row_of),
        notes={int(row_of[row]): note for row, note in columns.notes.items() if row_of[row] >= 0},
    )


def is_sorted(times: Ints) -> bool:
    """Whether no time is before its predecessor."""
    return bool((times[1:] >= times[:-1]).all())


def inverse(order: Ints, count: int) -> NDArray[np.int32]:
    """For each of `count` rows its place in an order, -1 where it is not in it."""
    row_of = np.full(count, -1, dtype=np.int32)
    row_of[order] = np.arange(len(order), dtype=np.int32)
    return row_of


def moved(copied: tuple[Ints, Ints], row_of: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """Rows and their values, at the rows' new places, ascending."""
    rows, values = row_of[copied[0]].astype(np.int64), copied[1]
    there = np.flatnonzero(rows >= 0)
    there = there[np.argsort(rows[there], kind="stable")]
    return rows[there], values[there]


def _first_time(columns: Columns) -> NDArray[np.bool_] | None:
    """False for events that an earlier file holds too; None where there is but one file."""
    file = columns.file
    if not len(file) or file.strides[0] == 0 or file.min() == file.max():
        return None
    first = np.ones(len(file), dtype=np.bool_)
    keys = np.stack((columns.lane, columns.name, columns.dur_ns, columns.start_ns))
    by_key = np.lexsort((file, *keys))
    same = (keys[:, by_key[1:]] == keys[:, by_key[:-1]]).all(axis=0)
    first[by_key[1:][same & (file[by_key[1:]] != file[by_key[:-1]])]] = False
    return first
