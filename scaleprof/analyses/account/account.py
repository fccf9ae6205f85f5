"""Where each step's time goes on one rank: an exact division of the step in integer ns (`method` 1.2, 1.5, 1.6).

Three ways to know what is compute, each step says which one it used:
- `device`     kernels on an accelerator; communication and copies count only where no kernel runs.
- `operators`  leaf operators on the host threads that compute, minus waits and input; for CPU runs with operator events.
- `emulated`   the spans of an emulated device; what is neither such a span nor blocked is idle.
- `subtracted` step - blocked - input - pauses, for CPU runs that recorded only communication, and GPUs without a profiler (on their own clock).
On the CPU communication is exposed where the calling thread was blocked in it, or where it runs while nothing computes (`operators`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import EMPTY, Ints, Spans, covered, intersect, partition, subtract, union
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN, Events, Kind, Trace

METHODS = ("device", "operators", "emulated", "subtracted")
NESTING_NS = 2  # rounding lets a child overrun its parent by this much
COMPUTE_BIT, COMM_BIT, MEMORY_BIT = 1, 2, 4
_COMMUNICATION = (Kind.COLLECTIVE, Kind.P2P)


@dataclass(frozen=True)
class Activity:
    """What one device (or the host's computing threads) did, as sets."""

    method: str
    compute: Spans
    comm: Spans
    """Communication in progress."""
    memory: Spans
    exposable: Spans
    """Communication that is exposed wherever nothing computes: on a device all of it, on the CPU also the blocked time without a known transfer."""
    compute_sum: Ints
    """Durations of compute events per step, summed: over their union it gives the concurrency."""


def account(trace: Trace) -> Table:
    """One row per profiled step: its window and the leaves that sum to it, communication busy and overlapped, all in ns.

    `method` is an index into `METHODS`. `comm_ns` and `overlapped_ns` are UNKNOWN where no communication spans were recorded.
    Several devices of one process are averaged.
    """
    activities = activities_of(trace)
    windows, rows = windows_of(trace, activities)
    cells = np.zeros((len(rows), 5), dtype=np.int64)
    for activity in activities:
        cells += _divide(trace, activity, windows, rows)
    cells //= max(len(activities), 1)
    window_ns = lengths_of(trace, activities, windows, rows)
    compute, exposed_comm, exposed_memory, comm, overlapped = cells.T
    idle = window_ns - compute - exposed_comm - exposed_memory
    assert (idle >= 0).all(), "the classes must not exceed the step"
    has_spans = bool(len(activities)) and (trace.has_device or bool(trace.steps.profiled[rows].all()))
    compute_sum = (
        np.sum([activity.compute_sum for activity in activities], axis=0) if activities else trace.steps.index * 0
    )
    return Table(
        {
            "step": trace.steps.index[rows],
            "window_ns": window_ns,
            "compute_ns": compute,
            "exposed_comm_ns": exposed_comm,
            "exposed_memory_ns": exposed_memory,
            "idle_ns": idle,
            "comm_ns": comm if has_spans else np.full(len(rows), UNKNOWN),
            "overlapped_ns": overlapped if has_spans else np.full(len(rows), UNKNOWN),
            "compute_sum_ns": compute_sum[rows],
            "method": np.full(len(rows), METHODS.index(activities[0].method) if activities else 0),
        }
    )


def segments(trace: Trace) -> Table:
    """The maximal stretches of communication without compute, with every collective active in them: what alignment will split.

    One row per stretch and active collective (`comm`, a row of `Trace.comm`, or -1 where none is known).
    """
    activities = activities_of(trace)
    windows, rows = windows_of(trace, activities)
    parts: list[NDArray[np.int64]] = []
    count = 0
    for activity in activities:
        exposed = _cut(subtract(activity.exposable, activity.compute), windows)
        which = np.searchsorted(windows.start, exposed.start, side="right") - 1
        pairs = _active(trace, exposed)
        steps = trace.steps.index[rows][which[pairs[:, 0]]]
        parts.append(
            np.column_stack(
                (pairs[:, 0] + count, steps, exposed.start[pairs[:, 0]], exposed.end[pairs[:, 0]], pairs[:, 1])
            )
        )
        count += len(exposed.start)
    table = np.concatenate(parts) if parts else np.zeros((0, 5), dtype=np.int64)
    return Table(dict(zip(("segment", "step", "start_ns", "end_ns", "comm"), table.T, strict=True)))


def activities_of(trace: Trace) -> list[Activity]:
    """What each device did; on a trace without a device, what the host did (one entry)."""
    if not trace.has_device:
        return [_host_activity(trace)] if len(trace.steps) else []
    events, kinds = trace.events, trace.kinds
    device = trace.lanes.device[events.lane]
    counted = (device >= 0) & (events.step >= 0)
    activities = []
    for number in np.unique(device[counted]):
        here = counted & (device == number)
        comm = union(events.spans(here & np.isin(kinds, _COMMUNICATION)))
        compute_rows = here & (kinds == Kind.COMPUTE)
        activities.append(
            Activity(
                method="device",
                compute=union(events.spans(compute_rows)),
                comm=comm,
                memory=union(events.spans(here & (kinds == Kind.COPY))),
                exposable=comm,
                compute_sum=_sum_by_step(trace, compute_rows),
            )
        )
    return activities


def windows_of(trace: Trace, activities: Sequence[Activity]) -> tuple[Spans, Ints]:
    """The windows that are accounted for, and their rows in `Trace.steps`.

    Profiled steps; of these only the ones with operators, where some have them (level `full` records operators in short windows); all steps
    where blocked time alone was recorded; none where there are neither operators nor blocked time, since nothing then tells compute from waiting.
    """
    steps = trace.steps
    chosen = steps.profiled if steps.profiled.any() else (steps.blocked_ns != UNKNOWN)
    if activities and activities[0].method == "operators":
        chosen = chosen & (activities[0].compute_sum > 0)
    if activities and activities[0].method == "subtracted" and not len(activities[0].exposable.start):
        chosen = chosen & (steps.blocked_ns != UNKNOWN)
    rows = np.flatnonzero(chosen & (steps.end_ns > steps.start_ns))
    return Spans(steps.start_ns[rows], steps.end_ns[rows]), rows


def lengths_of(trace: Trace, activities: Sequence[Activity], windows: Spans, rows: Ints) -> Ints:
    """How long each window is: without events of a device, by that device's own clock where it was read, since its host may be far ahead."""
    length = windows.end - windows.start
    if not activities or activities[0].method != "subtracted":
        return length
    device_ns = trace.steps.device_ns[rows]
    return np.where(device_ns != UNKNOWN, device_ns, length)


def _divide(trace: Trace, activity: Activity, windows: Spans, rows: Ints) -> Ints:
    """Per window: compute, exposed communication, exposed memory, communication, overlapped."""
    if activity.method == "subtracted":
        return _subtract_blocked(trace, activity, windows, rows)
    by_mask = partition([activity.compute, activity.exposable, activity.memory], windows)
    masks = np.arange(8)
    compute = by_mask[:, masks & COMPUTE_BIT > 0].sum(axis=1)
    exposed_comm = by_mask[:, [COMM_BIT, COMM_BIT | MEMORY_BIT]].sum(axis=1)
    exposed_memory = by_mask[:, MEMORY_BIT]
    comm = covered(activity.comm, windows)
    overlapped = covered(intersect(activity.comm, activity.compute), windows)
    if activity.method == "emulated":
        overlapped = covered(subtract(activity.comm, activity.exposable), windows)
    return np.column_stack((compute, exposed_comm, exposed_memory, comm, overlapped))


def pauses_of(trace: Trace, activity: Activity, windows: Spans) -> Ints:
    """Pauses of the interpreter in which the thread was not blocked in communication, by window, row of `Names` and ns: three columns."""
    spans, names = trace.pauses.spans, trace.pauses.name
    found = []
    for name in np.unique(names).tolist():  # two at most
        here = union(Spans(*(edge[names == name] for edge in spans)))
        ns = covered(subtract(here, activity.exposable), windows)
        found.append(np.column_stack((np.arange(len(ns)), np.full(len(ns), name), ns)))
    return np.concatenate(found) if found else np.zeros((0, 3), dtype=np.int64)


def _subtract_blocked(trace: Trace, activity: Activity, windows: Spans, rows: Ints) -> Ints:
    steps, length = trace.steps, lengths_of(trace, [activity], windows, rows)
    blocked = covered(activity.exposable, windows)
    if not len(trace.waits.start):  # of a device, or an older or cut-off recording: the step lines hold the sums
        blocked = np.clip(steps.blocked_ns[rows], 0, length)
    waiting_for_input = np.clip(steps.input_ns[rows], 0, length - blocked)
    paused = np.zeros(len(rows), dtype=np.int64)
    pauses = pauses_of(trace, activity, windows)
    np.add.at(paused, pauses[:, 0], pauses[:, 2])
    paused = np.minimum(paused, length - blocked - waiting_for_input)
    comm = covered(activity.comm, windows)
    overlapped = covered(subtract(activity.comm, activity.exposable), windows)
    compute = length - blocked - waiting_for_input - paused
    return np.column_stack((compute, blocked, np.zeros_like(blocked), comm, overlapped))


def _host_activity(trace: Trace) -> Activity:
    events, kinds = trace.events, trace.kinds
    blocked = _blocked(trace)
    comm = _communication(events, kinds, blocked)
    spans_of_compute = kinds == Kind.COMPUTE
    leaves = leaf_operators(trace)
    if leaves.any():
        rows = leaves | spans_of_compute
        compute = subtract(_without_input(trace, rows), union(blocked, trace.pauses.spans))
        return Activity("operators", compute, comm, EMPTY, union(comm, blocked), _sum_by_step(trace, rows))
    if spans_of_compute.any():
        compute = union(events.spans(spans_of_compute))
        return Activity("emulated", compute, comm, EMPTY, blocked, _sum_by_step(trace, spans_of_compute))
    nothing = np.zeros(len(trace.steps), dtype=np.int64)
    return Activity("subtracted", EMPTY, comm, EMPTY, blocked, nothing)


def _without_input(trace: Trace, rows: NDArray[np.bool_]) -> Spans:
    """The spans of rows, but for what lies in the loading of input on the same thread: on another one that goes on beside them."""
    events, inputs = trace.events, trace.kinds == Kind.INPUT
    loading = np.unique(events.lane[inputs])
    parts = [events.spans(rows & ~np.isin(events.lane, loading))]
    for lane in loading.tolist():  # a few threads
        here = events.lane == lane
        parts.append(subtract(union(events.spans(rows & here)), union(events.spans(inputs & here))))
    return union(*parts)


def _blocked(trace: Trace) -> Spans:
    """When the calling thread waited. The recorder times a wait inside the span that it leaves for other readers: the span counts only where there
    is no such time."""
    waits, spans = union(trace.waits), trace.events.spans(trace.kinds == Kind.WAIT)
    timed = covered(waits, spans) > 0
    return union(waits, Spans(spans.start[~timed], spans.end[~timed]))


def _communication(events: Events, kinds: NDArray[np.uint8], blocked: Spans) -> Spans:
    """Communication in progress, on a host. gloo's spans of sends and receives last until somebody waits for them, however short the transfer
    was: where waits are known, they count only within these."""
    transfers = union(events.spans(kinds == Kind.P2P))
    if len(blocked.start):
        transfers = intersect(transfers, blocked)
    return union(events.spans(kinds == Kind.COLLECTIVE), transfers)


def leaf_operators(trace: Trace) -> NDArray[np.bool_]:
    """Operators that contain no other operator, span of compute or wait, on the threads that compute (not gloo's workers)."""
    events, kinds = trace.events, trace.kinds
    inner = np.isin(kinds, (Kind.OP, Kind.COMPUTE, Kind.WAIT, Kind.INPUT)) & (trace.lanes.device[events.lane] < 0)
    rows = np.flatnonzero(inner)
    # Outermost first within a lane: an operator is a leaf if the next event of its lane starts at or after its end.
    order = rows[np.lexsort((-events.dur_ns[rows], events.start_ns[rows], events.lane[rows]))]
    start, end, lane = events.start_ns[order], events.start_ns[order] + events.dur_ns[order], events.lane[order]
    encloses = np.zeros(len(order), dtype=np.bool_)
    encloses[:-1] = (lane[1:] == lane[:-1]) & (start[1:] < end[:-1] - NESTING_NS)
    leaf = np.zeros(len(events), dtype=np.bool_)
    leaf[order[~encloses]] = True
    workers = np.array(["gloo_runloop" in label for label in trace.lanes.label], dtype=np.bool_)
    if not workers.any():
        # Old traces name no threads: a lane with gloo's spans and little other work is a worker. Other communication runs where it is begun.
        of_gloo = np.array([text.startswith("gloo:") for text in trace.names.text], dtype=np.bool_)
        with_comm = np.unique(events.lane[of_gloo[events.name]])
        operators = np.bincount(events.lane[kinds == Kind.OP], minlength=len(workers))
        workers[with_comm] = operators[with_comm] < operators.max(initial=0)
    computing: NDArray[np.bool_] = leaf & (kinds == Kind.OP) & ~workers[events.lane]
    return computing


def _sum_by_step(trace: Trace, rows: NDArray[np.bool_]) -> Ints:
    events = trace.events
    inside = rows & (events.step >= 0)
    total = np.zeros(len(trace.steps), dtype=np.int64)
    np.add.at(total, events.step[inside], events.dur_ns[inside])
    return total


def _cut(of: Spans, windows: Spans) -> Spans:
    """The set cut at every window's edge, and what lies in no window left out."""
    edges = np.unique(np.concatenate((windows.start, windows.end)))
    inner = edges[(np.searchsorted(of.start, edges, side="right") - 1 >= 0)] if len(of.start) else edges[:0]
    at = np.searchsorted(of.start, inner, side="right") - 1
    inner = inner[(inner > of.start[at]) & (inner < of.end[at])] if len(inner) else inner
    start, end = np.sort(np.concatenate((of.start, inner))), np.sort(np.concatenate((of.end, inner)))
    window = np.searchsorted(windows.start, start, side="right") - 1
    inside = (
        (window >= 0) & (start < windows.end[np.maximum(window, 0)])
        if len(windows.start)
        else np.zeros(len(start), bool)
    )
    return Spans(start[inside], end[inside])


def _active(trace: Trace, exposed: Spans) -> Ints:
    """Pairs (stretch, row of `Trace.comm`) of collectives that run in a stretch; (stretch, -1) for those with none."""
    known = np.flatnonzero(trace.comm.row >= 0)
    events = trace.events.spans(trace.comm.row[known].astype(np.int64))
    first = np.searchsorted(exposed.end, events.start, side="right")
    last = np.searchsorted(exposed.start, events.end, side="left")
    counts = np.maximum(last - first, 0)
    stretch = np.repeat(first, counts) + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    lonely = np.setdiff1d(np.arange(len(exposed.start)), stretch)
    pairs = np.concatenate(
        (np.column_stack((stretch, np.repeat(known, counts))), np.column_stack((lonely, np.full(len(lonely), -1))))
    )
    ordered: Ints = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return ordered
