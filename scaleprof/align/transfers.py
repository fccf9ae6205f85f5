"""Which send belongs to which receive: by a number that both ends count alike, by their places in a step, else by complete counts of a step.

torch numbers transfers by process group on each rank alone, sends and receives to all peers in one count: such numbers say the same on no two ranks,
but they say which place in its rank's step a transfer has, also where others were lost. This project's recorder counts by pair and direction, alike
on both ends. Otherwise the transfers of a step are paired in order, if there are as many on both ends as in other steps, and no number is missing.
Outside of all steps only numbers can say that none was lost.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scaleprof.align.content import FEWEST, NO_CHANCE, Said
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN

TRANSFERS = ("send", "recv")
_GAPS = 1.25
"""Numbers that count one direction only are nearly without gaps, but for what was lost."""
Row = tuple[int, int]
"""A rank and a row of its table."""
Place = tuple[int, int]
"""A step, and the how many-th of its kind in it."""


@dataclass(frozen=True)
class Transfer:
    """One direction between two ranks of a group."""

    group: str
    source: int
    target: int

    @property
    def is_known(self) -> bool:
        """Whether both ends are."""
        return self.source >= 0 and self.target >= 0


def pairs_of(
    tables: Mapping[int, Table],
    said: Mapping[int, Said],
) -> Iterable[tuple[Transfer, list[tuple[Row, Row]], Counter[str]]]:
    """By direction: sends with their receives, and how many rows are left alone by reason."""
    sides: dict[Transfer, dict[str, list[Row]]] = {}
    counts = _Counts()
    for rank, table in tables.items():
        by_group: dict[str, list[int]] = defaultdict(list)
        for row, (op, group, peer) in enumerate(zip(table["op"], table["group"], table["peer"], strict=True)):
            if op in TRANSFERS:
                ends = (rank, int(peer)) if op == "send" else (int(peer), rank)
                sides.setdefault(Transfer(group, *ends), {}).setdefault(op, []).append((rank, row))
                by_group[group].append(row)
        for rows in by_group.values():
            counts.add(rank, table, rows)
    for transfer, both in sides.items():
        sent, received = both.get("send", []), both.get("recv", [])
        if not transfer.is_known or not sent or not received:
            reason = "their partners were not read" if transfer.is_known else "they do not say to whom"
            yield transfer, [], Counter({reason: len(sent) + len(received)})
            continue
        yield transfer, *_judged(_paired(sent, received, said, counts), len(sent) + len(received), said)


@dataclass(frozen=True)
class _Counts:
    """What the numbers of each rank's transfers in a group say beyond themselves."""

    places: dict[Row, Place] = field(default_factory=dict)
    of_all: set[Row] = field(default_factory=set)
    """Rows whose numbers count transfers of several kinds together: they say the same on no other rank."""
    has_gaps: set[Row] = field(default_factory=set)
    """Rows of steps in which a number is missing."""
    numbered: set[Row] = field(default_factory=set)

    def add(self, rank: int, table: Table, rows: Sequence[int]) -> None:
        """The transfers of a rank in one group."""
        numbers = [int(number) for number in np.asarray(table["seq"])[list(rows)]]
        if min(numbers) < 0:
            return
        self.numbered.update((rank, row) for row in rows)
        kinds = [(table["op"][row], int(table["peer"][row])) for row in rows]
        if len(set(numbers)) == len(numbers) and len(set(kinds)) > 1:
            self.of_all.update((rank, row) for row in rows)
            self.places.update({(rank, row): place for row, place in _places(table, rows).items()})
            kinds = [("any", UNKNOWN)] * len(rows)
        by_step: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
        for number, row, kind in zip(numbers, rows, kinds, strict=True):
            by_step[int(table["step"][row]), kind].append((number, row))
        for of_step in by_step.values():
            if max(of_step)[0] - min(of_step)[0] >= len(of_step):
                self.has_gaps.update((rank, row) for _, row in of_step)


