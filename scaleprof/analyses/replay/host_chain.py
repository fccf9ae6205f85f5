"""The host's part of a rank's chain: its time cut to pieces, with a node of no length for every operation that it waited for.

What several of its threads do is one chain, since one waits for the other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.analyses.account.account import activities_of, leaf_operators
from scaleprof.analyses.replay.chain_nodes import HOST_LANE, Doing, Nodes, Window, nodes_of, step_at
from scaleprof.intervals import Ints, Spans, union
from scaleprof.trace import Kind, Trace

_HELD_UP = {Doing.GC: Kind.GC, Doing.COMPILE: Kind.COMPILE, Doing.INPUT: Kind.INPUT, Doing.CHECKPOINT: Kind.CHECKPOINT}
_NAMED = {
    Doing.ENCODE: ("scaleprof::encode", "scaleprof::decode"),
    Doing.SYNC_BATCH_NORM: ("scaleprof::sync_batch_norm",),
}


@dataclass(frozen=True)
class Waits:
    """Waits of the calling thread within a window, none within another."""

    start_ns: Ints
    end_ns: Ints
    what: list[str]
    op: list[str]
    """The operation, where the wait point says it; else empty."""
    comm: Ints
    """Row in `Trace.comm`, or -1."""

    def at(self, when: Ints) -> Ints:
        """The wait that goes on at each time, or -1."""
        if not len(self.start_ns):
            return np.full(len(when), -1, dtype=np.int64)
        which = np.searchsorted(self.start_ns, when, side="right") - 1
        inside = (which >= 0) & (when < self.end_ns[np.maximum(which, 0)])
        found: Ints = np.where(inside, which, -1)
        return found


def waits_of(trace: Trace, window: Window) -> Waits | None:
    """The waits in a window; None where no wait was ever recorded."""
    blocked = trace.blocked
    if not len(blocked.start_ns):
        return None
    end = blocked.start_ns + blocked.dur_ns
    order = np.argsort(blocked.start_ns, kind="stable")
    reach = np.concatenate(([window.start_ns], np.maximum.accumulate(end[order])[:-1]))
    start = blocked.start_ns[order]
    rows = order[(start >= np.maximum(reach, window.start_ns)) & (end[order] <= window.end_ns) & (end[order] > start)]
    places = rows.tolist()
    return Waits(
        start_ns=blocked.start_ns[rows],
        end_ns=end[rows],
        what=[blocked.what[row] for row in places],
        op=[blocked.op[row] for row in places],
        comm=blocked.comm[rows].astype(np.int64),
    )


def _classes(trace: Trace) -> list[tuple[Doing, Spans, Ints]]:
    """What the host may be at besides waiting, the first that fits: each a set of spans, or spans one by one with their rows in `Names`."""
    events, kinds, on_host = trace.events, trace.kinds, ~trace.on_device
    nothing = np.zeros(0, dtype=np.int64)
    paused = trace.names.kind[trace.pauses.name]
    found = []
    for doing, kind in _HELD_UP.items():
        pauses = Spans(*(edge[paused == kind] for edge in trace.pauses.spans))
        found.append((doing, union(events.spans(on_host & (kinds == kind)), pauses), nothing))
    found.append((Doing.COMPUTE, *_computing(trace)))
    ran = trace.comm.row[trace.comm.row >= 0]
    own = on_host & ~np.isin(events.lane, np.unique(events.lane[ran]))
    for doing, begins in _NAMED.items():
        named = np.array([text.startswith(begins) for text in trace.names.text], dtype=np.bool_)
        found.append((doing, union(events.spans(named[events.name] & own)), nothing))
    if trace.has_device:
        found.append((Doing.LAUNCH, union(events.spans(on_host & (kinds == Kind.LAUNCH))), nothing))
    return found


def _computing(trace: Trace) -> tuple[Spans, Ints]:
    """Spans of compute on the host, one after another, and their names."""
    rows = trace.kinds == Kind.COMPUTE
    activities = activities_of(trace)
    if activities and activities[0].method == "operators":
        rows |= leaf_operators(trace)
    here = np.flatnonzero(rows & ~trace.on_device)
    start, end = trace.events.spans(here)
    alone = np.ones(len(here), dtype=np.bool_)
    alone[1:] = start[1:] >= np.maximum.accumulate(end)[:-1]
    return Spans(start[alone], end[alone]), trace.events.name[here[alone]].astype(np.int64)


@dataclass(frozen=True)
class Cells:
    """The host's time cut to pieces, in order, without a gap."""

    edge_ns: Ints
    """One more than cells."""
    kind: Ints
    name: Ints
    """Row in `Trace.names`, or -1."""
    wait: Ints
    """The wait that a cell is, or -1."""


