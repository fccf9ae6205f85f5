"""Which operations of different ranks are one where nothing numbers them: by order and content, and by time where events were lost.

The operations of one step of one group are compared as sequences of (operation, type, size); events that were lost leave a shorter sequence, which is
laid into the whole one. Where it can be laid in two ways what differs between them is undecided. Operations that synchronise end on all ranks
nearly at once, so that clocks, once they are known, can decide.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN

ANY_SIZE = ("all_to_all", "scatter", "gather")
"""Operations whose ranks may send differently much: one has it all, or each its own share."""
Row = tuple[int, int]
"""A rank and a row of its table."""
Signature = tuple[str, str, int]
ONE_RANK = "they stand on one rank only"
_LOST = "events were lost, and which of several alike ones is not known"
FEWEST = 4
"""Sequences that say what is the rule."""
NO_CHANCE = 8
"""So many equal ones, short of what is usual, are no coincidence of losses."""
_DIFFERENT = "the ranks did different things, and nothing numbers them"


@dataclass(frozen=True)
class Said:
    """What a rank says of its operations, by row; as lists, for loops over operations."""

    signature: Sequence[Signature]
    """What an operation is."""
    step: Sequence[int]
    seq: Sequence[int]


def said_by(table: Table) -> Said:
    """What a rank's table of operations says."""
    ops, dtypes = list(map(str, table["op"])), list(map(str, table["dtype"]))
    sizes, step, seq = (np.asarray(table[name]).tolist() for name in ("bytes", "step", "seq"))
    sizes = [UNKNOWN if op in ANY_SIZE else size for op, size in zip(ops, sizes, strict=True)]
    return Said(list(zip(ops, dtypes, sizes, strict=True)), step, seq)


@dataclass(frozen=True)
class EndTimes:
    """When operations ended, on one clock."""

    of_rank: Mapping[int, Ints]
    """By row of the rank's table; UNKNOWN where that is not known, and for operations whose ends do not agree."""
    tolerance_ns: int
    """How far apart the ends of one operation may be."""


@dataclass
class Alike:
    """What was found in one group."""

    operations: list[list[Row]] = field(default_factory=list)
    """Rows that belong together; a single one stands alone."""
    left: Counter[str] = field(default_factory=Counter)
    """Rows that belong to nothing, by reason."""
    undecided: int = 0
    """How many of these clocks may decide."""


def by_content(rows: Mapping[int, list[int]], said: Mapping[int, Said], ends: EndTimes | None) -> Alike:
    """Compare the sequences of each step; what lies outside of all steps as one more."""
    by_step: dict[int, dict[int, list[int]]] = {}
    for rank, of_rank in rows.items():
        for row in of_rank:
            by_step.setdefault(said[rank].step[row], {}).setdefault(rank, []).append(row)
    sequences: dict[tuple[int, int], tuple[Signature, ...]] = {
        (step, rank): tuple(said[rank].signature[row] for row in of_rank)
        for step, of_ranks in by_step.items()
        for rank, of_rank in of_ranks.items()
    }
    usual = _usual(by_step, sequences)
    found = Alike()
    for step, of_ranks in sorted(by_step.items()):
        here = {rank: sequences[step, rank] for rank in of_ranks}
        if len(here) < 2:
            found.left[ONE_RANK] += sum(map(len, of_ranks.values()))
            continue
        laid = _laid(here, usual, in_step=step >= 0)
        places: dict[int, list[Row]] = {}
        undecided: list[Row] = []
        for rank, of_rank in of_ranks.items():
            for place, row in zip(laid[rank] if laid else [None] * len(of_rank), of_rank, strict=True):
                if place is None:
                    undecided.append((rank, row))
                else:
                    places.setdefault(place, []).append((rank, row))
        operations = [places[place] for place in sorted(places)]
        certain = sum(map(len, operations))
        decided = _by_time(operations, undecided, said, ends) if ends is not None else []
        found.operations += [*operations, *decided]
        left = len(undecided) + certain - sum(map(len, (*operations, *decided)))
        found.undecided += left
        found.left[_DIFFERENT if laid is None else _LOST] += left
    return found


