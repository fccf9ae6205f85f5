"""The clocks of a run, from all that is known of them: hosts, recorded ping-pongs, and the ends of matched operations.

Ranks of one host share a clock, unless their own collectives prove otherwise; an unknown host has its own. Clocks that never met, by a ping-pong or
by an operation, directly or through others, are not comparable, and nothing that needs them is told.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaleprof.align.content import EndTimes
from scaleprof.align.evidence import TOO_MANY, Arrivals, Ends, Evidence, evidence_of
from scaleprof.align.matching import SYNCHRONISING
from scaleprof.align.meetings import Meetings
from scaleprof.clock import ClockOffset, RankClock, clocks_of_hosts
from scaleprof.columns import is_one_of
from scaleprof.intervals import Ints
from scaleprof.models.clocks import Floats, Known, Limit, Met, clocks_known, contradictions
from scaleprof.results import Table
from scaleprof.run import RankInfo
from scaleprof.trace import UNKNOWN

LEAST_APART_NS = 10_000
"""Ends of one operation may be so far apart however well they agree otherwise."""
_FURTHEST_NS = 1 << 62
"""What clocks may be apart that 64 bits still hold the times of both."""
MOST_MEETINGS = 4_000
"""Of each set of clocks so many operations, evenly over time, say all there is to say."""


@dataclass(frozen=True)
class Clocks:
    """Every rank's clock against the run's, and how well they fit what was seen."""

    of_rank: Mapping[int, RankClock]
    residual_ns: float | None = None
    """Of the ends of synchronising operations on one clock: median distance from their operation's middle; None without such operations."""
    agree_ns: tuple[float, float] | None = None
    """First to last end of an operation on one clock: median and largest."""
    operations: int = 0
    """How many that is drawn from."""
    contradicted: bool = False
    """Whether no clocks explain the operations as they were matched."""
    caveats: tuple[str, ...] = ()

    def end_times(self, tables: Mapping[int, Table]) -> EndTimes:
        """When the synchronising operations of all ranks ended, on one clock; and how well that is known."""
        widths = [clock.error_ns or 0 for clock in self.of_rank.values()]
        usual = self.agree_ns[0] if self.agree_ns is not None else 0.0
        return EndTimes(_Ends(self.of_rank, tables), round(LEAST_APART_NS + 4 * usual) + 2 * max(widths, default=0))


class _Ends(Mapping[int, Ints]):
    """The ends of the synchronising operations of each rank on one clock, reckoned when they are asked for."""

    def __init__(self, clocks: Mapping[int, RankClock], tables: Mapping[int, Table]) -> None:
        self._clocks, self._tables = clocks, tables

    def __getitem__(self, rank: int) -> Ints:
        table, clock = self._tables[rank], self._clocks[rank]
        if clock.offset_ns is None:
            return np.full(len(table), UNKNOWN, dtype=np.int64)
        start, dur = np.asarray(table["start_ns"]), np.asarray(table["dur_ns"])
        known = (dur != UNKNOWN) & is_one_of(table, SYNCHRONISING)
        return np.where(known, start + dur - _ahead(clock, start + dur), UNKNOWN)

    def __iter__(self) -> Iterator[int]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


def clocks_of_run(infos: Mapping[int, RankInfo], meetings: Meetings) -> Clocks:
    """What the run's clocks are, as the ranks recorded it and as their operations tell."""
    hosts = {rank: info.host for rank, info in infos.items()}
    recorded = {rank: info.clock for rank, info in infos.items()}
    stated = clocks_of_hosts(hosts, recorded)
    if not stated:
        return Clocks({})
    some = len(meetings.operation) > 0
    timed = meetings.is_one_of(SYNCHRONISING)[meetings.operation] if some else np.zeros(0, dtype=np.bool_)
    timed &= meetings.dur_ns != UNKNOWN
    evidence, caveats = evidence_of(infos, stated, meetings, timed)
    known, contradicted = _known(evidence)
    refused = any(clock not in known for clock in set(evidence.ends.clock.tolist()) - {0})
    of_rank = {}
    every = {*evidence.ends.clock.tolist(), *evidence.arrivals.receiver.tolist()}
    pinged = {clock for clock, _ in evidence.pings}
    for place, ranks in enumerate(evidence.clocks):
        met = place in every
        for rank in ranks:
            unknown = replace(stated[rank], offset_ns=None, bound_ns=None, drift_ppm=None)
            if place == 0 or (not met and place in pinged):
                of_rank[rank] = stated[rank]
            else:
                of_rank[rank] = replace(known.get(place, unknown), host=stated[rank].host)
    fit = _fit(of_rank, meetings, timed)
    return replace(fit, contradicted=bool(contradicted) and refused, caveats=(*caveats, *contradicted))