def cells_of(trace: Trace, window: Window, waits: Waits, at: Ints) -> Cells:
    """The host's window cut where anything changes, and `at` these times, when something is issued; nothing cuts a wait."""
    classes = _classes(trace)
    steps = trace.steps
    edges = [steps.host_start_ns[window.rows], steps.host_end_ns[window.rows], at]
    edge = np.unique(np.concatenate([*edges, *(edge for _, spans, _ in classes for edge in spans)]))
    edge = edge[(edge > window.start_ns) & (edge < window.end_ns)]
    edge = edge[waits.at(edge) < 0]
    edge = np.unique(np.concatenate((edge, waits.start_ns, waits.end_ns, [window.start_ns, window.end_ns])))
    left = edge[:-1]
    kind, name = np.full(len(left), Doing.HOST, dtype=np.int64), np.full(len(left), -1, dtype=np.int64)
    for doing, spans, names in reversed(classes):
        if len(spans.start):
            place = np.searchsorted(spans.start, left, side="right") - 1
            inside = (place >= 0) & (left < spans.end[np.maximum(place, 0)])
            kind[inside] = doing
            name[inside] = names[place[inside]] if len(names) else -1
    wait = waits.at(left)
    kind[wait >= 0], name[wait >= 0] = Doing.WAIT, -1
    return Cells(edge, kind, name, wait)


@dataclass(frozen=True)
class Awaits:
    """Which wait waits for the end of which operation."""

    wait: Ints
    operation: Ints
    """Its row among the nodes of operations."""
    is_inferred: NDArray[np.bool_]


def host_of(trace: Trace, cells: Cells, waits: Waits, operations: Nodes, awaits: Awaits) -> Nodes:
    """The nodes of the host: its cells, and before the rest of each wait a node for the end of every operation that it waited for.

    `after` of those are rows of `operations`, which follow the host's own in the table.
    """
    wait, operation, inferred = awaits.wait, awaits.operation, awaits.is_inferred
    cell_of = np.full(len(waits.start_ns), -1, dtype=np.int64)
    cell_of[cells.wait[cells.wait >= 0]] = np.flatnonzero(cells.wait >= 0)
    ended = operations.end_ns[operation]
    order = np.lexsort((ended, wait))
    wait, operation, inferred, ended = wait[order], operation[order], inferred[order], ended[order]
    left, right = cells.edge_ns[:-1], cells.edge_ns[1:]
    joined = np.clip(ended, waits.start_ns[wait], waits.end_ns[wait])
    begins = left.copy()
    np.maximum.at(begins, cell_of[wait], joined)  # what is left of a wait is the way back from its last operation
    place = np.argsort(np.concatenate((cell_of[wait] * 2, np.arange(len(left)) * 2 + 1)), kind="stable")
    host = nodes_of(
        HOST_LANE,
        step_at(trace, np.concatenate((left[cell_of[wait]], left)))[place],
        np.concatenate((np.full(len(wait), Doing.JOIN), cells.kind))[place],
        np.concatenate((joined, begins))[place],
        np.concatenate((joined, right))[place],
        [
            trace.names.text[name] if name >= 0 else ""
            for name in np.concatenate((np.full(len(wait), -1), cells.name))[place].tolist()
        ],
    )
    count = len(host.start_ns)
    none, no_lag = np.full(len(left), -1, dtype=np.int64), np.zeros(len(left), dtype=np.int64)
    host.after = np.concatenate((operation + count, none))[place]
    host.lag_ns = np.concatenate((np.minimum(joined - ended, 0), no_lag))[place]
    host.is_inferred = np.concatenate((inferred, none > 0))[place]
    return host