def _by_time(
    operations: list[list[Row]], undecided: Sequence[Row], said: Mapping[int, Said], ends: EndTimes
) -> list[list[Row]]:
    """Put undecided rows that end with an operation's own into it, and return those that end together without one.

    Only where it is plain: alike, one row of each rank, and far from all others of the group.
    """
    rows = [(rank, row, place) for place, of_place in enumerate(operations) for rank, row in of_place]
    rows += [(rank, row, UNKNOWN) for rank, row in undecided]
    timed = sorted(
        (int(ends.of_rank[rank][row]), rank, row, place)
        for rank, row, place in rows
        if ends.of_rank[rank][row] != UNKNOWN
    )
    clusters: list[list[tuple[int, int, int, int]]] = []
    for one in timed:
        if clusters and one[0] - clusters[-1][0][0] <= ends.tolerance_ns:
            clusters[-1].append(one)
        else:
            clusters.append([one])
    alone = []
    for number, cluster in enumerate(clusters):
        before = cluster[0][0] - clusters[number - 1][-1][0] if number else None
        after = clusters[number + 1][0][0] - cluster[-1][0] if number + 1 < len(clusters) else None
        is_near = any(gap is not None and gap <= 2 * ends.tolerance_ns for gap in (before, after))
        ranks = [rank for _, rank, _, _ in cluster]
        several = len({said[rank].signature[row] for _, rank, row, _ in cluster}) > 1
        taken = {place for _, _, _, place in cluster if place != UNKNOWN}
        free = [(rank, row) for _, rank, row, place in cluster if place == UNKNOWN]
        if is_near or not free or len(set(ranks)) < len(ranks) or several or len(taken) > 1:
            continue
        if not taken and len(free) > 1:
            alone.append(free)
        elif taken and not {rank for rank, _ in operations[min(taken)]} & {rank for rank, _ in free}:
            operations[min(taken)] += free
    return alone


@dataclass(frozen=True)
class _Usual:
    """What a step of a group is if nothing is lost."""

    whole: tuple[Signature, ...]
    """The longest sequence that stands there more than once."""
    others: set[tuple[Signature, ...]]
    """What else it may be: where all ranks agree in every step nothing seems to be lost, and shorter steps that come again are of another sort."""
    is_certain: bool
    """Whether sequences without loss are the rule. Where most are damaged two of equal length may lack different events."""


def _usual(
    by_step: Mapping[int, Mapping[int, list[int]]], sequences: Mapping[tuple[int, int], tuple[Signature, ...]]
) -> _Usual:
    inside = {key: sequence for key, sequence in sequences.items() if key[0] >= 0}
    often = Counter(inside.values())
    whole = max((sequence for sequence, count in often.items() if count > 1), key=len, default=())
    of_step = [{inside[step, rank] for rank in ranks} for step, ranks in by_step.items() if step >= 0]
    agree = all(len(said) == 1 for said in of_step)
    again = Counter(sequence for said in of_step for sequence in said) if agree else Counter()
    others = {sequence for sequence, steps in again.items() if steps > 1 and often[sequence] >= NO_CHANCE}
    return _Usual(whole, others, agree or 2 * often[whole] >= len(inside) or len(inside) < FEWEST)


def _laid(
    here: Mapping[int, tuple[Signature, ...]], usual: _Usual, *, in_step: bool
) -> dict[int, list[int | None]] | None:
    """For each rank the places of its operations in the step, None for those that may have several; None altogether where the ranks did different
    things."""
    may_be_short = not in_step or set(here.values()) <= usual.others
    whole = _whole(list(here.values()), () if may_be_short else usual.whole)
    if whole is None:
        return None
    laid = {rank: _laid_into(sequence, whole) for rank, sequence in here.items()}
    if in_step and not usual.is_certain:
        several = {one for one, count in Counter(whole).items() if count > 1}
        laid = {
            rank: [None if one in several else place for one, place in zip(here[rank], places, strict=True)]
            for rank, places in laid.items()
        }
    return laid


def _whole(sequences: Sequence[tuple[Signature, ...]], usual: tuple[Signature, ...]) -> tuple[Signature, ...] | None:
    """The sequence that all of these are parts of: what they have in common with the usual step, else the longest; None for neither."""
    longest = max(sequences, key=len)
    for whole in (usual, longest) if len(usual) > len(longest) else (longest,):
        if all(_first_way(sequence, whole) is not None for sequence in sequences):
            return whole
    return None


def _first_way(part: Sequence[Signature], whole: Sequence[Signature]) -> list[int] | None:
    """The places in the whole that the part takes as early as possible; None where it is no part of it."""
    places, place = [], 0
    for signature in part:
        while place < len(whole) and whole[place] != signature:
            place += 1
        if place == len(whole):
            return None
        places.append(place)
        place += 1
    return places


def _laid_into(part: Sequence[Signature], whole: Sequence[Signature]) -> list[int | None]:
    """For each of the part its place in the whole, None where there is more than one way: as early and as late as possible differ."""
    early = _first_way(part, whole)
    late = _first_way(part[::-1], whole[::-1])
    assert early is not None and late is not None, "the whole was chosen to hold every part"
    turned = [len(whole) - 1 - place for place in late[::-1]]
    return [first if first == last else None for first, last in zip(early, turned, strict=True)]