def _known(evidence: Evidence) -> tuple[dict[int, RankClock], list[str]]:
    """Every clock but the reference's of which anything is known; and what contradicts it.

    In two rounds: a drift over a long time moves the time itself by which it is reckoned, so the second goes out from the first one's lines.
    """
    guess = _first_guess(evidence)
    caveats: list[str] = []
    for _ in range(2):
        every = np.concatenate([guess.true(clock, times) for clock, times in evidence.times()])
        if not len(every):
            return {}, []
        origin = int(every.min())
        span = np.array([0.0, max(float(every.max() - origin), 1.0)])
        known, caveats = _fitted(evidence, guess, origin, span)
        guess = guess.corrected(known, origin, span)
    lines = {clock: guess.line(clock, one, evidence.grain_ns) for clock, one in known.items() if clock}
    return lines, caveats


def _fitted(evidence: Evidence, guess: "_Guess", origin: int, span: Floats) -> tuple[dict[int, Known], list[str]]:
    """What is known beyond a guess, without operations that cannot be."""
    grain = evidence.grain_ns
    sets = _sets(evidence.ends, guess, origin, grain)
    limits = [*_limits_of_arrivals(evidence.arrivals, guess, origin, grain)]
    limits += _limits_of_pings(evidence.pings, guess, origin)
    count = len(evidence.clocks)
    pairs = _both_ways(evidence.arrivals, guess, origin)
    known, broken = clocks_known(sets, limits, count, span, pairs)
    if not broken:
        return dict(known), []
    kept, dropped = contradictions(sets, known, span)
    again, still = clocks_known(kept, limits, count, span, pairs)
    if still or dropped > TOO_MANY * (dropped + sum(len(met.time_ns) for met in kept)):
        named = ", ".join(f"rank {evidence.clocks[max(pair)][0]}" for pair in sorted(broken)[:3])
        caveat = f"the clock of {named} was set during the recording, or operations were matched wrongly: its times are not compared"
        return {clock: one for clock, one in known.items() if not any(clock == max(pair) for pair in broken)}, [caveat]
    return dict(again), [
        f"{dropped} operations contradict the clocks: they ended on one rank before they had begun on another"
    ]


@dataclass(frozen=True)
class _Guess:
    """A line for every clock, so near the truth that what is left can be reckoned in floats: what to subtract from its times."""

    offset_ns: Ints
    slope: Floats
    anchor_ns: Ints
    """The clock's own time at which `offset_ns` holds."""
    until_ns: Ints
    """The clock's own time of the last end that is known of."""

    def true(self, clock: int | Ints, times_ns: Ints) -> Ints:
        """Times of a clock, or of one clock each, on the reference's."""
        moved = np.rint((times_ns - self.anchor_ns[clock]) * self.slope[clock]).astype(np.int64)
        times: Ints = times_ns - self.offset_ns[clock] - moved
        return times

    def corrected(self, known: Mapping[int, Known], origin: int, span: Floats) -> "_Guess":
        """With what was found to be left."""
        offset, slope, anchor, until = (column.copy() for column in vars(self).values())
        for clock, one in known.items():
            # The clock's own times at both ends, to the ns: the time of the reference, and by how much the clock is ahead of it.
            ahead = [
                self._ahead(clock, origin + round(end)) + round(left)
                for end, left in zip(span, one.offset_ns, strict=True)
            ]
            begin, end = (origin + round(at) + by for at, by in zip(span, ahead, strict=True))
            offset[clock], anchor[clock], until[clock] = ahead[0], begin, end
            slope[clock] = (ahead[1] - ahead[0]) / (end - begin)
        return _Guess(offset, slope, anchor, until)

    def _ahead(self, clock: int, true_ns: int) -> int:
        """By how much the clock is ahead when the reference shows a time."""
        slope = float(self.slope[clock])
        since = true_ns + int(self.offset_ns[clock]) - int(self.anchor_ns[clock])
        return int(self.offset_ns[clock]) + round(since * slope / (1 - slope))

    def line(self, clock: int, known: Known, grain_ns: int) -> RankClock:
        """As a rank uses it, with its errors; what times that are written so coarsely hide may be the same in all of them."""
        bound = float(known.bound_ns.max())
        half = min(float(known.half_width_ns.max()) + grain_ns, bound)
        return RankClock(
            host="",
            offset_ns=int(self.offset_ns[clock]),
            bound_ns=round(bound) if np.isfinite(bound) else None,
            at_ns=int(self.anchor_ns[clock]),
            drift_ppm=float(self.slope[clock]) * 1e6,
            until_ns=int(self.until_ns[clock]),
            half_width_ns=round(half),
        )


