"""A rank within its share of the bytes: what must be shown is, and of the other events the longest."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.export.lanes import Text
from scaleprof.intervals import Ints

SLICE_BYTES = 110
"""A slice in the file has no more, besides its name and category."""


BUSY = 16
"""Kernels are short, and more to the point than calls on the host."""


@dataclass(frozen=True)
class LeftOut:
    """Events of a rank that found no room."""

    count: int = 0
    of: int = 0
    """Of so many in the window."""
    longest_busy_ns: int = 0
    """Of those on devices, the longest; likewise on hosts."""
    longest_host_ns: int = 0


def bytes_of(texts: Sequence[Text]) -> Ints:
    """By name, the most bytes of a slice that is called so."""
    return np.array(
        [SLICE_BYTES + len(json.dumps(name)) + len(json.dumps(category)) for name, category in texts], dtype=np.int64
    )


def longest(rows: Ints, dur: Ints, is_busy: NDArray[np.bool_], cost: Ints, allowed: int) -> tuple[Ints, LeftOut]:
    """Of these rows the longest that are allowed together, those that are `is_busy` on a device counting `BUSY` times; and what is left out."""
    if int(cost.sum()) <= allowed:
        return rows, LeftOut(0, len(rows))
    order = np.argsort(-dur * np.where(is_busy, BUSY, 1), kind="stable")
    dropped = np.ones(len(rows), dtype=np.bool_)
    dropped[order[np.cumsum(cost[order]) <= allowed]] = False
    of_each = (int(dur[dropped & kind].max(initial=0)) for kind in (is_busy, ~is_busy))
    return rows[~dropped], LeftOut(int(dropped.sum()), len(rows), *of_each)
