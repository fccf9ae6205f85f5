"""Operators that load or compile their kernel before they launch it: no profiler of the device's shows that, the operator is only slow once.

CUDA loads a kernel when it is first launched, and torch compiles some of them then. The operator's own time before its launch tells: it is long, and
the same operator is short elsewhere, or never comes again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.analyses.account.account import leaf_operators
from scaleprof.intervals import Ints, Spans
from scaleprof.trace import Kind, Trace

LEAST_NS = 2_000_000
"""An operator takes some microseconds before it launches; one that takes so long does something else."""
TIMES = 10
"""By so much longer than the median of the same operator; one that comes less than three times has no median to compare with."""
_FEWEST = 3


@dataclass(frozen=True)
class Loading:
    """From the beginning of such an operator to its launch, one row each, in order of time."""

    lane: Ints
    start: Ints
    end: Ints
    name: Ints
    """Row in `Names`."""

    def of(self, rows: NDArray[np.bool_]) -> Spans:
        """The times of some rows."""
        return Spans(self.start[rows], self.end[rows])


def loading(trace: Trace) -> Loading:
    """Every operator of a trace that was seen loading or compiling; none without operators and launches."""
    events = trace.events
    rows = np.flatnonzero(leaf_operators(trace)) if trace.has_device else np.zeros(0, dtype=np.int64)
    launches = np.flatnonzero((trace.kinds == Kind.LAUNCH) & ~trace.on_device)
    if not len(rows) or not len(launches):
        return Loading(*np.zeros((4, 0), dtype=np.int64))
    first = _first_launch(trace, rows, launches)
    rows, first = rows[first >= 0], first[first >= 0]
    start, name = events.start_ns[rows], events.name[rows].astype(np.int64)
    before = events.start_ns[first] - start
    kept = (before >= LEAST_NS) & (before >= TIMES * _median_of_name(name, before))
    order = np.argsort(start[kept], kind="stable")
    found = (events.lane[rows].astype(np.int64), start, start + before, name)
    return Loading(*(column[kept][order] for column in found))


def _first_launch(trace: Trace, rows: Ints, launches: Ints) -> Ints:
    """For each operator its first launch on the same thread, or -1."""
    events = trace.events
    found = np.full(len(rows), -1, dtype=np.int64)
    for lane in np.unique(events.lane[rows]).tolist():  # a few threads
        here = np.flatnonzero(events.lane[rows] == lane)
        own = launches[events.lane[launches] == lane]
        if not len(own):
            continue
        own = own[np.argsort(events.start_ns[own], kind="stable")]
        start = events.start_ns[rows[here]]
        place = np.searchsorted(events.start_ns[own], start)
        after = own[np.minimum(place, len(own) - 1)]
        inside = (place < len(own)) & (events.start_ns[after] < start + events.dur_ns[rows[here]])
        found[here[inside]] = after[inside]
    return found


def _median_of_name(name: Ints, values: Ints) -> NDArray[np.float64]:
    """The median of the values that have the same name; 0 where there are fewer than three."""
    medians = np.zeros(len(name))
    order = np.lexsort((values, name))
    _, start, count = np.unique(name[order], return_index=True, return_counts=True)
    middle = values[order][start + (count - 1) // 2]
    medians[order] = np.repeat(np.where(count >= _FEWEST, middle, 0), count)
    return medians
