"""The chain of a rank with a device: its host, which launches, synchronises and runs ahead, and the streams of the device.

An activity waits for its launch and for the one before it on its stream. What a stream waits for on another is told where the profiler was asked to
record synchronisations (`stream_edges.py`), and inferred elsewhere.
"""

import numpy as np
from numpy.typing import NDArray

from scaleprof.analyses.replay.chain_nodes import HOST_LANE, Doing, Nodes, Window, nodes_of
from scaleprof.analyses.replay.host_chain import Awaits, Waits, cells_of, host_of
from scaleprof.analyses.replay.stream_edges import JUST_NS, stream_edges
from scaleprof.intervals import Ints
from scaleprof.trace import Kind, Trace

RETURN_NS = 100_000
"""A synchronisation returns so long after what it waits for at most."""
LEAST_BLOCKING_NS = 5_000
_ACTIVITIES = (Kind.COMPUTE, Kind.COPY, Kind.COLLECTIVE, Kind.P2P)


def device_chains(trace: Trace, window: Window) -> list[Nodes]:
    """The nodes of the host, then those of the streams; empty where nothing ran on the device in the window."""
    rows = np.flatnonzero(trace.on_device & np.isin(trace.kinds, _ACTIVITIES) & np.isin(trace.events.step, window.rows))
    if not len(rows):
        return []
    rows = rows[np.lexsort((trace.events.start_ns[rows], trace.events.lane[rows]))]
    on_host = Window(
        window.rows, int(trace.steps.host_start_ns[window.rows[0]]), int(trace.steps.host_end_ns[window.rows[-1]])
    )
    streams = _streams(trace, rows)
    waits, awaits = _synchronisations(trace, on_host, rows, streams)
    link = trace.events.link[rows]
    launched = np.where(link >= 0, trace.events.start_ns[np.maximum(link, 0)], 0)
    host = host_of(trace, cells_of(trace, on_host, waits, launched[link >= 0]), waits, streams, awaits)
    return [host, _launched(trace, host, streams, rows, launched, link >= 0)]


def _streams(trace: Trace, rows: Ints) -> Nodes:
    """The activities, those of a stream in order, one lane a stream."""
    events, names = trace.events, trace.names.text
    start, end = events.spans(rows)
    of_kind = {
        Kind.COMPUTE: Doing.COMPUTE,
        Kind.COPY: Doing.COPY,
        Kind.COLLECTIVE: Doing.OPERATION,
        Kind.P2P: Doing.OPERATION,
    }
    kind = np.array([of_kind.get(one, Doing.COMPUTE) for one in map(Kind, trace.kinds[rows].tolist())], dtype=np.int64)
    found = nodes_of(
        0, events.step[rows].astype(np.int64), kind, start, end, [names[name] for name in events.name[rows].tolist()]
    )
    _, lane = np.unique(events.lane[rows], return_inverse=True)
    found.lane = lane + HOST_LANE + 1
    operation = np.full(len(events), -1, dtype=np.int64)
    ran = np.flatnonzero(trace.comm.row >= 0)
    operation[trace.comm.row[ran]] = ran
    found.operation = operation[rows]
    return found


