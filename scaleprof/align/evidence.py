"""What ties the clocks of a run to one another: ends of collectives, transfers, recorded ping-pongs; and which ranks share a clock."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.align.meetings import Meetings
from scaleprof.align.transfers import TRANSFERS
from scaleprof.clock import ClockOffset, RankClock, shared_clocks
from scaleprof.intervals import Ints
from scaleprof.run import RankInfo
from scaleprof.trace import UNKNOWN

TOO_MANY = 0.1
"""Where more of the operations than this contradict, the clocks do, and not the operations."""
CERTAIN_NS = 20_000
"""Profilers of one host's processes agree better than this."""
COARSEST_NS = 1_000
"""No profiler says less than whole us; few times may be multiples of more."""


@dataclass(frozen=True)
class Ends:
    """Ends of synchronising operations: one row for each operation and clock, in the order of operations, in ns on the clock."""

    operation: Ints
    clock: Ints
    end_ns: Ints
    """The middle one of the clock's ranks."""
    first_end_ns: Ints
    last_start_ns: Ints


@dataclass(frozen=True)
class Arrivals:
    """Transfers between clocks: nobody has received before it was sent, and large ones end on both sides nearly together."""

    receiver: Ints
    sender: Ints
    end_ns: Ints
    """On the receiver's clock, the other two on the sender's."""
    start_ns: Ints
    sent_ns: Ints


@dataclass(frozen=True)
class Evidence:
    """All that ties the clocks of a run; clock 0 is the reference, which may be a missing rank's."""

    clocks: tuple[tuple[int, ...], ...]
    """The ranks of each."""
    ends: Ends
    arrivals: Arrivals
    pings: tuple[tuple[int, ClockOffset], ...]
    """A clock, and a measurement of it against the reference."""
    grain_ns: int = 1
    """How finely the times are written: what is cut off may be so much, on one clock and not on another."""

    def times(self) -> Iterable[tuple[int | Ints, Ints]]:
        """All times that anything is known of, each with its clock."""
        yield self.ends.clock, self.ends.end_ns
        yield self.arrivals.receiver, self.arrivals.end_ns
        for clock, one in self.pings:
            yield clock, np.array([one.unix_ns], dtype=np.int64)


def evidence_of(
    infos: Mapping[int, RankInfo], stated: Mapping[int, RankClock], meetings: Meetings, timed: NDArray[np.bool_]
) -> tuple[Evidence, list[str]]:
    """All that is known, from what the recording states of hosts and clocks and from the parts of operations that are `timed`; and what of the
    statements is wrong."""
    shared, caveats = _split_where_proven(_shared(infos), meetings, timed)
    reference = next((ranks for ranks in shared if stated[ranks[0]].offset_ns == 0 == stated[ranks[0]].bound_ns), ())
    clocks = (reference, *(ranks for ranks in shared if ranks != reference))
    clock_of = np.full(max(infos) + 1, -1, dtype=np.int64)
    for place, ranks in enumerate(clocks):
        clock_of[list(ranks)] = place
    pings = [
        (place, offset)
        for place, ranks in enumerate(clocks)
        for rank in ranks
        if place and (clock := infos[rank].clock) is not None
        for offset in clock.offsets
    ]
    ends, arrivals = _ends(meetings, timed, clock_of), _arrivals(meetings, clock_of)
    return Evidence(clocks, ends, arrivals, tuple(pings), _grain_ns(meetings)), caveats


def _grain_ns(meetings: Meetings) -> int:
    """What divides all times: 1000 in files that say whole us, no more."""
    known = np.flatnonzero((meetings.start_ns != UNKNOWN) & (meetings.dur_ns != UNKNOWN))
    whole = int(np.gcd.reduce(meetings.start_ns[known])), int(np.gcd.reduce(meetings.dur_ns[known]))
    return min(math.gcd(*whole) or 1, COARSEST_NS)


def _shared(infos: Mapping[int, RankInfo]) -> list[tuple[int, ...]]:
    hosts = {rank: info.host for rank, info in infos.items()}
    return shared_clocks(hosts, {rank: info.clock for rank, info in infos.items()})


