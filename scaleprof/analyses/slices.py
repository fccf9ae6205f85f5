"""What one step looks like on one rank: slices for a picture, thinned to a budget, so that a thousand ranks stay a picture's worth of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.trace import Kind, Trace

MOST_IN_RUN, MOST_IN_RANK, LEAST_IN_RANK, MOST_DIVIDED = 12_000, 3_000, 150, 64
"""Slices of one run, shared out to its ranks; of one rank at most and at least so many; more ranks than this are not all drawn."""
HOST_THREADS, DEPTHS = 2, 3
"""Threads of the host that are drawn, those with most to draw, and how deep their events are drawn within one another."""
BESIDE = 0.1
"""Of the step, drawn before and behind it."""
FURTHEST = 2.0
"""Host events are drawn so many steps before the device's window at most: a host may be far ahead."""


class Row(IntEnum):
    """Where on its rank a slice is drawn."""

    HOST = 0
    COMPUTE = 1
    COMMUNICATION = 2


_COLORS = {
    Kind.COMPUTE: "compute", Kind.COLLECTIVE: "exposed_transfer", Kind.P2P: "exposed_transfer", Kind.COPY: "exposed_memory", Kind.INPUT: "series-1",
    Kind.SYNC: "series-2", Kind.WAIT: "exposed_wait", Kind.GC: "series-3", Kind.CHECKPOINT: "series-3",
    Kind.COMPILE: "series-3", Kind.ALLOC: "series-5",
}  # fmt: skip
_ON_DEVICE = (Kind.COMPUTE, Kind.COPY)
_TOGETHER = 4
"""Neighbours that are drawn as one make a block of so many times the shortest slice at most."""
OTHERS = "muted"
"""The colour of what is none of these."""


@dataclass(frozen=True)
class _Drawn:
    """Slices of one row, one entry each."""

    depth: Ints
    start: Ints
    end: Ints
    name: list[str]
    color: list[str]
    operation: Ints
    """Row in the rank's table of operations, -1 for what is none."""

    def __len__(self) -> int:
        return len(self.start)


