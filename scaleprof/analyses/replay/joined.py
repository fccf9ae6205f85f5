"""Which nodes in the chains of a run's ranks carry one operation together, when its transfer begins on each, and how transfers share a link."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.align.matching import SYNCHRONISING
from scaleprof.align.transfers import TRANSFERS
from scaleprof.analyses.replay.chain_nodes import HOST_LANE, Doing
from scaleprof.intervals import Ints
from scaleprof.trace import UNKNOWN

SLACK_NS = 20_000
"""Times of two ranks may contradict one another by so much and what their clocks are uncertain by."""
MUCH_LARGER = 8
"""Times the bytes: the packets of so much larger an operation go before."""


@dataclass(frozen=True)
class Part:
    """The chain of one rank; `after` are rows of this part."""

    lane: Ints
    step: Ints
    kind: Ints
    name: list[str]
    start_ns: Ints
    end_ns: Ints
    after: Ints
    lag_ns: Ints
    row: Ints
    is_inferred: NDArray[np.bool_]
    is_bound: NDArray[np.bool_]
    error_ns: int


@dataclass(frozen=True)
class Base:
    """The chains of all ranks one after another; lanes and rows counted over all."""

    rank: Ints
    lane: Ints
    on_host: NDArray[np.bool_]
    step: Ints
    kind: Ints
    name: list[str]
    start: Ints
    end: Ints
    after: Ints
    lag: Ints
    row: Ints
    inferred: NDArray[np.bool_]
    bound: NDArray[np.bool_]
    one_clock: bool
    """All ranks read the same clock: it then says more of who came last than the lengths of operations do."""


def chains_of(parts: Mapping[int, Part]) -> Base:
    sizes = np.array([len(part.lane) for part in parts.values()])
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    lanes = np.array([int(part.lane.max()) + 1 for part in parts.values()])

    def of(column: str) -> NDArray[np.int64]:
        return np.concatenate([getattr(part, column) for part in parts.values()])

    after = of("after")
    return Base(
        rank=np.repeat(np.array(list(parts), dtype=np.int64), sizes),
        lane=of("lane") + np.repeat(np.cumsum(lanes) - lanes, sizes),
        on_host=of("lane") == HOST_LANE,
        step=of("step"),
        kind=of("kind"),
        name=[name for part in parts.values() for name in part.name],
        start=of("start_ns"),
        end=of("end_ns"),
        after=np.where(after >= 0, after + first, -1),
        lag=of("lag_ns"),
        row=of("row"),
        inferred=of("is_inferred").astype(np.bool_),
        bound=of("is_bound").astype(np.bool_),
        one_clock=not any(part.error_ns for part in parts.values()),
    )


@dataclass(frozen=True)
class Meetings:
    """Which nodes carry one operation together; columns by node of the chains."""

    number: Ints
    """Of the operation, or -1 for what is none or cannot be tied to its other ends."""
    synchronises: NDArray[np.bool_]
    begin: Ints
    """When the transfer begins, the last arrival being over."""
    end: Ints
    held_by: Ints
    """In an operation that not everyone waits in: the node whose arrival this one waits for, or -1."""
    numbers: Ints
    """Of the operations with a meeting, ascending."""
    latest: Ints
    """Of each of these the last arrival."""
    place: Ints
    """Of each the node of its lowest rank, beside whose lane the meeting stands."""
    shares_link: NDArray[np.bool_]
    """Of each node: collectives, which share the link of their rank with one another."""
    place_on_wire: Ints
    bytes: Ints


def meetings_in(view: RunView, base: Base) -> Meetings:
    """What the matches, and the split of waiting from transfer, say of the operations in the chains."""
    nodes, numbers = _matched(view, base)
    count = len(base.rank)
    ops = np.full(count, "", dtype=object)
    wait, bytes = np.full(count, UNKNOWN, dtype=np.int64), np.full(count, UNKNOWN, dtype=np.int64)
    for rank in np.unique(base.rank[nodes]).tolist():
        here = nodes[base.rank[nodes] == rank]
        ops[here] = np.array(view.fact("collectives")[rank]["op"], dtype=object)[base.row[here]]
        wait[here] = view.exchange.wait_ns[rank][base.row[here]]
        bytes[here] = np.asarray(view.fact("collectives")[rank]["bytes"])[base.row[here]]
    transfer = np.isin(ops[nodes], TRANSFERS)
    order = np.argsort(numbers, kind="stable")
    nodes, numbers, transfer = nodes[order], numbers[order], transfer[order]
    known = (wait[nodes] != UNKNOWN) | transfer
    distinct, head, size = np.unique(numbers, return_index=True, return_counts=True)
    all_known = np.logical_and.reduceat(known, head) if len(head) else known
    keep = np.repeat(all_known, size)
    nodes, numbers, transfer = nodes[keep], numbers[keep], transfer[keep]
    distinct, head, size = np.unique(numbers, return_index=True, return_counts=True)
    latest = np.maximum.reduceat(base.start[nodes], head) if len(head) else head
    untimed = transfer & (wait[nodes] == UNKNOWN)
    begin, end = base.start[nodes] + wait[nodes], base.end[nodes].copy()
    arrived = np.repeat(latest, size)
    by_clocks = untimed | base.one_clock
    begin[by_clocks] = np.clip(arrived, base.start[nodes], np.maximum(base.end[nodes], arrived * untimed))[by_clocks]
    end[untimed] = _ends_of_transfers(base, nodes, numbers, begin, untimed)
    number = np.full(count, -1, dtype=np.int64)
    number[nodes] = numbers
    begins, ends, synchronises = base.start.copy(), base.end.copy(), np.zeros(count, dtype=np.bool_)
    begins[nodes], ends[nodes] = np.minimum(begin, end), end
    synchronises[nodes] = np.isin(ops[nodes], SYNCHRONISING) | transfer
    met = synchronises[nodes[head]]
    shares = synchronises.copy()
    shares[nodes[transfer]] = False
    return Meetings(
        number=number,
        synchronises=synchronises,
        begin=begins,
        end=ends,
        held_by=_held_by(base, nodes, np.repeat(head, size), np.repeat(size, size), begins),
        numbers=distinct[met],
        latest=latest[met],
        place=nodes[head][met],
        shares_link=shares,
        place_on_wire=np.full(count, -1, dtype=np.int64),
        bytes=bytes,
    )


def _matched(view: RunView, base: Base) -> tuple[Ints, Ints]:
    """Nodes of matched operations all of whose parts are in the chains, and the numbers of the operations."""
    number = np.full(len(base.rank), UNKNOWN, dtype=np.int64)
    parts = np.zeros(len(view.matching.groups), dtype=np.int64)
    for rank, of_row in view.matching.of_row.items():
        parts[of_row[of_row >= 0]] += 1
        here = np.flatnonzero((base.rank == rank) & (base.row >= 0))
        number[here] = of_row[base.row[here]]
    nodes = np.flatnonzero(number >= 0)
    there = np.bincount(number[nodes], minlength=len(parts))
    nodes = nodes[(there == parts)[number[nodes]]]
    return nodes, number[nodes]


def _ends_of_transfers(base: Base, nodes: Ints, numbers: Ints, begin: Ints, untimed: NDArray[np.bool_]) -> Ints:
    """When transfers end whose spans say nothing of it: when somebody who was held up by one went on; else after as long as such transfers take."""
    end, bound = base.end[nodes], base.bound[nodes]
    took = np.maximum(end - begin, 0)
    seen = untimed & bound
    typical = int(np.median(took[seen])) if seen.any() else 0
    # Whoever was held up says it for both ends.
    latest = np.zeros(int(numbers.max(initial=0)) + 1, dtype=np.int64)
    np.maximum.at(latest, numbers[seen], took[seen])
    has = np.zeros(len(latest), dtype=np.bool_)
    has[numbers[seen]] = True
    other = np.where(has[numbers], np.minimum(latest[numbers], typical if typical else latest[numbers]), typical)
    ended: Ints = np.where(bound, end, np.minimum(begin + other, np.maximum(end, begin)))
    return ended[untimed]


def _held_by(base: Base, nodes: Ints, first: Ints, size: Ints, begins: Ints) -> Ints:
    """For each node that waited in an operation the member that came last before its transfer began."""
    held = np.full(len(base.rank), -1, dtype=np.int64)
    for place, (node, head, many) in enumerate(
        zip(nodes.tolist(), first.tolist(), size.tolist(), strict=True)
    ):  # operations, not events
        if begins[node] > base.start[node]:
            members = nodes[head : head + many]
            members = members[
                (np.arange(head, head + many) != place) & (base.start[members] <= begins[node] + SLACK_NS)
            ]
            if len(members):
                held[node] = int(members[np.argmax(base.start[members])])
    return held


def on_wires(base: Base, meets: Meetings) -> tuple[Ints, Meetings]:
    """Nodes of collectives that threads of a host carried out, which share its link, in the order in which they ended on each rank; their transfers
    begin when the one before is over.

    Two at once take turns on the wire, and each seems to take twice as long; together they take what they take one after another. So a link that is
    faster, or fewer bytes, also shorten what they wait for one another. A few bytes that were sent while many were on their way wait behind these.
    """
    with_device = np.unique(base.rank[~base.on_host & (base.kind != Doing.OPERATION)])
    sends = (meets.number >= 0) & meets.synchronises & meets.shares_link & ~np.isin(base.rank, with_device)
    wired = np.flatnonzero(sends)
    until = _behind_larger(base, meets, wired)
    order = wired[np.lexsort((meets.end[wired], (until > meets.end)[wired], until[wired], base.rank[wired]))]
    begin = meets.begin.copy()
    same = base.rank[order[1:]] == base.rank[order[:-1]]
    begin[order[1:][same]] = np.maximum(begin[order[1:]], meets.end[order[:-1]])[same]
    begin[order] = np.minimum(begin[order], meets.end[order])
    place = np.full(len(base.rank), -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    return wired, replace(meets, begin=begin, place_on_wire=place)


def _behind_larger(base: Base, meets: Meetings, wired: Ints) -> Ints:
    """When the wire is free of each operation and of all much larger ones that were on it when this one began."""
    until = meets.end.copy()
    for rank in np.unique(base.rank[wired]).tolist():
        here = wired[base.rank[wired] == rank]
        here = here[np.argsort(meets.begin[here], kind="stable")]
        reach = np.maximum.accumulate(meets.end[here])
        for place, node in enumerate(here.tolist()):  # operations, not events
            before = place - 1
            while before >= 0 and reach[before] > meets.begin[node]:
                other = int(here[before])
                if meets.end[other] > until[node] and meets.bytes[other] >= MUCH_LARGER * max(
                    int(meets.bytes[node]), 1
                ):
                    until[node] = meets.end[other]
                before -= 1
    return until
