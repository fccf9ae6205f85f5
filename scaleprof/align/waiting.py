"""Waiting told from transfer: in collectives without any clock, in rooted ones and between two ranks by their clocks (`method` 2.4, 1.3).

A collective that synchronises cannot end on one rank before the last one has come, so the rank with the shortest duration came last and waited for
nobody: its duration is the transfer, what the others took longer is waiting. Where a rank was not read, the shortest duration may be none of the last
rank's; such operations are left out and counted. A send or a receive waits until the other side has come as well; who depends on a root waits for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.align.matching import SYNCHRONISING
from scaleprof.align.meetings import Book, Meetings
from scaleprof.align.scattered import PerRank
from scaleprof.align.transfers import TRANSFERS
from scaleprof.clock import RankClock
from scaleprof.columns import is_one_of
from scaleprof.intervals import Ints, Spans, covered, subtract, union
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN

FROM_ROOT, TO_ROOT = ("broadcast", "scatter"), ("reduce", "gather")
PARTS = ("exposed_transfer", "bubble", "exposed_wait", "exposed_untold")
"""What exposed communication consists of: data on the wire, waiting for a neighbour in a pipeline, for the last rank, and what cannot be told."""
DISAGREES_NS = 20_000
"""Two ways to tell waiting may differ by so much, and by what the clocks are uncertain by."""
MOST_SPREAD = 6
"""Times the median deviation of a rank's ends from the mean of all: three times that of two ranks from one another."""
TOO_MANY = 0.1
"""Of all operations, that cannot be if the clocks are right."""


@dataclass(frozen=True)
class Exchange:
    """The split of every operation, by rank for each row of its table of operations; UNKNOWN where there is none."""

    transfer_ns: Mapping[int, Ints]
    wait_ns: Mapping[int, Ints]
    ranks: Mapping[int, Ints]
    """How many ranks took part."""
    clock_ns: Mapping[int, Ints]
    """By how much the split may be wrong because clocks are (95 %); 0 where it needs no clock."""
    collectives: Table
    """One row for each collective that needed no clock, in order of time: step, last (the rank that came last; UNKNOWN where several did at once),
    start_ns, wait_ns and transfer_ns (sums over its ranks)."""
    incomplete: tuple[int, ...]
    """Steps of synchronising operations of which a rank was not read or not matched."""
    impossible: tuple[int, ...]
    """Steps of those that ended on one rank before they had begun on another, or were received before they were sent: they are not one operation, and
    are not split."""
    partner_ns: Mapping[int, Ints]
    """Of each matched send and receive, when the other side was issued, on this rank's clock; UNKNOWN where the clocks cannot be compared."""
    disagreeing: float | None = None
    """Share of the collectives in which waiting by the clocks differs from waiting by durations; None where no clocks say anything."""


@dataclass(frozen=True)
class _OnOneClock:
    """The parts of all operations with their times on the reference's clock."""

    meetings: Meetings
    ahead_ns: Ints
    """By how much the clock of each part's rank is ahead at its start."""
    known: NDArray[np.bool_]
    error_ns: Ints
    """Of what lies between this part's time and that of others of its operation, 95 %; 0 where they share a clock."""

    @property
    def start_ns(self) -> Ints:
        return self.meetings.start_ns - self.ahead_ns


