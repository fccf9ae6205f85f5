"""The operations of a group by the number that each of its ranks says.

Where a group was made anew under its old name numbers begin again on all ranks; several operations of one number (torch counts coalesced ones once)
are told apart by their order, if none of them was lost.
"""

from collections.abc import Mapping

import numpy as np

from scaleprof.align.said import Numbers, Said
from scaleprof.intervals import Ints
from scaleprof.trace import UNKNOWN

_OUT_OF_ORDER = 8
"""Numbers so far below the first one are no disorder: the count has begun anew."""


class NumbersDiffer(Exception):
    """The ranks do not agree how often the count began anew."""


def by_number(rows: Mapping[int, Numbers], said: Said) -> tuple[dict[int, Numbers], int, int]:
    """By rank, for each of these rows the number of its operation, UNKNOWN where several of one number cannot be told apart; how many operations
    there are, and how often the count began."""
    keys = _Keys(rows, said)
    every = _union(keys)
    least, largest = np.full(len(every), np.iinfo(np.int64).max), np.zeros(len(every), dtype=np.int64)
    for rank in rows:
        key, count = np.unique(keys.of(rank), return_counts=True)
        here = np.searchsorted(every, key)
        least[here], largest[here] = np.minimum(least[here], count), np.maximum(largest[here], count)
    several = np.where(least == largest, largest, 0)
    first = np.cumsum(several) - several
    found: dict[int, Numbers] = {}
    for rank in rows:
        of_rank = keys.of(rank)
        place = np.searchsorted(every, of_rank)
        found[rank] = np.where(several[place] > 0, first[place] + _nth(of_rank), UNKNOWN).astype(np.int32)
    return found, int(several.sum()), keys.lives


class _Keys:
    """The numbers of each rank, those of each life of the group behind those of the life before; reckoned anew whenever they are asked for."""

    def __init__(self, rows: Mapping[int, Numbers], said: Said) -> None:
        self.rows, self._said = rows, said
        self._lives: dict[int, Ints] = {}
        most, low, high = set[int](), np.iinfo(np.int64).max, 0
        for rank in rows:
            numbers = self._numbers(rank)
            low, high = min(low, int(numbers.min())), max(high, int(numbers.max()))
            lives = _lives(numbers)
            most.add(0 if lives is None else int(lives.max()))
            if lives is not None:
                self._lives[rank] = lives
        if len(most) > 1:
            raise NumbersDiffer
        self._low, self._wide, self.lives = low, 1 + high - low, 1 + max(most)

    def _numbers(self, rank: int) -> Ints:
        return self._said.of(rank).seq[self.rows[rank]]

    def of(self, rank: int) -> Ints:
        """Of one rank."""
        keys: Ints = self._numbers(rank) - self._low
        return keys if rank not in self._lives else keys + self._lives[rank] * self._wide


def _union(keys: _Keys) -> Ints:
    every: Ints = np.zeros(0, dtype=np.int64)
    for of_rank in map(keys.of, keys.rows):
        if len(of_rank) != len(every) or not np.array_equal(of_rank, every):  # most ranks say the same
            every = np.union1d(every, of_rank)
    return every


def _nth(keys: Ints) -> Ints:
    """For each key how many like it stand before it."""
    if (np.diff(keys) > 0).all():
        return np.zeros(len(keys), dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.diff(keys[order], prepend=keys[order][0] - 1))
    nth = np.zeros(len(keys), dtype=np.int64)
    nth[order] = np.arange(len(keys)) - np.repeat(first, np.diff(np.append(first, len(keys))))
    return nth


def _lives(numbers: Ints) -> Ints | None:
    """For each number, how often the count had begun anew: with one that was there before, or far below the first one; None where it never did.
    Numbers of several streams may be a little out of order."""
    if (np.diff(numbers) >= 0).all():
        return None
    lives, life, seen, first, before = [], 0, set[int](), int(numbers[0]), int(numbers[0])
    for number in numbers.tolist():
        if (number in seen and number < before) or number < first - _OUT_OF_ORDER:
            life, seen, first = life + 1, set(), number
        seen.add(number)
        before = number
        lives.append(life)
    return np.array(lives, dtype=np.int64) if life else None
