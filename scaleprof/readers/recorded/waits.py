"""Which operation each wait of the calling thread waited for.

A wait ends when its operation ends, so that of the operations that end within it the last one is meant: what a wait point says of the kind
of the operation narrows the choice. An operation that had ended before the wait began cost nothing, and is not looked for.
"""

import dataclasses

import numpy as np

from scaleprof.trace import Blocked, Comm, Events

RETURN_NS = 1_000_000
"""The end of an operation may be written down this much after the wait for it: another thread does that."""


def attributed(waits: Blocked, events: Events, comm: Comm) -> Blocked:
    """The waits with the row of the operation that ended each."""
    ran = np.flatnonzero(comm.row >= 0)
    ends = (events.start_ns + events.dur_ns)[comm.row[ran]]
    order = np.argsort(ends, kind="stable")
    ran, ends = ran[order], ends[order]
    begins = events.start_ns[comm.row[ran]]
    over = waits.start_ns + waits.dur_ns
    first = np.searchsorted(ends, waits.start_ns, side="right")
    after = np.searchsorted(ends, over + RETURN_NS, side="right")
    row = np.full(len(over), -1, dtype=np.int32)
    for number in np.flatnonzero(after > first).tolist():  # few of all events, each with one or two candidates
        op, end = waits.op[number], over[number]
        inside = [place for place in range(first[number], after[number]) if begins[place] < end]
        wanted = [place for place in inside if _may_be(op, comm.op[ran[place]])]
        in_time = [place for place in wanted if ends[place] <= end]
        chosen = in_time[-1:] or wanted[:1]
        if chosen:
            row[number] = ran[chosen[0]]
    return dataclasses.replace(waits, comm=row)


def _may_be(said: str, op: str) -> bool:
    """Whether a wait for what the wait point says can be one for this operation: for sends and receives only `Work.wait` waits, which says so."""
    return op == said if said else op not in ("send", "recv")