def _paired(
    sent: Sequence[Row], received: Sequence[Row], said: Mapping[int, Said], counts: _Counts
) -> list[tuple[Row, Row]]:
    numbers = [[said[rank].seq[row] for rank, row in side] for side in (sent, received)]
    every = (*sent, *received)
    if counts.of_all.isdisjoint(every) and all(_counts_this_alone(side) for side in numbers):
        return _joined(dict(zip(numbers[0], sent, strict=True)), dict(zip(numbers[1], received, strict=True)))
    if counts.places.keys() >= set(every):
        return _joined({counts.places[row]: row for row in sent}, {counts.places[row]: row for row in received})
    return _complete_steps(sent, received, said, counts)


def _joined(one: Mapping[Hashable, Row], other: Mapping[Hashable, Row]) -> list[tuple[Row, Row]]:
    return [(row, other[key]) for key, row in one.items() if key in other]


def _counts_this_alone(numbers: Sequence[int]) -> bool:
    low, high = min(numbers), max(numbers)
    return low >= 0 and len(set(numbers)) == len(numbers) and high - low + 1 <= _GAPS * len(numbers) + 2


def _places(table: Table, rows: Sequence[int]) -> dict[int, Place]:
    """For each transfer of a rank in a group its place among those to or from the same peer in its step, from numbers that count them all; empty
    where the steps are not alike, or where a place was lost in every step."""
    number, step = (np.asarray(table[name])[list(rows)] for name in ("seq", "step"))
    if (number < 0).any() or (step < 0).any() or (np.diff(number) <= 0).any():
        return {}
    steps, first = np.unique(step, return_index=True)
    follow = np.diff(steps) == 1
    if not follow.any():
        return {}
    [(length, _)] = Counter(np.diff(number[first])[follow].tolist()).most_common(1)
    shifted = number - length * step
    position = shifted - shifted.min()
    if length <= 0 or (position >= length).any():
        return {}
    kinds = [(table["op"][row], int(table["peer"][row])) for row in rows]
    pattern: dict[int, tuple[str, int]] = {}
    for place, kind in zip(position.tolist(), kinds, strict=True):
        if pattern.setdefault(place, kind) != kind:
            return {}
    if len(pattern) != length:
        return {}
    nth, seen = {}, Counter[tuple[str, int]]()
    for place in range(len(pattern)):
        nth[place] = seen[pattern[place]]
        seen[pattern[place]] += 1
    return {row: (int(at), nth[place]) for row, at, place in zip(rows, step.tolist(), position.tolist(), strict=True)}


def _complete_steps(
    sent: Sequence[Row], received: Sequence[Row], said: Mapping[int, Said], counts: _Counts
) -> list[tuple[Row, Row]]:
    """Steps in which nothing seems to be lost, in order: both ends have as many as there ever are, if that is the rule; where both ends agree in
    every step, as many as several other steps have, too."""
    by_step: dict[int, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for side, rows in enumerate((sent, received)):
        for rank, row in rows:
            by_step[said[rank].step[row]][side].append((rank, row))
    agree = all(len(one) == len(other) for one, other in by_step.values())
    often = Counter(len(side) for both in by_step.values() for side in both)
    usual = max(often)
    whole = {count for count, sides in often.items() if agree and sides >= NO_CHANCE}
    if agree or 2 * often[usual] >= often.total() or often.total() < FEWEST:
        whole.add(usual)
    return [
        pair
        for step, (one, other) in sorted(by_step.items())
        if len(one) == len(other) and len(one) in whole and counts.has_gaps.isdisjoint((*one, *other))
        if step >= 0 or counts.numbered.issuperset((*one, *other))
        for pair in zip(one, other, strict=True)
    ]


def _judged(
    pairs: Sequence[tuple[Row, Row]], rows: int, said: Mapping[int, Said]
) -> tuple[list[tuple[Row, Row]], Counter[str]]:
    """Pairs of one size and type in one step, and the rest by reason."""
    good, left = [], Counter[str]()
    for pair in pairs:
        contents = {said[rank].signature[row][1:] for rank, row in pair}
        steps = [step for rank, row in pair if (step := said[rank].step[row]) >= 0]
        if len(contents) > 1:
            left["both sides of a transfer differ in type or size"] += 2
        elif len(steps) == 2 and abs(steps[0] - steps[1]) > 1:
            left["one number stands in different steps"] += 2
        else:
            good.append(pair)
    missing = rows - 2 * len(pairs)
    if missing:
        left["one side of a transfer is missing, or which of several alike ones it was"] += missing
    return good, left