def exchange_of(tables: Mapping[int, Table], book: Book, clocks: Mapping[int, RankClock]) -> Exchange:
    """Split every operation that all ranks of its group were seen to take part in; block by block, so that what is in memory at once is bounded.

    Whether both ways to tell waiting agree is asked of the operations by which clocks were judged.
    """
    found = {name: PerRank(tables) for name in ("transfer_ns", "wait_ns", "ranks", "clock_ns", "partner_ns")}
    impossible = _impossible(book, clocks)
    steps, incomplete, summed = [_NONE], [_NOBODY], []
    for first, meetings in book.blocks():
        aligned = aligned_on(meetings, clocks)
        split = _split(aligned, impossible[first : first + len(meetings.first)])
        for name, values in zip(found, (split.transfer, split.wait, split.ranks, split.clock, _partners(aligned)), strict=True):  # fmt: skip
            found[name].put(meetings, values)
        steps.append(np.maximum.reduceat(meetings.step, meetings.first))
        incomplete.append(split.incomplete)
        summed.append(_summed(aligned, split, steps[-1]))
    aligned = aligned_on(book.sample, clocks)
    of_step = np.concatenate(steps)
    return Exchange(
        **found,
        collectives=_in_order(summed),
        incomplete=tuple(of_step[np.concatenate(incomplete)].tolist()),
        impossible=tuple(of_step[impossible].tolist()),
        disagreeing=_disagreeing(aligned, _split(aligned, _is_impossible_at_all(aligned))),
    )


_NONE, _NOBODY = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)


@dataclass(frozen=True)
class _Split:
    """What of each part was waiting and what transfer, as `Exchange` has it; and which operations were split, or lack a rank."""

    transfer: Ints
    wait: Ints
    ranks: Ints
    clock: Ints
    splits: NDArray[np.bool_]
    """By operation, likewise the next."""
    incomplete: NDArray[np.bool_]


def _split(aligned: _OnOneClock, impossible: NDArray[np.bool_]) -> _Split:
    meetings = aligned.meetings
    count = len(meetings.operation)
    transfer, wait, ranks = (np.full(count, UNKNOWN, dtype=np.int64) for _ in range(3))
    clock = np.zeros(count, dtype=np.int64)
    timed, any_time = meetings.dur_ns != UNKNOWN, meetings.dur_ns == UNKNOWN
    whole = meetings.of_all(timed) & (meetings.count == meetings.size)
    synchronises = meetings.is_one_of(SYNCHRONISING)
    incomplete = (
        synchronises & ~whole & ~meetings.of_all(any_time)
    )  # those without any time lie outside of every profiler's window
    splits = synchronises & whole & ~impossible
    split = splits[meetings.operation]
    shortest = _least(meetings, meetings.dur_ns)
    transfer[split] = shortest[meetings.operation][split]
    wait[split] = meetings.dur_ns[split] - transfer[split]
    ranks[split] = meetings.size[meetings.operation][split]
    waited = _waited_by_clocks(aligned)
    by_clocks = (waited != UNKNOWN) & ~split & (whole & ~impossible)[meetings.operation]
    transfer[by_clocks], wait[by_clocks] = meetings.dur_ns[by_clocks] - waited[by_clocks], waited[by_clocks]
    ranks[by_clocks] = meetings.size[meetings.operation][by_clocks]
    clock[~split] = aligned.error_ns[~split]
    return _Split(transfer, wait, ranks, clock, splits, incomplete)


def _impossible(book: Book, clocks: Mapping[int, RankClock]) -> NDArray[np.bool_]:
    """By operation of the run: `_is_impossible`, but for collectives that numbers made one where the clocks are what is wrong."""
    parts = [_is_impossible(aligned_on(meetings, clocks)) for _, meetings in book.blocks()]
    found, counted = (
        (np.concatenate([_NOBODY, *side]) for side in zip(*parts, strict=True)) if parts else (_NOBODY,) * 2
    )
    return _unless_many(found, counted)


def _is_impossible_at_all(aligned: _OnOneClock) -> NDArray[np.bool_]:
    return _unless_many(*_is_impossible(aligned))