def _synchronisations(trace: Trace, window: Window, rows: Ints, streams: Nodes) -> tuple[Waits, Awaits]:
    """When the host waited for the device, and for which activities: the last one of each stream that was launched before and had ended by then.

    A copy that blocks its caller waits for itself.
    """
    events, kinds = trace.events, trace.kinds
    link = events.link[rows]
    copied = np.flatnonzero((kinds[rows] == Kind.COPY) & (link >= 0))
    blocking = copied[
        (events.dur_ns[link[copied]] > LEAST_BLOCKING_NS)
        & (events.start_ns[link[copied]] + events.dur_ns[link[copied]] >= streams.end_ns[copied])
    ]
    syncs = np.flatnonzero((kinds == Kind.SYNC) & ~trace.on_device & (events.dur_ns > 0))
    source = np.concatenate((syncs, link[blocking])).astype(np.int64)
    own = np.concatenate((np.full(len(syncs), -1), blocking))
    start, end = events.spans(source)
    order = np.argsort(start, kind="stable")
    source, own, start, end = source[order], own[order], start[order], end[order]
    reach = np.concatenate(([window.start_ns], np.maximum.accumulate(end)[:-1])) if len(end) else end
    keep = (start >= np.maximum(reach, window.start_ns)) & (end <= window.end_ns)
    own, start, end = own[keep], start[keep], end[keep]
    waits = Waits(start, end, ["sync"] * len(start), [""] * len(start), np.full(len(start), -1, dtype=np.int64))
    launched = np.where(link >= 0, events.start_ns[np.maximum(link, 0)], streams.start_ns)
    pairs = [(number, int(one)) for number, one in enumerate(own.tolist()) if one >= 0]
    free = np.flatnonzero(own < 0)
    for lane in np.unique(streams.lane).tolist():  # a few streams
        here = np.flatnonzero(streams.lane == lane)
        order = here[np.argsort(launched[here], kind="stable")]
        place = np.searchsorted(launched[order], start[free], side="left") - 1
        last = order[np.maximum(place, 0)]
        awaited = (place >= 0) & (streams.end_ns[last] <= end[free] + JUST_NS) & (streams.end_ns[last] > start[free])
        pairs += list(zip(free[awaited].tolist(), last[awaited].tolist(), strict=True))
    wait, operation = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
    return waits, Awaits(wait, operation, np.ones(len(wait), dtype=np.bool_))


def _launched(trace: Trace, host: Nodes, streams: Nodes, rows: Ints, launched: Ints, known: NDArray[np.bool_]) -> Nodes:
    """The activities after their launches, and before some a node of no length for what their stream waits for on another."""
    count = len(rows)
    first = np.ones(count, dtype=np.bool_)
    first[1:] = streams.lane[1:] != streams.lane[:-1]
    node = np.searchsorted(host.end_ns, launched, side="right") - 1
    after = np.where(
        known & (node >= 0) & ~first, node, -1
    )  # a stream may be far behind its host when the window begins
    since = streams.start_ns - host.end_ns[np.maximum(node, 0)]
    least = max(int(since[after >= 0].min()), 0) if (after >= 0).any() else 0
    streams.after, streams.lag_ns = after, np.minimum(np.where(after >= 0, least, 0), since)
    target, source, is_inferred = stream_edges(trace, streams, rows, launched, known)
    kept = ~first[target]
    target, source = target[kept], source[kept]
    joins = nodes_of(
        0, streams.step[target], np.full(len(target), Doing.JOIN), streams.end_ns[source], streams.end_ns[source]
    )
    before = streams.end_ns[target - 1]
    joins.start_ns = np.clip(streams.end_ns[source], before, np.maximum(streams.start_ns[target], before))
    joins.end_ns = joins.start_ns
    joins.lane, joins.is_inferred = streams.lane[target], is_inferred[kept]
    order = np.lexsort(
        (np.concatenate((joins.start_ns, streams.start_ns)), np.concatenate((2 * target, 2 * np.arange(count) + 1)))
    )
    row_of = np.empty(len(order), dtype=np.int64)
    row_of[order] = np.arange(len(order)) + len(host.start_ns)
    _renumber(host, row_of[len(target) :], count_of_host=len(host.start_ns))
    joins.after = row_of[len(target) + source]
    joins.lag_ns = np.minimum(joins.start_ns - streams.end_ns[source], 0)
    return _together(joins, streams, order)


def _renumber(host: Nodes, rows: Ints, *, count_of_host: int) -> None:
    """The host's joins wait for activities by their rows before nodes were put between them."""
    joins = host.after >= count_of_host
    host.after[joins] = rows[host.after[joins] - count_of_host]


def _together(joins: Nodes, streams: Nodes, order: Ints) -> Nodes:
    def of(column: str) -> NDArray[np.int64]:
        both: NDArray[np.int64] = np.concatenate((getattr(joins, column), getattr(streams, column)))[order]
        return both

    names = [*joins.name, *streams.name]
    return Nodes(
        lane=of("lane"),
        step=of("step"),
        kind=of("kind"),
        name=[names[place] for place in order.tolist()],
        start_ns=of("start_ns"),
        end_ns=of("end_ns"),
        after=of("after"),
        lag_ns=of("lag_ns"),
        operation=of("operation"),
        is_inferred=of("is_inferred").astype(np.bool_),
        is_bound=of("is_bound").astype(np.bool_),
    )
