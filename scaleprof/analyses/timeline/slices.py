"""What some steps look like on one rank: slices for a picture, thinned to a budget, so that a thousand ranks stay a picture's worth of numbers."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from scaleprof.analyses.timeline.thinning import Drawn, shared_out, together
from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.trace import Kind, Trace

MOST_STEPS, MOST_STEPS_OF_MANY = 5, 3
"""Steps that are kept of each rank, and of each of more than `MOST_DIVIDED` ranks."""
MOST_IN_RUN, MOST_IN_RANK, LEAST_IN_RANK, MOST_DIVIDED = 12_000, 3_000, 150, 64
"""Slices of one step of a run, shared out to its ranks; of one rank at most and at least so many; more ranks than this are not all drawn."""
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
    PATH = 3
    """When the critical path leads over this rank."""


_COLOR_OF = {
    Kind.COMPUTE: "compute", Kind.COLLECTIVE: "exposed_transfer", Kind.P2P: "exposed_transfer", Kind.COPY: "exposed_memory", Kind.INPUT: "series-1",
    Kind.SYNC: "series-2", Kind.WAIT: "exposed_wait", Kind.GC: "series-3", Kind.CHECKPOINT: "series-3",
    Kind.COMPILE: "series-3", Kind.ALLOC: "series-5",
}  # fmt: skip
PATH_COLOR = "total"
OTHERS = "muted"
"""The colour of what is none of these."""
COLORS = (OTHERS, *dict.fromkeys(_COLOR_OF.values()))
"""Keys of the palette; a slice has the number of its own."""
_ON_DEVICE = (Kind.COMPUTE, Kind.COPY)


def slices(trace: Trace) -> Table:
    """Some of the steps that a profiler saw whole, spread evenly over them, one row a slice: step, window_start_ns and window_end_ns (of the step),
    row (`Row`), depth, start_ns, dur_ns, name, count (of events), color (in `COLORS`) and operation (row in the fact on collectives, or -1); unix
    time of this rank's clock.

    Slices shorter than can be seen are drawn together, under the name of the first. Empty without such a step.
    """
    steps = trace.steps
    whole = np.flatnonzero(steps.profiled & ~steps.perturbed & (steps.end_ns > steps.start_ns))
    if not len(whole) or not len(trace.events):
        return _table(trace, [])
    ranks = max(trace.info.world_size, 1)
    budget = max(LEAST_IN_RANK, min(MOST_IN_RANK, MOST_IN_RUN // min(ranks, MOST_DIVIDED)))
    chosen = {
        Row.COMMUNICATION: _communicating(trace),
        Row.COMPUTE: _computing(trace),
        Row.HOST: _hosting(trace),
    }
    drawn = []
    for row in evenly(whole, MOST_STEPS if ranks <= MOST_DIVIDED else MOST_STEPS_OF_MANY).tolist():
        since, until = _seen(trace, row)
        rows = {place: _within(trace, of, since, until) for place, of in chosen.items()}
        parts = [
            _operations(trace, rows[Row.COMMUNICATION], since, until),
            _drawn(trace, rows[Row.COMPUTE], _beside_one_another(trace, rows[Row.COMPUTE]), since, until),
            _host(trace, rows[Row.HOST], since, until),
        ]
        drawn += [(row, *one) for one in zip(chosen, shared_out(parts, budget, until - since), strict=True)]
    return _table(trace, drawn)


def evenly(values: Ints, most: int) -> Ints:
    """At most so many of the values, evenly spread over them: the first, the last and what lies between."""
    places = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(np.int64)
    spread: Ints = values[places]
    return spread


def _seen(trace: Trace, row: int) -> tuple[int, int]:
    """What is drawn of a step: from the host that launches it to the end, and some time around it."""
    steps = trace.steps
    start, end = int(steps.start_ns[row]), int(steps.end_ns[row])
    beside = int((end - start) * BESIDE)
    since = max(min(start, int(steps.host_start_ns[row])), start - int(FURTHEST * (end - start))) - beside
    until = max(end, min(int(steps.host_end_ns[row]), end + beside)) + beside
    return since, until


def _table(trace: Trace, parts: Sequence[tuple[int, Row, Drawn]]) -> Table:
    """Of rows in the steps of the trace what is drawn where."""
    texts = _texts(trace)
    whole = together([part for _, _, part in parts])
    counts = [len(part) for _, _, part in parts]
    of = np.repeat(np.array([row for row, _, _ in parts], dtype=np.int64), counts)
    return Table(
        {
            "step": trace.steps.index[of],
            "window_start_ns": trace.steps.start_ns[of],
            "window_end_ns": trace.steps.end_ns[of],
            "row": np.repeat(np.array([int(place) for _, place, _ in parts], dtype=np.int8), counts),
            "depth": whole.depth.astype(np.int8),
            "start_ns": whole.start,
            "dur_ns": whole.end - whole.start,
            "name": [texts[name] for name in whole.name.tolist()],
            "count": whole.count,
            "color": whole.color.astype(np.int8),
            "operation": whole.operation,
        }
    )


def _texts(trace: Trace) -> list[str]:
    """The names of events, then those of operations."""
    return [*trace.names.text, *sorted(set(trace.comm.op))]


def _drawn(trace: Trace, rows: Ints, depth: Ints, since: int, until: int) -> Drawn:
    events = trace.events
    start, end = events.spans(rows)
    name = events.name[rows].astype(np.int64)
    color = np.zeros(max(Kind) + 1, dtype=np.int64)
    color[list(_COLOR_OF)] = [COLORS.index(key) for key in _COLOR_OF.values()]
    return Drawn(
        depth=depth,
        start=np.maximum(start, since),
        end=np.minimum(end, until),
        name=name,
        color=color[trace.names.kind[name]],
        operation=np.full(len(rows), -1, dtype=np.int64),
        count=np.ones(len(rows), dtype=np.int64),
    )


def _within(trace: Trace, rows: Ints, since: int, until: int) -> Ints:
    """Those of the rows, which are in order of time, that have any part in it."""
    start, dur = trace.events.start_ns, trace.events.dur_ns
    rows = rows[: int(np.searchsorted(start[rows], until))]
    within: Ints = rows[(start[rows] + dur[rows] > since) & (dur[rows] > 0)]
    return within


def _communicating(trace: Trace) -> Ints:
    """Collectives and transfers that ran."""
    ran: Ints = np.unique(trace.comm.row[trace.comm.row >= 0]).astype(np.int64)
    return ran


def _computing(trace: Trace) -> Ints:
    """Kernels and copies of a device, else the spans of one that is emulated."""
    kinds = trace.kinds
    chosen = trace.on_device & np.isin(kinds, _ON_DEVICE) if trace.has_device else kinds == Kind.COMPUTE
    return np.flatnonzero(chosen)


def _hosting(trace: Trace) -> Ints:
    return np.flatnonzero(~trace.on_device & ~np.isin(trace.kinds, (Kind.COLLECTIVE, Kind.P2P, Kind.COMPUTE)))


def _operations(trace: Trace, rows: Ints, since: int, until: int) -> Drawn:
    """Operations under their own names, those at once one below the other."""
    ran = np.flatnonzero(trace.comm.row >= 0)
    operation = np.full(len(trace.events), -1, dtype=np.int64)
    operation[trace.comm.row[ran]] = ran
    part = _drawn(trace, rows, _beside_one_another(trace, rows), since, until)
    names = {op: len(trace.names.text) + place for place, op in enumerate(sorted(set(trace.comm.op)))}
    return Drawn(
        part.depth,
        part.start,
        part.end,
        name=np.array([names[trace.comm.op[one]] for one in operation[rows].tolist()], dtype=np.int64),
        color=np.full(len(part), COLORS.index("exposed_transfer")),
        operation=operation[rows],
        count=part.count,
    )


def _host(trace: Trace, rows: Ints, since: int, until: int) -> Drawn:
    """The threads with most to draw, each with the outermost of its events and some within them."""
    events = trace.events
    lanes, counts = np.unique(events.lane[rows], return_counts=True)
    parts = []
    for place, lane in enumerate(lanes[np.argsort(-counts, kind="stable")][:HOST_THREADS].tolist()):
        here = rows[events.lane[rows] == lane]
        here = here[np.lexsort((-events.dur_ns[here], events.start_ns[here]))]
        depth = _nesting(*events.spans(here))
        kept = depth < DEPTHS
        parts.append(_drawn(trace, here[kept], depth[kept] + place * DEPTHS, since, until))
    return together(parts)


def _nesting(start: Ints, end: Ints) -> Ints:
    """How many of the spans before each one have not ended; sorted by start, the longer first."""
    depth: Ints = np.arange(len(start)) - np.searchsorted(np.sort(end), start, side="right")
    return depth


def _beside_one_another(trace: Trace, rows: Ints) -> Ints:
    """For spans in order of time the first line that is free; the third takes all that find none."""
    depth = np.zeros(len(rows), dtype=np.int64)
    start, end = trace.events.spans(rows)
    alone: NDArray[np.bool_] = start[1:] >= np.maximum.accumulate(end)[:-1] if len(rows) else np.zeros(0, np.bool_)
    if alone.all():
        return depth
    free = [0] * DEPTHS
    for place, (begins, ends) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):  # of one step
        line = next((line for line, since in enumerate(free) if since <= begins), DEPTHS - 1)
        free[line] = max(free[line], ends)
        depth[place] = line
    return depth
