"""Set algebra on half-open intervals of integer nanoseconds, on whole columns.

A `Spans` is two int64 arrays of equal length. Functions that return a *set* return it sorted, disjoint and without empty spans; `union`
makes a set from anything. All arithmetic is in integers, so parts add up with `==`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Spans(NamedTuple):
    """Intervals `[start, end)` in ns."""

    start: Ints
    end: Ints


def spans(pairs: Sequence[tuple[int, int]]) -> Spans:
    """Spans from pairs of numbers, as they are."""
    table = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    return Spans(table[:, 0], table[:, 1])


EMPTY = spans([])


def union(*parts: Spans) -> Spans:
    """The set of all ns covered by any span of any part; spans that touch are merged, negative ones count as empty."""
    start = np.concatenate([part.start for part in parts]) if parts else EMPTY.start
    end = np.concatenate([part.end for part in parts]) if parts else EMPTY.end
    some = end > start
    if not some.all():
        start, end = start[some], end[some]
    if not len(start):
        return EMPTY
    if (start[1:] < start[:-1]).any():
        order = np.argsort(start, kind="stable")
        start, end = start[order], end[order]
    reach = np.maximum.accumulate(end)
    first = np.concatenate(([True], start[1:] > reach[:-1]))
    last = np.concatenate((first[1:], [True]))
    return Spans(start[first], reach[last])


def length(of: Spans) -> int:
    """Total length in ns of a set."""
    return int((of.end - of.start).sum())


def clip(of: Spans, start: int, end: int) -> Spans:
    """What of each span lies inside `[start, end)`; spans outside are dropped."""
    clipped_start = np.maximum(of.start, start)
    clipped_end = np.minimum(of.end, end)
    some = clipped_end > clipped_start
    return Spans(clipped_start[some], clipped_end[some])


def intersect(a: Spans, b: Spans) -> Spans:
    """The ns in both sets."""
    return _where_depth(a, b, depth=2)


def subtract(a: Spans, b: Spans) -> Spans:
    """The ns of set `a` that are not in set `b`."""
    if not len(a.start) or not len(b.start):
        return a
    low, high = min(a.start[0], b.start[0]) - 1, max(a.end[-1], b.end[-1]) + 1
    outside = Spans(np.concatenate(([low], b.end)), np.concatenate((b.start, [high])))
    return intersect(a, outside)


def _where_depth(a: Spans, b: Spans, *, depth: int) -> Spans:
    edges = np.concatenate((a.start, b.start, a.end, b.end))
    change = np.ones(len(edges), dtype=np.int64)
    change[len(a.start) + len(b.start) :] = -1
    order = np.argsort(edges, kind="stable")
    edges = edges[order]
    inside = np.cumsum(change[order]) >= depth
    if not inside.any():
        return EMPTY
    return union(Spans(edges[:-1][inside[:-1]], edges[1:][inside[:-1]]))


def covered(of: Spans, windows: Spans) -> Ints:
    """For each window, how many ns of the set lie in it. Windows may be in any order and may overlap."""
    return _covered_before(of, windows.end) - _covered_before(of, windows.start)


def _covered_before(of: Spans, times: Ints) -> Ints:
    if not len(of.start):
        return np.zeros(len(times), dtype=np.int64)
    total = np.concatenate(([0], np.cumsum(of.end - of.start)))
    index = np.searchsorted(of.start, times, side="right")
    inside = np.maximum(index - 1, 0)
    overhang = np.where(index > 0, np.maximum(of.end[inside] - times, 0), 0)
    return total[index] - overhang


def partition(classes: Sequence[Spans], windows: Spans) -> Ints:
    """Split each window exactly by which classes are active: an int64 array of shape (windows, 2**classes).

    Column `mask` holds the ns in which exactly the classes with their bit set in `mask` are active (`method`: a sweep over all edges with a
    bit mask). Each row sums to its window's length. `classes` are sets; `windows` must be sorted and disjoint.
    """
    edges = np.unique(np.concatenate([windows.start, windows.end, *(edge for part in classes for edge in part)]))
    cells = np.zeros((len(windows.start), 1 << len(classes)), dtype=np.int64)
    if not len(windows.start):
        return cells
    left, width = edges[:-1], np.diff(edges)
    mask = np.zeros(len(left), dtype=np.int64)
    for bit, part in enumerate(classes):
        mask |= _is_in(part, left).astype(np.int64) << bit
    window = np.searchsorted(windows.start, left, side="right") - 1
    inside = (window >= 0) & (left < windows.end[np.maximum(window, 0)])
    np.add.at(cells, (window[inside], mask[inside]), width[inside])
    return cells


def _is_in(of: Spans, times: Ints) -> NDArray[np.bool_]:
    if not len(of.start):
        return np.zeros(len(times), dtype=np.bool_)
    index = np.searchsorted(of.start, times, side="right") - 1
    found: NDArray[np.bool_] = (index >= 0) & (times < of.end[np.maximum(index, 0)])
    return found
