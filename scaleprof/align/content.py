"""Which operations of different ranks are one where nothing numbers them: by order and content, and by time where events were lost.

The operations of one step of one group are compared as sequences of (operation, type, size); events that were lost leave a shorter sequence, which is
laid into the whole one. Where it can be laid in two ways what differs between them is undecided. Operations that synchronise end on all ranks
nearly at once, so that clocks, once they are known, can decide.

Ranks of one job do the same: there are many sequences and few different ones. So the different ones are looked at, which costs the more the more was
lost, and the ranks only have numbers assigned.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaleprof.align.said import Numbers, Said
from scaleprof.intervals import Ints
from scaleprof.trace import UNKNOWN

Row = tuple[int, int]
"""A rank and a row of its table."""
Sequenced = tuple[int, ...]
"""What a rank did in a step, as numbers of signatures."""
Places = tuple[int | None, ...]
"""By operation of such a sequence its place in the step, None where it may have several."""
ONE_RANK = "they stand on one rank only"
_LOST = "events were lost, and which of several alike ones is not known"
FEWEST = 4
"""Sequences that say what is the rule."""
NO_CHANCE = 8
"""So many equal ones, short of what is usual, are no coincidence of losses."""
_DIFFERENT = "the ranks did different things, and nothing numbers them"


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

    number: dict[int, Numbers]
    """By rank, for each of the rows that were asked about: the number of its operation, UNKNOWN for those that belong to nothing."""
    operations: int = 0
    """So many numbers there are; some may stand nowhere."""
    left: Counter[str] = field(default_factory=Counter)
    """Rows that belong to nothing, by reason."""
    undecided: int = 0
    """How many of these clocks may decide."""


def by_content(rows: Mapping[int, Numbers], said: Said, ends: EndTimes | None) -> Alike:
    """Compare the sequences of each step; what lies outside of all steps as one more."""
    found = Alike({})
    names, steps = _Sequences(), dict[int, dict[int, int]]()
    for rank, own in rows.items():
        signatures = said.signatures(rank)
        for step, here in _by_step(own, said.of(rank).step):
            steps.setdefault(step, {})[rank] = names.number(signatures[here])
    usual = _usual(steps, names)
    laid = {step: _laid_step(step, of_ranks, usual, names) for step, of_ranks in sorted(steps.items())}
    decided = _decided(rows, said, steps, laid, ends) if ends is not None else {}
    base: dict[int, int] = {}
    for step, one in laid.items():
        base[step] = found.operations
        found.operations += one.length + len(decided.get(step, _NONE).alone)
        if one.alone:
            found.left[ONE_RANK] += sum(len(names.sequences[number]) for number in steps[step].values())
    for rank, own in rows.items():
        number = np.full(len(own), UNKNOWN, dtype=np.int32)
        for step, here in _by_step(np.arange(len(own)), said.of(rank).step[own]):
            one = laid[step]
            if one.alone:
                continue
            places = one.places[steps[step][rank]]
            number[here] = np.where(places >= 0, places + base[step], UNKNOWN)
            if step in decided:
                decided[step].apply(rank, own[here], here, number, base[step], one.length)
            left = int((number[here] == UNKNOWN).sum())
            found.undecided += left
            if left:
                found.left[_LOST if one.is_laid else _DIFFERENT] += left
        found.number[rank] = number
    return found


def _by_step(rows: Numbers | Ints, steps: Ints) -> Iterator[tuple[int, Numbers | Ints]]:
    """The rows of each step of a rank, in their order; `steps` by row of the table, or by place where `rows` counts places."""
    mine = steps[rows]
    order = np.argsort(mine, kind="stable")
    distinct, first = np.unique(mine[order], return_index=True)
    yield from zip(distinct.tolist(), np.split(rows[order], first[1:]), strict=True) if len(rows) else ()


class _Sequences:
    """The different sequences, by number."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.sequences: list[Sequenced] = []

    def number(self, signatures: Numbers) -> int:
        key = signatures.tobytes()
        if key not in self._numbers:
            self._numbers[key] = len(self.sequences)
            self.sequences.append(tuple(signatures.tolist()))
        return self._numbers[key]