def _unless_many(found: NDArray[np.bool_], counted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    few = bool((found & counted).sum() <= TOO_MANY * counted.sum())
    return found if few else found & ~counted


def aligned_on(meetings: Meetings, clocks: Mapping[int, RankClock]) -> _OnOneClock:
    """The parts with their times on the reference's clock."""
    count = len(meetings.operation)
    ahead, error = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    known, which = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.int64)
    numbers = {clock: number for number, clock in enumerate(dict.fromkeys(clocks.values()))}
    for rank, here in meetings.of_rank.items():
        clock = clocks[rank]
        when = np.where(meetings.start_ns[here] != UNKNOWN, meetings.start_ns[here], meetings.issued_ns[here])
        if clock.offset_ns is not None:
            known[here] = when != UNKNOWN
            ahead[here] = clock.offset_ns + np.rint((when - clock.at_ns) * ((clock.drift_ppm or 0.0) / 1e6))
            error[here] = clock.error_ns or 0
            which[here] = numbers[clock]
    apart = _least(meetings, which) != _most(meetings, which)
    error = (
        np.where(apart[meetings.operation], error + _most(meetings, error)[meetings.operation], 0) if count else error
    )
    return _OnOneClock(meetings, ahead, known, error)


def _least(meetings: Meetings, values: Ints) -> Ints:
    return np.minimum.reduceat(values, meetings.first) if len(meetings.first) else values[:0]


def _most(meetings: Meetings, values: Ints) -> Ints:
    return np.maximum.reduceat(values, meetings.first) if len(meetings.first) else values[:0]


_SUMMED = ("step", "last", "start_ns", "wait_ns", "transfer_ns")


def _summed(aligned: _OnOneClock, split: _Split, steps: Ints) -> Sequence[Ints]:
    """What `Exchange.collectives` holds of some operations, column by column, in their order."""
    meetings, which = aligned.meetings, split.splits
    first = meetings.first
    if not which.any():
        return [_NONE] * len(_SUMMED)
    order = np.lexsort((meetings.dur_ns, meetings.operation))
    dur, rank = meetings.dur_ns[order], meetings.rank[order]
    second = dur[np.minimum(first + 1, len(dur) - 1)]
    last = np.where(second > dur[first], rank[first], UNKNOWN)
    sums = (np.add.reduceat(split.wait, first), np.add.reduceat(split.transfer, first))
    return [column[which] for column in (steps, last, aligned.start_ns[first], *sums)]


def _in_order(parts: Sequence[Sequence[Ints]]) -> Table:
    """The same of all operations, in order of time."""
    columns = [np.concatenate([_NONE, *column]) for column in zip(*parts, strict=True)] or [_NONE] * len(_SUMMED)
    by_time = np.argsort(columns[_SUMMED.index("start_ns")], kind="stable")
    return Table({name: column[by_time] for name, column in zip(_SUMMED, columns, strict=True)})


def _is_impossible(aligned: _OnOneClock) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """By operation: whether it was over on one rank before another had come, or received before it was sent, beyond what the clocks leave open; and
    whether that of many would speak against the clocks.

    Where that is so of many collectives that numbers made one, it is the clocks that are wrong, and the split of those needs none.
    """
    meetings = aligned.meetings
    known = meetings.of_all(aligned.known & (meetings.start_ns != UNKNOWN) & (meetings.dur_ns != UNKNOWN))
    never, is_send = np.iinfo(np.int64).min, meetings.says("send")
    end = aligned.start_ns + meetings.dur_ns
    pair, synchronises = meetings.is_one_of(TRANSFERS), meetings.is_one_of(SYNCHRONISING)
    came = _most(meetings, np.where(is_send | ~pair[meetings.operation], aligned.start_ns, never))
    left = np.where(pair, _most(meetings, np.where(is_send, never, end)), _least(meetings, end))
    found: NDArray[np.bool_] = known & (pair | synchronises)
    found &= came > left + _most(meetings, aligned.error_ns) + DISAGREES_NS
    return found, known & synchronises & meetings.numbered