def slices(trace: Trace) -> Table:
    """The middle one of the steps that a profiler saw whole: step, window_start_ns and window_end_ns (of the step), row (`Row`), depth, start_ns,
    dur_ns, name, color and operation (row in the fact on collectives, or -1) of each slice; unix time of this rank's clock.

    Slices shorter than can be seen are drawn together under `<count> events`. Empty without such a step.
    """
    steps = trace.steps
    rows = np.flatnonzero(steps.profiled & ~steps.perturbed & (steps.end_ns > steps.start_ns))
    if not len(rows) or not len(trace.events):
        return _table(0, (0, 0), [])
    row = int(rows[len(rows) // 2])
    start, end = int(steps.start_ns[row]), int(steps.end_ns[row])
    beside = int((end - start) * BESIDE)
    since = max(min(start, int(steps.host_start_ns[row])), start - int(FURTHEST * (end - start))) - beside
    until = max(end, min(int(steps.host_end_ns[row]), end + beside)) + beside
    ranks = min(max(trace.info.world_size, 1), MOST_DIVIDED)
    budget = max(LEAST_IN_RANK, min(MOST_IN_RANK, MOST_IN_RUN // ranks))
    parts = [
        (Row.COMMUNICATION, _operations(trace, since, until)),
        (Row.COMPUTE, _computing(trace, since, until)),
        (Row.HOST, _host(trace, since, until)),
    ]
    thinned: list[tuple[Row, _Drawn]] = []
    for place, (where, part) in enumerate(parts):  # what is left of the budget goes to the next row
        left = budget - sum(len(one) for _, one in thinned)
        thinned.append((where, _thinned(part, left // (len(parts) - place), until - since)))
    return _table(int(steps.index[row]), (start, end), thinned)


def _table(step: int, window: tuple[int, int], parts: Sequence[tuple[Row, _Drawn]]) -> Table:
    empty = np.zeros(0, dtype=np.int64)
    count = sum(len(part) for _, part in parts)
    return Table(
        {
            "step": np.full(count, step),
            "window_start_ns": np.full(count, window[0]),
            "window_end_ns": np.full(count, window[1]),
            "row": np.concatenate([empty, *(np.full(len(part), int(row)) for row, part in parts)]),
            "depth": np.concatenate([empty, *(part.depth for _, part in parts)]),
            "start_ns": np.concatenate([empty, *(part.start for _, part in parts)]),
            "dur_ns": np.concatenate([empty, *(part.end - part.start for _, part in parts)]),
            "name": [name for _, part in parts for name in part.name],
            "color": [color for _, part in parts for color in part.color],
            "operation": np.concatenate([empty, *(part.operation for _, part in parts)]),
        }
    )


def _drawn(trace: Trace, rows: Ints, depth: Ints, since: int, until: int, operation: Ints | None = None) -> _Drawn:
    events = trace.events
    start, end = events.spans(rows)
    names = [trace.names.text[name] for name in events.name[rows].tolist()]
    colors = [_COLORS.get(Kind(kind), OTHERS) for kind in trace.names.kind[events.name[rows]].tolist()]
    none = np.full(len(rows), -1, dtype=np.int64)
    return _Drawn(
        depth, np.maximum(start, since), np.minimum(end, until), names, colors, none if operation is None else operation
    )


def _within(trace: Trace, chosen: NDArray[np.bool_], since: int, until: int) -> Ints:
    events = trace.events
    rows: Ints = np.flatnonzero(
        chosen & (events.start_ns < until) & (events.start_ns + events.dur_ns > since) & (events.dur_ns > 0)
    )
    return rows


def _operations(trace: Trace, since: int, until: int) -> _Drawn:
    """Collectives and transfers that ran, those at once one below the other."""
    ran = np.flatnonzero(trace.comm.row >= 0)
    chosen = np.zeros(len(trace.events), dtype=np.bool_)
    chosen[trace.comm.row[ran]] = True
    rows = _within(trace, chosen, since, until)
    operation = np.full(len(trace.events), -1, dtype=np.int64)
    operation[trace.comm.row[ran]] = ran
    part = _drawn(trace, rows, _beside_one_another(trace, rows), since, until, operation[rows])
    names = [trace.comm.op[one] for one in part.operation.tolist()]
    return _Drawn(part.depth, part.start, part.end, names, ["exposed_transfer"] * len(part), part.operation)


def _computing(trace: Trace, since: int, until: int) -> _Drawn:
    """Kernels and copies of a device, else the spans of one that is emulated."""
    kinds = trace.kinds
    chosen = trace.on_device & np.isin(kinds, _ON_DEVICE) if trace.has_device else kinds == Kind.COMPUTE
    rows = _within(trace, chosen, since, until)
    return _drawn(trace, rows, _beside_one_another(trace, rows), since, until)


def _host(trace: Trace, since: int, until: int) -> _Drawn:
    """The threads with most to draw, each with the outermost of its events and some within them."""
    events = trace.events
    left_out = np.isin(trace.kinds, (Kind.COLLECTIVE, Kind.P2P)) | (trace.kinds == Kind.COMPUTE)
    rows = _within(trace, ~trace.on_device & ~left_out, since, until)
    lanes, counts = np.unique(events.lane[rows], return_counts=True)
    parts = []
    for place, lane in enumerate(lanes[np.argsort(-counts, kind="stable")][:HOST_THREADS].tolist()):
        here = rows[events.lane[rows] == lane]
        here = here[np.lexsort((-events.dur_ns[here], events.start_ns[here]))]
        depth = _nesting(*events.spans(here))
        kept = depth < DEPTHS
        parts.append(_drawn(trace, here[kept], depth[kept] + place * DEPTHS, since, until))
    return _together(parts)


def _together(parts: Sequence[_Drawn]) -> _Drawn:
    empty = np.zeros(0, dtype=np.int64)
    columns = {
        name: np.concatenate([empty, *(getattr(part, name) for part in parts)])
        for name in ("depth", "start", "end", "operation")
    }
    names = [name for part in parts for name in part.name]
    return _Drawn(
        columns["depth"],
        columns["start"],
        columns["end"],
        names,
        [one for part in parts for one in part.color],
        columns["operation"],
    )


def _nesting(start: Ints, end: Ints) -> Ints:
    """How many of the spans before each one hold it; sorted by start, the longer first."""
    depth = np.zeros(len(start), dtype=np.int64)
    open_ends: list[int] = []
    for place, (begins, ends) in enumerate(
        zip(start.tolist(), end.tolist(), strict=True)
    ):  # one thread's events in one step
        while open_ends and open_ends[-1] <= begins:
            open_ends.pop()
        depth[place] = len(open_ends)
        open_ends.append(ends)
    return depth


def _beside_one_another(trace: Trace, rows: Ints) -> Ints:
    """For spans in order of time the first line that is free; the third takes all that find none."""
    depth = np.zeros(len(rows), dtype=np.int64)
    free = [0] * DEPTHS
    start, end = trace.events.spans(rows)
    for place, (begins, ends) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        line = next((line for line, since in enumerate(free) if since <= begins), DEPTHS - 1)
        free[line] = max(free[line], ends)
        depth[place] = line
    return depth


def _thinned(part: _Drawn, budget: int, length: int) -> _Drawn:
    """Neighbours too short to be seen drawn as one, more and more of them until the budget holds; operations stay as they are as long as they can."""
    shortest = max(length // 4000, 1)
    while len(part) > budget and shortest < 2 * length:
        part = _merged(part, shortest)
        shortest *= 2
    return part


def _merged(part: _Drawn, shortest: int) -> _Drawn:
    order = np.lexsort((part.start, part.depth))
    depth, start, end = part.depth[order], part.start[order], part.end[order]
    color = np.array(part.color, dtype=object)[order]
    short = end - start < shortest
    block = start // (_TOGETHER * shortest)  # a run of short ones stays several blocks, so that holes in it are seen
    joined = np.zeros(len(order), dtype=np.bool_)
    joined[1:] = (
        short[1:]
        & short[:-1]
        & (depth[1:] == depth[:-1])
        & (start[1:] - end[:-1] < shortest)
        & (color[1:] == color[:-1])
        & (block[1:] == block[:-1])
    )
    first = np.flatnonzero(~joined)
    counts = np.diff(np.append(first, len(order)))
    ends = np.maximum.reduceat(end, first) if len(first) else end
    names = [part.name[place] for place in order[first].tolist()]
    names = [
        name if count == 1 else f"{_count_in(name) + count - 1:,} events"
        for name, count in zip(names, counts.tolist(), strict=True)
    ]
    operation = np.where(counts == 1, part.operation[order][first], -1)
    return _Drawn(depth[first], start[first], ends, names, color[first].tolist(), operation)


def _count_in(name: str) -> int:
    """How many events a name already stands for."""
    number, _, word = name.partition(" ")
    return int(number.replace(",", "")) if word == "events" and number.replace(",", "").isdigit() else 1