@dataclass(frozen=True)
class _LaidStep:
    """Where the operations of a step stand."""

    places: Mapping[int, NDArray[np.int64]]
    """By number of a sequence the place of each of its operations; UNKNOWN where it may have several."""
    length: int
    """Of the whole step."""
    alone: bool
    """Whether only one rank has anything in it."""
    is_laid: bool
    """Whether the ranks did the same, but for what was lost."""

    @property
    def is_open(self) -> bool:
        """Whether anything is left to decide."""
        return not self.alone and any((places < 0).any() for places in self.places.values())


def _laid_step(step: int, of_ranks: Mapping[int, int], usual: "_Usual", names: _Sequences) -> _LaidStep:
    if len(of_ranks) < 2:
        return _LaidStep({}, 0, True, True)
    here = {number: names.sequences[number] for number in dict.fromkeys(of_ranks.values())}
    laid = _laid(here, usual, in_step=step >= 0)
    if laid is None:
        return _LaidStep({number: np.full(len(one), UNKNOWN) for number, one in here.items()}, 0, False, False)
    places = {number: np.array([UNKNOWN if place is None else place for place in of], dtype=np.int64) for number, of in laid.items()}  # fmt: skip
    return _LaidStep(places, 1 + max((int(of.max(initial=-1)) for of in places.values()), default=-1), False, True)


# ---- by time


@dataclass(frozen=True)
class _Decided:
    """What the ends of operations say of the undecided rows of one step."""

    joined: Mapping[Row, int]
    """The place of the operation that a row belongs to."""
    alone: Sequence[Sequence[Row]]
    """Rows that belong together and to no other."""

    def apply(self, rank: int, own: Numbers, here: Numbers | Ints, number: Numbers, base: int, length: int) -> None:
        """Give numbers to what was decided of a rank: `own` are its rows in the step, `here` their places in `number`."""
        if not self.joined and not self.alone:
            return
        for place, row in zip(here.tolist(), own.tolist(), strict=True):
            if (rank, row) in self.joined:
                number[place] = base + self.joined[rank, row]
        for nth, rows in enumerate(self.alone):
            for other, row in rows:
                if other == rank:
                    number[here[np.searchsorted(own, row)]] = base + length + nth


_NONE = _Decided({}, ())


def _decided(
    rows: Mapping[int, Numbers],
    said: Said,
    steps: Mapping[int, Mapping[int, int]],
    laid: Mapping[int, "_LaidStep"],
    ends: EndTimes,
) -> dict[int, _Decided]:
    """Of each step in which anything is left to decide: what lies where and ended when, rank by rank, and what follows."""
    seen: dict[int, list[list[tuple[int, int, int, int, int]]]] = {
        step: [] for step, one in laid.items() if one.is_open
    }
    for rank, own in rows.items() if seen else ():
        signatures, end = said.signatures(rank), ends.of_rank[rank]
        for step, here in _by_step(own, said.of(rank).step):
            if step in seen:
                places = laid[step].places[steps[step][rank]]
                timed = end[here] != UNKNOWN
                columns = (end[here], here, places, signatures[here])
                told = zip(*(column[timed].tolist() for column in columns), strict=True)
                seen[step].append([(at, rank, row, place, what) for at, row, place, what in told])
    return {
        step: _by_time(sorted(one for part in parts for one in part), ends.tolerance_ns) for step, parts in seen.items()
    }


