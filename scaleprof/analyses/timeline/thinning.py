"""Fewer slices for the same picture: neighbours too short to be seen become one that says how many it stands for."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from scaleprof.intervals import Ints

_FINEST = 4000
"""Parts of a picture's width that can be told apart."""
_TOGETHER = 4
"""Neighbours that are drawn as one make a block of so many times the shortest slice at most."""


@dataclass(frozen=True)
class Drawn:
    """Slices of one row of a rank, one entry each."""

    depth: Ints
    start: Ints
    end: Ints
    name: Ints
    """Number of the text of the first event that the slice stands for."""
    color: Ints
    operation: Ints
    """Row in the rank's table of operations, -1 for what is none."""
    count: Ints
    """How many events it stands for."""

    def __len__(self) -> int:
        return len(self.start)

    def picked(self, rows: Any) -> "Drawn":
        """Some of the slices."""
        return Drawn(*(getattr(self, one.name)[rows] for one in fields(self)))


def together(parts: Sequence[Drawn]) -> Drawn:
    """The slices of several parts, one after the other."""
    empty = np.zeros(0, dtype=np.int64)
    return Drawn(*(np.concatenate([empty, *(getattr(part, one.name) for part in parts)]) for one in fields(Drawn)))


def shared_out(parts: Sequence[Drawn], budget: int, length: int) -> list[Drawn]:
    """The rows of a rank thinned to a budget for all of them; what one does not need goes to the next."""
    thin: list[Drawn] = []
    for place, part in enumerate(parts):
        left = budget - sum(len(one) for one in thin)
        thin.append(thinned(part, left // (len(parts) - place), length))
    return thin


def thinned(part: Drawn, budget: int, length: int) -> Drawn:
    """Neighbours too short to be seen drawn as one, more and more of them until the budget holds; operations stay as they are as long as they can.

    `length` is the time that the picture shows.
    """
    shortest = max(length // _FINEST, 1)
    while len(part) > budget and shortest < 2 * length:
        part = _merged(part, shortest)
        shortest *= 2
    return part


def _merged(part: Drawn, shortest: int) -> Drawn:
    part = part.picked(np.lexsort((part.start, part.depth)))
    depth, start, end = part.depth, part.start, part.end
    short = end - start < shortest
    block = start // (_TOGETHER * shortest)  # a run of short ones stays several blocks, so that holes in it are seen
    joined = np.zeros(len(part), dtype=np.bool_)
    joined[1:] = (
        short[1:]
        & short[:-1]
        & (depth[1:] == depth[:-1])
        & (start[1:] - end[:-1] < shortest)
        & (part.color[1:] == part.color[:-1])
        & (block[1:] == block[:-1])
    )
    first = np.flatnonzero(~joined)
    alone = np.diff(np.append(first, len(part))) == 1
    return Drawn(
        depth=depth[first],
        start=start[first],
        end=np.maximum.reduceat(end, first),
        name=part.name[first],
        color=part.color[first],
        operation=np.where(alone, part.operation[first], -1),
        count=np.add.reduceat(part.count, first),
    )
