"""Operations that a host issued to threads of its own (gloo), and which of its waits was for which of them."""

import dataclasses

import numpy as np

from scaleprof.align.transfers import TRANSFERS
from scaleprof.analyses.replay.chain_nodes import Doing, Nodes, Window, nodes_of, step_at
from scaleprof.analyses.replay.host_chain import Awaits, Waits
from scaleprof.trace import UNKNOWN, Trace

BOUND_NS = 200_000
"""A wait that is longer than what calling it takes was held up by its operation."""
RETURN_NS = 1_000_000
"""The end of an operation may be written down so long after the wait for it: another thread does that."""
_TAIL = "backward_tail"


def operations_of(trace: Trace, window: Window, waits: Waits) -> Nodes:
    """What was issued in the window and ran: collectives on the lane of the thread that carried them out, each transfer between two ranks on a lane
    of its own. gloo's spans of transfers say nothing of their time: one ends when somebody has waited for it, at the latest."""
    comm, events = trace.comm, trace.events
    ran = comm.row >= 0
    at = np.where(ran, comm.row, 0)
    start = np.where(ran, events.start_ns[at], comm.issued_ns)
    issued = np.where(comm.issued_ns != UNKNOWN, comm.issued_ns, start)
    transfer = np.isin(np.array(comm.op, dtype=object), TRANSFERS) if len(comm.op) else ran
    inside = ran & (issued >= window.start_ns) & (issued < window.end_ns)
    rows = np.flatnonzero(inside)
    end = np.where(ran, start + events.dur_ns[at], start)
    bound = np.ones(len(start), dtype=np.bool_)
    waited = np.full(len(start), UNKNOWN, dtype=np.int64)
    known = waits.comm >= 0
    waited[waits.comm[known]] = waits.end_ns[known]
    end = np.where(transfer & (waited != UNKNOWN), np.maximum(waited, issued), end)
    start = np.where(transfer, issued, start)
    held = np.zeros(len(start), dtype=np.int64)
    held[waits.comm[known]] = (waits.end_ns - waits.start_ns)[known]
    bound[transfer] = held[transfer] > BOUND_NS
    lanes, lane = np.unique(events.lane[at[rows]], return_inverse=True)
    lane = np.where(transfer[rows], len(lanes) + np.cumsum(transfer[rows]), lane)
    rows = rows[np.lexsort((start[rows], lane))]
    lane = np.sort(lane)
    _, lane = np.unique(lane, return_inverse=True)
    found = nodes_of(
        0,
        step_at(trace, issued[rows]),
        np.full(len(rows), Doing.OPERATION),
        start[rows],
        end[rows],
        [comm.op[row] for row in rows.tolist()],
    )
    found.lane, found.operation, found.is_bound = lane + 1, rows, bound[rows]
    return found


def issued_by(host: Nodes, trace: Trace, operations: Nodes) -> Nodes:
    """The operations, each after the node of the host that ends where it was issued."""
    issued = trace.comm.issued_ns[operations.operation]
    issued = np.where(issued != UNKNOWN, issued, operations.start_ns)
    node = np.searchsorted(host.end_ns, issued, side="right") - 1
    after = np.where(node >= 0, node, -1)
    since = np.where(node >= 0, operations.start_ns - host.end_ns[np.maximum(node, 0)], 0)
    least = int(since[after >= 0].min()) if (after >= 0).any() else 0
    return dataclasses.replace(operations, after=after, lag_ns=np.minimum(since, max(least, 0)))


def awaited(trace: Trace, waits: Waits, operations: Nodes) -> Awaits:
    """Which wait waits for which operation (a row of `operations`), and whether that is inferred.

    The recorder says what ended a wait. A wait that nothing held up says nothing; it was for the last operation of its kind that had been issued.
    The tail of a backward pass waits for all that was issued and that nobody has waited for.
    """
    comm = trace.comm
    row_of = {int(number): row for row, number in enumerate(operations.operation.tolist())}
    issued = np.where(
        comm.issued_ns[operations.operation] != UNKNOWN, comm.issued_ns[operations.operation], operations.start_ns
    )
    order = np.argsort(issued, kind="stable").tolist()
    pairs: list[tuple[int, int, bool]] = []
    outstanding: list[int] = []
    place = 0
    for number, (end, what, op, known) in enumerate(
        zip(waits.end_ns.tolist(), waits.what, waits.op, waits.comm.tolist(), strict=True)
    ):
        while place < len(order) and issued[order[place]] < end:
            outstanding.append(order[place])
            place += 1
        over = [row for row in outstanding if operations.end_ns[row] <= end + RETURN_NS]
        if what == _TAIL:
            chosen, inferred = over, False
        elif known in row_of:
            chosen, inferred = [row_of[known]], False
        else:
            alike = [row for row in over if not op or comm.op[operations.operation[row]] == op]
            chosen, inferred = alike[-1:], True
        pairs += [(number, row, inferred) for row in chosen]
        outstanding = [row for row in outstanding if row not in chosen]
    wait, row, is_inferred = np.array(pairs, dtype=np.int64).reshape(-1, 3).T
    return Awaits(wait, row, is_inferred.astype(np.bool_))