def _first_guess(evidence: Evidence) -> _Guess:
    """Every clock's offset from the reference to a few ms, from one neighbour to the next."""
    rough = np.zeros(len(evidence.clocks), dtype=np.int64)
    apart: dict[tuple[int, int], int] = {}
    ends, arrivals = evidence.ends, evidence.arrivals
    for receiver, sender, end, _, sent in zip(*(column.tolist() for column in vars(arrivals).values()), strict=True):
        apart.setdefault((receiver, sender), end - sent)
    first = np.flatnonzero(np.diff(ends.operation, prepend=-1))
    of_first = np.repeat(first, np.diff(np.append(first, len(ends.operation))))
    pairs, places = np.unique(np.stack((ends.clock, ends.clock[of_first])), axis=1, return_index=True)
    differences = ends.end_ns[places] - ends.end_ns[of_first[places]]
    apart |= dict(zip(zip(*pairs.tolist(), strict=True), differences.tolist(), strict=True))
    for clock, one in evidence.pings:
        apart[clock, 0] = one.offset_ns
    neighbours: dict[int, list[tuple[int, int]]] = {}
    for (one_clock, other), difference in apart.items():
        neighbours.setdefault(other, []).append((one_clock, difference))
        neighbours.setdefault(one_clock, []).append((other, -difference))
    reached, seen = [0], {0}
    for clock in reached:
        for other, difference in neighbours.get(clock, ()):
            if other not in seen:
                rough[other] = max(-_FURTHEST_NS, min(_FURTHEST_NS, int(rough[clock]) + difference))
                seen.add(other)
                reached.append(other)
    nothing = np.zeros(len(rough), dtype=np.int64)
    return _Guess(rough, np.zeros(len(rough)), nothing, nothing)