def _split_where_proven(
    shared: Sequence[tuple[int, ...]], meetings: Meetings, timed: NDArray[np.bool_]
) -> tuple[list[tuple[int, ...]], list[str]]:
    """Ranks that leave collectives before others of their host have come, or receive before others send, do not share its clock: names of hosts may
    lie."""
    found: list[tuple[int, ...]] = []
    caveats = []
    transfers = _transfers(meetings)
    for ranks in shared:
        impossible, of_ranks = _impossible(ranks, meetings, timed, transfers)
        if (impossible < np.maximum(np.minimum(3, of_ranks / 2), TOO_MANY * of_ranks)).all():
            found.append(ranks)
            continue
        worst = int(np.argmax(impossible))
        found += [(rank,) for rank in ranks]
        caveats.append(
            f"ranks {ranks[0]} to {ranks[-1]} name one host, but in {impossible[worst]} of {of_ranks[worst]} operations of the same ranks one left "
            "before another had come: they are taken to have a clock each"
        )
    return found, caveats


def _impossible(
    ranks: Sequence[int], meetings: Meetings, timed: NDArray[np.bool_], transfers: tuple[Ints, Ints]
) -> tuple[Ints, Ints]:
    """By each set of ranks that met among these: in how many operations one left before another had come if they share a clock, and of how many."""
    nothing = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64)
    if len(ranks) < 2:
        return nothing
    here = np.sort(np.concatenate([meetings.of_rank.get(rank, meetings.first[:0]) for rank in ranks]))
    here = here[timed[here]]
    sender, receiver = transfers
    inside = np.isin(meetings.rank[sender], ranks) & np.isin(meetings.rank[receiver], ranks)
    sender, receiver = sender[inside], receiver[inside]
    begin = np.flatnonzero(np.diff(meetings.operation[here], prepend=-1))
    if not len(begin) + len(sender):
        return nothing

    def of_operations(which: np.ufunc, values: Ints) -> Ints:
        return which.reduceat(values[here], begin) if len(begin) else values[:0]

    left = np.append(of_operations(np.minimum, meetings.end_ns), meetings.end_ns[receiver])
    came = np.append(of_operations(np.maximum, meetings.start_ns), meetings.start_ns[sender])
    ends = np.stack((meetings.rank[sender], meetings.rank[receiver]))
    lowest = np.append(of_operations(np.minimum, meetings.rank), ends.min(axis=0))
    highest = np.append(of_operations(np.maximum, meetings.rank), ends.max(axis=0))
    count = np.append(np.diff(np.append(begin, len(here))), np.full(len(sender), 2))
    _, group = np.unique(np.stack((lowest, highest, count)), axis=1, return_inverse=True)
    group = group.ravel()
    return np.bincount(group, weights=left + CERTAIN_NS < came).astype(np.int64), np.bincount(group)


def _ends(meetings: Meetings, timed: NDArray[np.bool_], clock_of: Ints) -> Ends:
    """Only operations in which different clocks met."""
    rows = np.flatnonzero(timed)
    rows = rows[np.lexsort((meetings.end_ns[rows], clock_of[meetings.rank[rows]], meetings.operation[rows]))]
    operation, clock = meetings.operation[rows], clock_of[meetings.rank[rows]]
    first = np.flatnonzero((np.diff(operation, prepend=-1) != 0) | (np.diff(clock, prepend=-1) != 0))
    count = np.diff(np.append(first, len(rows)))
    end = meetings.end_ns[rows]
    middle = (end[first + (count - 1) // 2] + end[first + count // 2]) // 2 if len(rows) else end
    last_start = np.maximum.reduceat(meetings.start_ns[rows], first) if len(rows) else end
    clocks_in = np.bincount(operation[first], minlength=1)
    several = clocks_in[operation[first]] > 1
    return Ends(
        operation[first][several],
        clock[first][several],
        middle[several],
        end[first][several],
        last_start[several],
    )


def _transfers(meetings: Meetings) -> tuple[Ints, Ints]:
    """The parts of transfers whose times are known on both sides: of the sender, and of the receiver."""
    timed = meetings.of_all((meetings.start_ns != UNKNOWN) & (meetings.dur_ns != UNKNOWN))
    one = meetings.first[meetings.is_one_of(TRANSFERS) & (meetings.count == 2) & timed]
    is_sender = meetings.says("send")[one]
    return np.where(is_sender, one, one + 1), np.where(is_sender, one + 1, one)


def _arrivals(meetings: Meetings, clock_of: Ints) -> Arrivals:
    """Of transfers between clocks."""
    sender, receiver = _transfers(meetings)
    apart = clock_of[meetings.rank[sender]] != clock_of[meetings.rank[receiver]]
    sender, receiver = sender[apart], receiver[apart]
    return Arrivals(
        clock_of[meetings.rank[receiver]],
        clock_of[meetings.rank[sender]],
        meetings.end_ns[receiver],
        meetings.start_ns[sender],
        meetings.end_ns[sender],
    )
