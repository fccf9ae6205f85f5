"""Ranks by steps as a picture of bounded size: which rows and columns are shown, their margins, and what lies far off.

Every number of a margin is of all ranks or all steady steps, not only of those shown.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.models.statistics import MAD_TO_SIGMA

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MOST_ROWS = 256  # of more ranks the extremes and an even sample are shown
MOST_CELLS = 20_000  # a larger picture would be bytes nobody can see
SLOWEST, FASTEST = 32, 8  # ranks that are shown in any case
FAR = 5.0
"""The robust z-score from which a rank or a cell is an outlier."""
LEAST = 0.02
"""And by so much it must be slower than the median."""
MOST_MARKED = 3
_FINEST = 0.001  # spreads below this share of the median are no spread: clocks are not better
_APART = 0.2  # of the columns: labels nearer to one another would overlap


@dataclass(frozen=True)
class Grid:
    """What is drawn: deviations from the median by row and column."""

    ranks: list[int]
    """Of the rows, in their order."""
    steps: list[int]
    """The first step of each column."""
    width: int
    """Steps of a column."""
    cells: Floats
    median_ms: Floats
    """Of each column, over all ranks."""
    steady: Bools
    """Of each column: whether it holds a steady step."""
    sampled: int
    """Rows that are an even sample; 0 where every rank is shown."""


@dataclass(frozen=True)
class Mark:
    """A cell far above what its rank and its step have in common with others."""

    rank: int
    step: int
    deviation: float
    column: int


def grid_of(ranks: list[int], steps: Ints, busy_ms: Floats, steady: Bools, always: set[int]) -> Grid:
    """The picture of times by rank and step; the ranks of `always` are among the rows.

    Where there are too many steps, neighbours share a column, and the one farthest from the median stands for them.
    """
    middle = float(np.median(busy_ms[:, steady]))
    rows, sampled = _rows(
        busy_ms[:, steady].mean(axis=1), [place for place, rank in enumerate(ranks) if rank in always]
    )
    width = -(-len(steps) // max(MOST_CELLS // len(rows), 1))
    counts = _counting(steady, width)
    return Grid(
        ranks=[ranks[row] for row in rows],
        steps=steps[::width].tolist(),
        width=width,
        cells=_farthest(busy_ms[rows] / middle - 1, counts, width),
        median_ms=_means(np.median(busy_ms, axis=0), counts, width),
        steady=np.logical_or.reduceat(steady, np.arange(0, len(steps), width)),
        sampled=sampled,
    )


def order_of(values: Floats) -> list[int]:
    """Places of the values, the largest first, equal ones as they stand."""
    return [int(place) for place in np.argsort(-values, kind="stable")]


def far_ranks(per_rank: Floats) -> Bools:
    """Which ranks are outliers: far above the median of all, by what ranks usually differ. Of two ranks neither is one."""
    if len(per_rank) < 3:
        return np.zeros(len(per_rank), dtype=np.bool_)
    middle = float(np.median(per_rank))
    above = per_rank - middle
    far: Bools = (above >= FAR * _spread(above, middle)) & (above >= LEAST * middle)
    return far


def far_cells(ranks: list[int], steps: Ints, busy_ms: Floats, steady: Bools) -> list[Mark]:
    """The worst outliers among the cells of steady steps, each of another rank and apart from one another.

    What remains of a cell without the median of its rank and that of its step is compared with what remains of all others.
    """
    times = busy_ms[:, steady]
    middle = float(np.median(times))
    rest = times - np.median(times, axis=1, keepdims=True) - (np.median(times, axis=0) - middle)
    far = (rest >= FAR * _spread(rest, middle)) & (rest >= LEAST * middle)
    columns = np.flatnonzero(steady)
    marks: list[Mark] = []
    rows, places = np.nonzero(far)
    # Outliers are few where times have a spread at all; the loop ends at the third label.
    for index in np.argsort(-rest[rows, places], kind="stable"):
        row, column = int(rows[index]), int(columns[places[index]])
        near = any(mark.rank == ranks[row] or abs(mark.column - column) < _APART * len(steps) for mark in marks)
        if not near:
            marks.append(Mark(ranks[row], int(steps[column]), float(busy_ms[row, column] / middle - 1), column))
        if len(marks) == MOST_MARKED:
            break
    return marks


def _spread(values: Floats, middle: float) -> float:
    """The robust standard deviation, at least what clocks resolve."""
    return max(MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values)))), _FINEST * middle)


def _rows(per_rank: Floats, always: list[int]) -> tuple[list[int], int]:
    """Rows to show in their order, and how many of them are an even sample of the ranks that are not extreme."""
    count = len(per_rank)
    if count <= MOST_ROWS:
        return list(range(count)), 0
    order = order_of(per_rank)
    kept = {*order[:SLOWEST], *order[-FASTEST:], *always}
    others = [row for row in range(count) if row not in kept]
    sampled = MOST_ROWS - len(kept)
    even = {others[place] for place in np.linspace(0, len(others) - 1, sampled).round().astype(int).tolist()}
    return sorted(kept | even), len(even)


def _counting(steady: Bools, width: int) -> Bools:
    """Which steps count in their column: the steady ones, and all where there is none."""
    starts = np.arange(0, len(steady), width)
    some = np.repeat(np.logical_or.reduceat(steady, starts), width)[: len(steady)]
    counts: Bools = steady | ~some
    return counts


def _farthest(values: Floats, counts: Bools, width: int) -> Floats:
    """By row and column, of the steps that count the value farthest from zero."""
    folded = _folded(np.where(counts, values, np.nan), width)
    place = np.argmax(np.where(np.isnan(folded), -1.0, np.abs(folded)), axis=2)
    found: Floats = np.take_along_axis(folded, place[:, :, None], axis=2)[:, :, 0]
    return found


def _means(values: Floats, counts: Bools, width: int) -> Floats:
    """By column, the mean of the steps that count."""
    means: Floats = np.nanmean(_folded(np.where(counts, values, np.nan)[None, :], width), axis=2)[0]
    return means


def _folded(values: Floats, width: int) -> Floats:
    """Rows by columns by the steps of a column; what is missing in the last column is NaN."""
    missing = -values.shape[1] % width
    filled: Floats = np.pad(values, ((0, 0), (0, missing)), constant_values=np.nan)
    return filled.reshape(len(values), -1, width)
