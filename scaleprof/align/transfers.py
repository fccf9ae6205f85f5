"""Which send belongs to which receive: by a number that both ends count alike, by their places in a step, else by complete counts of a step.

torch numbers transfers by process group on each rank alone, sends and receives to all peers in one count: such numbers say the same on no two ranks,
but they say which place in its rank's step a transfer has, also where others were lost. This project's recorder counts by pair and direction, alike
on both ends. Without any numbers the transfers of a step are paired in order, if there are as many on both ends as in other steps.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.results import Table

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
) -> Iterable[tuple[Transfer, list[tuple[Row, Row]], Counter[str]]]:
    """By direction: sends with their receives, and how many rows are left alone by reason."""
    sides: dict[Transfer, dict[str, list[Row]]] = {}
    places: dict[Row, Place] = {}
    for rank, table in tables.items():
        by_group: dict[str, list[int]] = defaultdict(list)
        for row, (op, group, peer) in enumerate(zip(table["op"], table["group"], table["peer"], strict=True)):
            if op in TRANSFERS:
                ends = (rank, int(peer)) if op == "send" else (int(peer), rank)
                sides.setdefault(Transfer(group, *ends), {}).setdefault(op, []).append((rank, row))
                by_group[group].append(row)
        for rows in by_group.values():
            places |= {(rank, row): place for row, place in _places(table, rows).items()}
    for transfer, both in sides.items():
        sent, received = both.get("send", []), both.get("recv", [])
        if not transfer.is_known or not sent or not received:
            reason = "their partners were not read" if transfer.is_known else "they do not say to whom"
            yield transfer, [], Counter({reason: len(sent) + len(received)})
            continue
        yield transfer, *_judged(_paired(sent, received, tables, places), len(sent) + len(received), tables)


def _paired(
    sent: Sequence[Row], received: Sequence[Row], tables: Mapping[int, Table], places: Mapping[Row, Place]
) -> list[tuple[Row, Row]]:
    numbers = [[int(tables[rank]["seq"][row]) for rank, row in side] for side in (sent, received)]
    if all(_counts_this_alone(side) for side in numbers):
        return _joined(dict(zip(numbers[0], sent, strict=True)), dict(zip(numbers[1], received, strict=True)))
    if all(row in places for row in (*sent, *received)):
        return _joined({places[row]: row for row in sent}, {places[row]: row for row in received})
    return _complete_steps(sent, received, tables)


def _joined(one: Mapping[Hashable, Row], other: Mapping[Hashable, Row]) -> list[tuple[Row, Row]]:
    return [(row, other[key]) for key, row in one.items() if key in other]


def _counts_this_alone(numbers: Sequence[int]) -> bool:
    low, high = min(numbers), max(numbers)
    return low >= 0 and len(set(numbers)) == len(numbers) and high - low + 1 <= _GAPS * len(numbers) + 2


def _places(table: Table, rows: Sequence[int]) -> dict[int, Place]:
    """For each transfer of a rank in a group its place among those to or from the same peer in its step, from numbers that count them all; empty
    where the steps are not alike, or where a place was lost in every step."""
    number, step = (np.asarray(table[name])[rows] for name in ("seq", "step"))
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
    if len(pattern) != max(pattern) + 1:
        return {}
    nth, seen = {}, Counter[tuple[str, int]]()
    for place in range(len(pattern)):
        nth[place] = seen[pattern[place]]
        seen[pattern[place]] += 1
    return {row: (int(at), nth[place]) for row, at, place in zip(rows, step.tolist(), position.tolist(), strict=True)}


def _complete_steps(sent: Sequence[Row], received: Sequence[Row], tables: Mapping[int, Table]) -> list[tuple[Row, Row]]:
    """Steps in which both ends have as many as there ever are, in order; others lost some, and nobody knows which. Where both ends agree in every
    step nothing is lost."""
    by_step: dict[int, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for side, rows in enumerate((sent, received)):
        for rank, row in rows:
            by_step[int(tables[rank]["step"][row])][side].append((rank, row))
    agree = all(len(one) == len(other) for one, other in by_step.values())
    usual = max(len(side) for both in by_step.values() for side in both)
    return [
        pair
        for step, (one, other) in sorted(by_step.items())
        if agree or len(one) == len(other) == usual
        for pair in zip(one, other, strict=True)
    ]


def _judged(
    pairs: Sequence[tuple[Row, Row]], rows: int, tables: Mapping[int, Table]
) -> tuple[list[tuple[Row, Row]], Counter[str]]:
    """Pairs of one size and type in one step, and the rest by reason."""
    good, left = [], Counter[str]()
    for pair in pairs:
        said = [(str(tables[rank]["dtype"][row]), int(tables[rank]["bytes"][row])) for rank, row in pair]
        steps = [step for rank, row in pair if (step := int(tables[rank]["step"][row])) >= 0]
        if len(set(said)) > 1:
            left["both sides of a transfer differ in type or size"] += 2
        elif len(steps) == 2 and abs(steps[0] - steps[1]) > 1:
            left["one number stands in different steps"] += 2
        else:
            good.append(pair)
    missing = rows - 2 * len(pairs)
    if missing:
        left["one side of a transfer is missing, or which of several alike ones it was"] += missing
    return good, left
