"""What a rank sent and what it waited for, a row each: the raw material of every question about communication."""

import numpy as np

from scaleprof.results import Table
from scaleprof.trace import UNKNOWN, Trace


def collectives(trace: Trace) -> Table:
    """One row per operation of this rank, in the order of issue; `step` is -1 outside all steps, times and bytes -1 where unknown.

    `name` and `stream` say which activity carried it out.
    """
    comm, events = trace.comm, trace.events
    row = comm.row.astype(np.int64)
    ran = row >= 0
    at = np.where(ran, row, 0)
    some = len(events) > 0
    start = np.where(ran, events.start_ns[at] if some else 0, UNKNOWN)
    lane = events.lane[at] if some else at
    texts = np.array(trace.names.text, dtype=object)
    numbers = np.append(trace.steps.index, -1)
    when = np.where(comm.issued_ns != UNKNOWN, comm.issued_ns, start)
    by_time = np.searchsorted(trace.steps.host_start_ns, when, side="right") - 1
    inside = by_time >= 0
    if len(trace.steps):
        inside &= when < trace.steps.host_end_ns[np.maximum(by_time, 0)]
    transfer = np.array([op in ("send", "recv") for op in comm.op], dtype=np.bool_)
    on_device = ran & (trace.lanes.device[lane] >= 0 if some else False)
    # gloo's spans of sends and receives last until somebody waits for them: that is no time of the transfer's.
    timed = ran & (on_device | ~transfer)
    step_row = np.where(ran & some, events.step[at] if some else -1, np.where(inside, by_time, -1))
    return Table(
        {
            "step": numbers[step_row],
            "op": list(comm.op),
            "bytes": comm.bytes,
            "dtype": list(comm.dtype),
            "group": list(comm.group),
            "seq": comm.seq,
            "issued_ns": comm.issued_ns,
            "start_ns": start,
            "dur_ns": np.where(timed, events.dur_ns[at] if some else 0, UNKNOWN),
            "peer": comm.peer,
            "name": [str(texts[events.name[place]]) if is_run else "" for place, is_run in zip(at, ran, strict=True)],
            "stream": np.where(ran, trace.lanes.stream[lane] if some else -1, -1),
            "on_device": on_device,
        }
    )


def waits(trace: Trace) -> Table:
    """One row per wait of the calling thread in a step: where it waited, and the operation it waited for, as far as that can be told."""
    blocked, comm = trace.blocked, trace.comm
    numbers = np.append(trace.steps.index, -1)
    row = np.searchsorted(trace.steps.host_start_ns, blocked.start_ns, side="right") - 1
    inside = row >= 0
    if len(trace.steps):
        inside &= blocked.start_ns < trace.steps.host_end_ns[np.maximum(row, 0)]
    known, places = blocked.comm >= 0, blocked.comm.tolist()
    said = zip(places, blocked.op, strict=True)
    return Table(
        {
            "step": numbers[np.where(inside, row, -1)],
            "what": list(blocked.what),
            "op": [comm.op[place] if place >= 0 else op for place, op in said],
            "group": [comm.group[place] if place >= 0 else "" for place in places],
            "bytes": np.where(known, comm.bytes[np.maximum(blocked.comm, 0)] if len(comm.row) else UNKNOWN, UNKNOWN),
            "collective": blocked.comm,
            "start_ns": blocked.start_ns,
            "dur_ns": blocked.dur_ns,
        }
    )