def _sets(ends: Ends, guess: _Guess, origin: int, grain_ns: int) -> list[Met]:
    """Operations by the clocks that met in them; they ended less than a grain later than it is written."""
    first = np.flatnonzero(np.diff(ends.operation, prepend=-1))
    count = np.diff(np.append(first, len(ends.operation)))
    by_clocks: dict[tuple[int, ...], list[int]] = {}
    for begin, many in zip(first.tolist(), count.tolist(), strict=True):
        by_clocks.setdefault(tuple(ends.clock[begin : begin + many].tolist()), []).append(begin)
    sets = []
    for clocks, begins in by_clocks.items():
        chosen = np.array(begins)[:: -(-len(begins) // MOST_MEETINGS)]
        rows = chosen[:, None] + np.arange(len(clocks))[None, :]
        which = np.array(clocks)[None, :]
        columns = [
            (guess.true(which, column[rows]) - origin).astype(np.float64)
            for column in (ends.end_ns, ends.first_end_ns + grain_ns, ends.last_start_ns)
        ]
        sets.append(Met(clocks, np.median(columns[0], axis=1), *columns))
    return sets


def _both_ways(arrivals: Arrivals, guess: _Guess, origin: int) -> list[tuple[Met, Met]]:
    """Transfers between two clocks that send to one another, each direction by itself; the lower clock's ends first."""
    sent = (guess.true(arrivals.sender, arrivals.sent_ns) - origin).astype(np.float64)
    received = (guess.true(arrivals.receiver, arrivals.end_ns) - origin).astype(np.float64)
    directions: dict[tuple[int, int], Met] = {}
    for pair in set(zip(arrivals.sender.tolist(), arrivals.receiver.tolist(), strict=True)):
        here = np.flatnonzero((arrivals.sender == pair[0]) & (arrivals.receiver == pair[1]))
        here = here[:: -(-len(here) // MOST_MEETINGS)]
        columns = np.stack([sent[here], received[here]], axis=1)[:, :: 1 if pair[0] < pair[1] else -1]
        clocks = (min(pair), max(pair))
        directions[pair] = Met(clocks, columns.mean(axis=1), columns, columns, columns)
    return [
        (met, directions[pair[::-1]])
        for pair, met in directions.items()
        if pair[0] < pair[1] and pair[::-1] in directions
    ]


def _limits_of_arrivals(arrivals: Arrivals, guess: _Guess, origin: int, grain_ns: int) -> Iterable[Limit]:
    end = (guess.true(arrivals.receiver, arrivals.end_ns + grain_ns) - origin).astype(np.float64)
    start = (guess.true(arrivals.sender, arrivals.start_ns) - origin).astype(np.float64)
    for pair in set(zip(arrivals.receiver.tolist(), arrivals.sender.tolist(), strict=True)):
        here = (arrivals.receiver == pair[0]) & (arrivals.sender == pair[1])
        yield Limit(*pair, end[here], (end - start)[here])


def _limits_of_pings(pings: Sequence[tuple[int, ClockOffset]], guess: _Guess, origin: int) -> Iterable[Limit]:
    for clock, one in pings:
        true = guess.true(clock, np.array([one.unix_ns], dtype=np.int64))
        left = one.offset_ns - (one.unix_ns - true)
        time = (true - origin).astype(np.float64)
        yield Limit(clock, 0, time, (left + one.bound_ns).astype(np.float64))
        yield Limit(0, clock, time, (one.bound_ns - left).astype(np.float64))


def _ahead(clock: RankClock, times_ns: Ints) -> Ints:
    """By how much a clock is ahead when it shows these times; 0 where it is not known."""
    moved = (times_ns - clock.at_ns) * ((clock.drift_ppm or 0.0) / 1e6)
    ahead: Ints = (clock.offset_ns or 0) + np.rint(moved).astype(np.int64)
    return ahead


def _fit(of_rank: Mapping[int, RankClock], meetings: Meetings, timed: NDArray[np.bool_]) -> Clocks:
    """How well the ends of operations agree on these clocks."""
    ahead = np.zeros(len(timed), dtype=np.int64)
    usable = timed.copy()
    for rank, here in meetings.of_rank.items():
        clock = of_rank[rank]
        if clock.offset_ns is None:
            usable[here] = False
        ahead[here] = _ahead(clock, meetings.end_ns[here])
    rows = np.flatnonzero(usable)
    end = meetings.end_ns[rows] - ahead[rows]
    order = np.lexsort((end, meetings.operation[rows]))
    end, operation = end[order], meetings.operation[rows][order]
    first = np.flatnonzero(np.diff(operation, prepend=-1))
    count = np.diff(np.append(first, len(end)))
    first, count = first[count > 1], count[count > 1]
    if not len(first):
        return Clocks(of_rank)
    spread = end[first + count - 1] - end[first]
    middle = (end[first + (count - 1) // 2] + end[first + count // 2]) / 2
    inside = np.concatenate(
        [np.arange(begin, begin + many) for begin, many in zip(first.tolist(), count.tolist(), strict=True)]
    )
    distance = np.abs(end[inside] - np.repeat(middle, count))
    agree = (float(np.median(spread)), float(spread.max()))
    return Clocks(of_rank, float(np.median(distance)), agree, len(first))
