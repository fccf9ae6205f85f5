"""When a rank was ready for each collective, and what it had done until then: the raw material of the question why it came late (`method` 2.5)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scaleprof.align.matching import SYNCHRONISING
from scaleprof.analyses.account.account import Activity, activities_of
from scaleprof.intervals import EMPTY, Ints, Spans, covered, intersect, subtract, union
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN, Kind, Trace

HOST_CAUSES = {
    "input": Kind.INPUT,
    "gc": Kind.GC,
    "checkpoint": Kind.CHECKPOINT,
    "compile": Kind.COMPILE,
    "alloc": Kind.ALLOC,
    "sync": Kind.SYNC,
}
"""What the host may have been at while the device had nothing to do, the first that fits."""
_HELD_UP = ("input", "gc", "checkpoint", "compile", "alloc")
"""Of these what holds the host up by itself; a host that waits for the device may be waiting for communication."""
DOINGS = ("compute", "memory", "comm", *HOST_CAUSES, "idle")
"""What divides the time before an arrival: compute, copies, communication that nothing hid, idle by what the host was at, other idle time."""


def arrivals(trace: Trace) -> Table:
    """One row per operation of this rank, in the order of the fact on collectives, times in ns, UNKNOWN where it did not run.

    `ready_ns`: when all compute that was launched before it had ended, or when it started, if that was sooner: it may start later only because its
    stream was taken. `end_ns`. `met_row`: the latest operation of its group that had ended by then, for which all wait, with nothing computed
    meanwhile, UNKNOWN for none: what followed waited for it, so that from its end on the ranks of the group set out together. `<doing>_ready_ns` and
    `<doing>_end_ns`: how much of each of `DOINGS` there had been by those two times.
    """
    comm, events = trace.comm, trace.events
    ran = comm.row >= 0
    row = np.where(ran, comm.row, 0).astype(np.int64)
    start = np.where(ran, events.start_ns[row], UNKNOWN) if len(events) else np.full(len(row), UNKNOWN)
    end = np.where(ran, start + events.dur_ns[row], UNKNOWN) if len(events) else start
    ready = np.where(ran, np.minimum(_ready(trace, start), start), UNKNOWN)
    activities = activities_of(trace)
    parts = _parts(trace, activities[0]) if activities else dict.fromkeys(DOINGS, EMPTY)
    awaited = covered(parts["comm"], Spans(end - 1, end)) > 0
    columns: dict[str, Ints] = {"ready_ns": ready, "end_ns": end, "met_row": _met(trace, ready, end, awaited)}
    origin = int(min(start[ran].min(), ready[ran].min())) if ran.any() else 0
    for when, times in (("ready", ready), ("end", end)):
        windows = Spans(np.full(len(times), origin), np.where(ran, times, origin))
        left = windows.end - windows.start
        for name in DOINGS[:-1]:
            columns[f"{name}_{when}_ns"] = covered(parts[name], windows)
            left = left - columns[f"{name}_{when}_ns"]
        if activities and activities[0].method == "subtracted":
            columns[f"compute_{when}_ns"], left = columns[f"compute_{when}_ns"] + left, np.zeros_like(left)
        columns[f"idle_{when}_ns"] = left
    return Table(columns)


def _ready(trace: Trace, start: Ints) -> Ints:
    """When each operation had been issued and all compute launched before it had ended."""
    comm, events = trace.comm, trace.events
    issued = np.where(comm.issued_ns != UNKNOWN, comm.issued_ns, start)
    if not trace.has_device:
        return issued
    rows = np.flatnonzero((trace.kinds == Kind.COMPUTE) & trace.on_device & (events.link >= 0))
    launched = events.start_ns[events.link[rows]]
    order = np.argsort(launched, kind="stable")
    launched, ended = launched[order], np.maximum.accumulate((events.start_ns[rows] + events.dur_ns[rows])[order])
    before = np.searchsorted(launched, issued, side="right") - 1
    computed = np.where(before >= 0, ended[np.maximum(before, 0)] if len(ended) else issued, issued)
    return np.maximum(issued, computed)


def _met(trace: Trace, ready: Ints, end: Ints, awaited: NDArray[np.bool_]) -> Ints:
    """For each operation the latest awaited one of its group that had ended when it was ready."""
    comm = trace.comm
    met = np.full(len(comm.row), UNKNOWN, dtype=np.int64)
    ran = np.flatnonzero(comm.row >= 0)
    if not len(ran):
        return met
    _, group = np.unique(np.array(comm.group, dtype=object)[ran].astype(str), return_inverse=True)
    meets = awaited & np.isin(
        np.array(comm.op, dtype=object), (*SYNCHRONISING, "unknown")
    )  # the root of a broadcast goes on alone
    for number in range(int(group.max()) + 1):  # a few groups
        here = ran[group == number]
        before = here[meets[here]]
        before = before[np.argsort(end[before], kind="stable")]
        place = np.searchsorted(end[before], ready[here], side="right") - 1
        known = place >= 0
        met[here[known]] = before[place[known]]
    return np.where(met == np.arange(len(met)), UNKNOWN, met)


def _parts(trace: Trace, activity: Activity) -> Mapping[str, Spans]:
    """Disjoint sets of what was done. Where the device has nothing to compute because its host is held up, that counts before communication:
    what then runs beside is not what it waits for."""
    compute, late = activity.compute, _unlaunched(trace, activity)
    events, kinds = trace.events, trace.kinds
    paused = trace.names.kind[trace.pauses.name]
    causes = {
        name: union(events.spans(kinds == kind), Spans(*(edge[paused == kind] for edge in trace.pauses.spans)))
        for name, kind in HOST_CAUSES.items()
    }
    held, busy = {}, compute
    for name in _HELD_UP:
        held[name] = subtract(intersect(causes[name], late), busy)
        busy = union(busy, held[name])
    comm = subtract(activity.exposable, busy)
    memory = subtract(subtract(activity.memory, busy), comm)
    busy = union(busy, comm, memory)
    found = {"compute": compute, "memory": memory, "comm": comm}
    for name, spans in causes.items():
        free = subtract(spans, busy)
        found[name] = union(held.get(name, EMPTY), free)
        busy = union(busy, free)
    return found


def _unlaunched(trace: Trace, activity: Activity) -> Spans:
    """When the device computed nothing and the kernel that it computed next had not been launched; nowhere without a device."""
    events = trace.events
    rows = np.flatnonzero((trace.kinds == Kind.COMPUTE) & trace.on_device & (events.link >= 0))
    if not trace.has_device or not len(rows) or len(activity.compute.start) < 2:
        return EMPTY
    rows = rows[np.argsort(events.start_ns[rows], kind="stable")]
    before, after = activity.compute.end[:-1], activity.compute.start[1:]
    place = np.searchsorted(events.start_ns[rows], after)
    known = (place < len(rows)) & (events.start_ns[rows[np.minimum(place, len(rows) - 1)]] == after)
    launched = np.where(known, events.start_ns[events.link[rows[np.minimum(place, len(rows) - 1)]]], before)
    return union(Spans(before, np.minimum(launched, after)))