def _waited_by_clocks(aligned: _OnOneClock) -> Ints:
    """How long each part waited for those that it depends on, by the clocks; UNKNOWN where they or who depends on whom are not known.

    A sender whose data were taken into a buffer leaves before the receiver comes: it waited for nobody.
    """
    meetings = aligned.meetings
    operation, dur = meetings.operation, meetings.dur_ns
    usable = meetings.of_all(aligned.known & (dur != UNKNOWN))
    start = aligned.start_ns
    latest = _most(meetings, start)[operation] if len(operation) else start
    waited = np.full(len(operation), UNKNOWN, dtype=np.int64)
    between = np.clip(latest - start, 0, np.maximum(dur, 0))
    pair = (usable & meetings.is_one_of(TRANSFERS))[operation]
    left_early = meetings.says("send") & (start + dur <= latest) & (start < latest)
    waited[pair] = np.where(left_early, 0, between)[pair]
    is_root = meetings.rank == meetings.peer
    rooted = usable & (np.add.reduceat(is_root, meetings.first) == 1) if len(meetings.first) else usable
    root_start = np.full(len(meetings.first), UNKNOWN, dtype=np.int64)
    root_start[operation[is_root]] = start[is_root]
    to_leaves = (rooted & meetings.is_one_of(FROM_ROOT))[operation]
    for_root = np.clip(root_start[operation] - start, 0, np.maximum(dur, 0)) if len(operation) else waited
    waited[to_leaves] = np.where(is_root, 0, for_root)[to_leaves]
    to_root = (rooted & meetings.is_one_of(TO_ROOT))[operation]
    waited[to_root] = np.where(is_root, between, 0)[to_root]
    return waited


def _partners(aligned: _OnOneClock) -> Ints:
    """When the other side of each transfer was issued, on this side's clock; UNKNOWN where that is not known."""
    meetings = aligned.meetings
    pairs = meetings.is_one_of(TRANSFERS) & (meetings.count == 2) & meetings.of_all(aligned.known)
    pairs &= meetings.of_all(meetings.issued_ns != UNKNOWN)
    partner = np.full(len(meetings.operation), UNKNOWN, dtype=np.int64)
    one = meetings.first[pairs]
    issued = meetings.issued_ns - aligned.ahead_ns
    partner[one] = issued[one + 1] + aligned.ahead_ns[one]
    partner[one + 1] = issued[one] + aligned.ahead_ns[one + 1]
    return partner


def _disagreeing(aligned: _OnOneClock, split: _Split) -> float | None:
    """The cross-check of `method` 2.4: the same waiting from the starts on one clock."""
    meetings, wait = aligned.meetings, split.wait
    of_operation = split.splits & meetings.of_all(aligned.known)
    judged = of_operation[meetings.operation]
    if not judged.any():
        return None
    latest = _most(meetings, aligned.start_ns)[meetings.operation]
    by_clocks = np.clip(latest - aligned.start_ns, 0, np.maximum(meetings.dur_ns, 0))
    uncertain = aligned.error_ns + DISAGREES_NS + meetings.dur_ns // 50 + _exit_spread(aligned, judged)
    differs = np.abs(by_clocks - wait) > uncertain
    wrong = ~meetings.of_all(~differs)[of_operation]
    return float(wrong.mean()) if wrong.sum() > 1 else 0.0  # a single one is an accident