def _by_time(timed: Sequence[tuple[int, int, int, int, int]], tolerance_ns: int) -> _Decided:
    """Put undecided rows that end with an operation's own into it, and let those that end together without one be one.

    Only where it is plain: alike, one row of each rank, and far from all others of the group. Rows are (end, rank, row, place, signature).
    """
    clusters: list[list[tuple[int, int, int, int, int]]] = []
    for one in timed:
        if clusters and one[0] - clusters[-1][0][0] <= tolerance_ns:
            clusters[-1].append(one)
        else:
            clusters.append([one])
    members: dict[int, set[int]] = {}
    for _, rank, _, place, _ in timed:
        members.setdefault(place, set()).add(rank)
    joined: dict[Row, int] = {}
    alone = []
    for number, cluster in enumerate(clusters):
        before = cluster[0][0] - clusters[number - 1][-1][0] if number else None
        after = clusters[number + 1][0][0] - cluster[-1][0] if number + 1 < len(clusters) else None
        is_near = any(gap is not None and gap <= 2 * tolerance_ns for gap in (before, after))
        ranks = [rank for _, rank, _, _, _ in cluster]
        several = len({what for _, _, _, _, what in cluster}) > 1
        taken = {place for _, _, _, place, _ in cluster if place != UNKNOWN}
        free = [(rank, row) for _, rank, row, place, _ in cluster if place == UNKNOWN]
        if is_near or not free or len(set(ranks)) < len(ranks) or several or len(taken) > 1:
            continue
        if not taken and len(free) > 1:
            alone.append(free)
        elif taken and not members[min(taken)] & {rank for rank, _ in free}:
            joined |= dict.fromkeys(free, min(taken))
            members[min(taken)] |= {rank for rank, _ in free}
    return _Decided(joined, alone)


# ---- what is usual


@dataclass(frozen=True)
class _Usual:
    """What a step of a group is if nothing is lost."""

    whole: Sequenced
    """The longest sequence that stands there more than once."""
    others: set[Sequenced]
    """What else it may be: where all ranks agree in every step nothing seems to be lost, and shorter steps that come again are of another sort."""
    is_certain: bool
    """Whether sequences without loss are the rule. Where most are damaged two of equal length may lack different events."""


def _usual(steps: Mapping[int, Mapping[int, int]], names: _Sequences) -> _Usual:
    often = Counter(number for step, of_ranks in steps.items() if step >= 0 for number in of_ranks.values())
    lengths = [len(one) for one in names.sequences]
    whole = max(
        (number for number, count in often.items() if count > 1), key=lambda number: lengths[number], default=-1
    )
    of_step = [set(of_ranks.values()) for step, of_ranks in steps.items() if step >= 0]
    agree = all(len(said) == 1 for said in of_step)
    again = Counter(number for said in of_step for number in said) if agree else Counter[int]()
    others = {names.sequences[one] for one, times in again.items() if times > 1 and often[one] >= NO_CHANCE}
    inside = often.total()
    is_certain = agree or 2 * often[whole] >= inside or inside < FEWEST
    return _Usual(names.sequences[whole] if whole >= 0 else (), others, is_certain)


def _laid(here: Mapping[int, Sequenced], usual: _Usual, *, in_step: bool) -> dict[int, Places] | None:
    """For each different sequence of a step the places of its operations, None for those that may have several; None altogether where the ranks did
    different things."""
    may_be_short = not in_step or set(here.values()) <= usual.others
    whole = _whole(list(here.values()), () if may_be_short else usual.whole)
    if whole is None:
        return None
    laid = {number: _laid_into(sequence, whole) for number, sequence in here.items()}
    if in_step and not usual.is_certain:
        several = {one for one, count in Counter(whole).items() if count > 1}
        laid = {
            number: tuple(None if one in several else place for one, place in zip(here[number], places, strict=True))
            for number, places in laid.items()
        }
    return laid


def _whole(sequences: Sequence[Sequenced], usual: Sequenced) -> Sequenced | None:
    """The sequence that all of these are parts of: what they have in common with the usual step, else the longest; None for neither."""
    longest = max(sequences, key=len)
    for whole in (usual, longest) if len(usual) > len(longest) else (longest,):
        if all(_first_way(sequence, whole) is not None for sequence in sequences):
            return whole
    return None


def _first_way(part: Sequence[int], whole: Sequence[int]) -> list[int] | None:
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


def _laid_into(part: Sequence[int], whole: Sequence[int]) -> Places:
    """For each of the part its place in the whole, None where there is more than one way: as early and as late as possible differ."""
    early = _first_way(part, whole)
    late = _first_way(part[::-1], whole[::-1])
    assert early is not None and late is not None, "the whole was chosen to hold every part"
    turned = [len(whole) - 1 - place for place in late[::-1]]
    return tuple(first if first == last else None for first, last in zip(early, turned, strict=True))