def _exit_spread(aligned: _OnOneClock, judged: NDArray[np.bool_]) -> Ints:
    """By part how far the end of its rank scatters about those of the others (`method` 2.4): on threads of a busy host a ring ends now here, now
    there, and so much may both ways of telling waiting differ. A clock that is wrong shifts the ends; it does not scatter them."""
    meetings = aligned.meetings
    end = aligned.start_ns + meetings.dur_ns
    size = np.maximum(meetings.count, 1)
    # The sum of unix times of many ranks would not fit: they are taken from the first end.
    late = end - end[meetings.first][meetings.operation]
    apart = late - (np.add.reduceat(late, meetings.first) // size)[meetings.operation]
    spread = np.zeros(len(end), dtype=np.int64)
    for here in meetings.of_rank.values():
        mine = here[judged[here]]
        if len(mine):
            about = np.abs(apart[mine] - np.median(apart[mine]))
            spread[here] = int(MOST_SPREAD * np.median(about))
    return spread


def exposed_parts(
    rank: int, account: Table, segments: Table | None, waits: Table | None, collectives: Table, exchange: Exchange
) -> dict[str, Ints]:
    """For each accounted step of a rank the parts of its exposed communication, in ns, which sum to it exactly; and how far off the clocks may have
    set the bubble (`bubble_error`)."""
    total = np.asarray(account["exposed_comm_ns"])
    told = {part: np.zeros(len(total), dtype=np.int64) for part in (*PARTS, "bubble_error")}
    if segments is not None and len(segments):
        _, first = np.unique(np.asarray(segments["segment"]), return_index=True)
        steps = np.asarray(segments["step"])[first]
        stretches = Spans(np.asarray(segments["start_ns"])[first], np.asarray(segments["end_ns"])[first])
        transfer, bubble, waiting = _sets(rank, waits, collectives, exchange)
        bubble, waiting = subtract(bubble, transfer), subtract(waiting, union(transfer, bubble))
        place = np.searchsorted(np.asarray(account["step"]), steps)
        inside = (place < len(total)) & (
            np.asarray(account["step"])[np.minimum(place, max(len(total) - 1, 0))] == steps
        )
        lengths = np.zeros(len(total), dtype=np.int64)
        np.add.at(lengths, place[inside], (stretches.end - stretches.start)[inside])
        for part, of in zip(PARTS, (transfer, bubble, waiting), strict=False):
            np.add.at(told[part], place[inside], covered(of, stretches)[inside])
            # The account is the mean over the devices of a process, the stretches are of all of them.
            told[part] = np.where(
                lengths > total, (told[part] * (total / np.maximum(lengths, 1))).astype(np.int64), told[part]
            )
    told["exposed_untold"] = total - told["exposed_transfer"] - told["bubble"] - told["exposed_wait"]
    told["bubble_error"] = _bubble_error(rank, np.asarray(account["step"]), collectives, exchange)
    return told


def _bubble_error(rank: int, steps: Ints, collectives: Table, exchange: Exchange) -> Ints:
    """The errors of the clocks are the same in every transfer, so those of a step's waits for a neighbour add up."""
    between_two = is_one_of(collectives, TRANSFERS)
    waited = between_two & ((exchange.wait_ns[rank] > 0) | (exchange.partner_ns[rank] != UNKNOWN))
    error = np.zeros(len(steps), dtype=np.int64)
    place = np.searchsorted(steps, np.asarray(collectives["step"])[waited])
    inside = place < len(steps)
    inside[inside] = steps[place[inside]] == np.asarray(collectives["step"])[waited][inside]
    np.add.at(error, place[inside], exchange.clock_ns[rank][waited][inside])
    return error


def _sets(rank: int, waits: Table | None, collectives: Table, exchange: Exchange) -> tuple[Spans, Spans, Spans]:
    """When data were on the wire, when the rank waited for a neighbour, and when for the last rank of a collective."""
    start, dur = np.asarray(collectives["start_ns"]), np.asarray(collectives["dur_ns"])
    split = np.flatnonzero(exchange.transfer_ns[rank] != UNKNOWN)
    end, sent = start[split] + dur[split], exchange.transfer_ns[rank][split]
    between_two = is_one_of(collectives, TRANSFERS)[split]
    before = Spans(start[split], end - sent)
    transfer, bubble = union(Spans(end - sent, end)), union(Spans(*(edge[between_two] for edge in before)))
    waiting = union(Spans(*(edge[~between_two] for edge in before)))
    if waits is None or not len(waits):
        return transfer, bubble, waiting
    row = np.asarray(waits["collective"])
    partner = np.where(
        row >= 0, exchange.partner_ns[rank][np.maximum(row, 0)] if len(exchange.partner_ns[rank]) else UNKNOWN, UNKNOWN
    )
    pairs = np.flatnonzero(partner != UNKNOWN)
    begun = np.asarray(waits["start_ns"])[pairs]
    over = begun + np.asarray(waits["dur_ns"])[pairs]
    met = np.clip(partner[pairs], begun, over)
    return union(transfer, Spans(met, over)), union(bubble, Spans(begun, met)), waiting
