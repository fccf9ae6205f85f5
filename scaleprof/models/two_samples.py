"""Two samples compared: the exact Mann-Whitney test, the Hodges-Lehmann shift, Cliff's delta, Holm's correction, Student's t.

Nothing here knows of steps or runs: the values of a sample are taken as independent of one another. `contrast.py` makes such samples.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from scaleprof.models.statistics import Interval, Values

MOST_EXACT = 50
"""Values of both samples together up to which the test goes through every way to divide them; beyond that the normal distribution is close."""
_Z95 = 1.959964
_NODES = 96  # of the integral below, which is good to 1e-6 from one degree of freedom on


def mann_whitney(base: Values, new: Values) -> float:
    """The two-sided p of Mann & Whitney (1947): how likely ranks so uneven are if both samples come from one distribution.

    Exact up to `MOST_EXACT` values, ties included (every division of the midranks counts); the normal distribution with the correction for ties
    and for continuity beyond. 1 where a sample is empty or all values are the same.
    """
    few, many = (base, new) if len(base) <= len(new) else (new, base)
    if not len(few):
        return 1.0
    ranks = _doubled_midranks(np.concatenate((few, many)))
    total, expected = int(ranks[: len(few)].sum()), len(few) * (len(ranks) + 1)
    off = abs(total - expected)
    if len(ranks) <= MOST_EXACT:
        ways = _ways(tuple(sorted(ranks.tolist())), len(few))
        far = np.abs(np.arange(len(ways)) - expected) >= off
        return min(1.0, float(ways[far].sum() / ways.sum()))
    tied = np.unique(ranks, return_counts=True)[1].astype(np.float64)
    size = len(ranks)
    variance = len(few) * len(many) / 12 * (size + 1 - float((tied**3 - tied).sum()) / (size * (size - 1)))
    if variance <= 0:
        return 1.0
    # Ranks are doubled here, so a half of a rank is 1.
    return math.erfc(max(off - 1, 0) / 2 / math.sqrt(2 * variance))


def least_p(base: int, new: int) -> float:
    """The smallest p that samples of such sizes can have: that of samples which do not overlap."""
    return min(1.0, 2 / math.comb(base + new, base)) if base and new else 1.0


def hodges_lehmann(base: Values, new: Values) -> Interval:
    """By how much new values lie above the others: the median of all differences (Hodges & Lehmann 1963), with its 95 % interval.

    The interval holds the shifts that the test would not refuse; without ends where the samples are too small for one.
    """
    differences = np.sort((new[:, None] - base[None, :]).ravel())
    out = _differences_left_out(len(base), len(new))
    middle = float(np.median(differences))
    if out is None:
        return Interval(middle, None, None)
    return Interval(middle, float(differences[out]), float(differences[len(differences) - 1 - out]))


def cliffs_delta(base: Values, new: Values) -> float:
    """How often a new value is above one of the others, less how often it is below: -1 to 1 (Cliff 1993)."""
    ordered = np.sort(base)
    below = np.searchsorted(ordered, new, side="left")
    not_above = np.searchsorted(ordered, new, side="right")
    return float((below + not_above - len(base)).sum() / (len(base) * len(new)))


def holm(chances: Sequence[float]) -> list[float]:
    """The same p, corrected for being asked so often (Holm 1979): the chance that any of them is this small by accident."""
    order = sorted(range(len(chances)), key=lambda place: chances[place])
    corrected, largest = [0.0] * len(chances), 0.0
    for number, place in enumerate(order):
        largest = max(largest, min(1.0, (len(chances) - number) * chances[place]))
        corrected[place] = largest
    return corrected


def student_p(t: float, freedom: float) -> float:
    """P(|T| >= |t|) of Student's t.

    With t = tan(a) sqrt(freedom) the density is that of cos(a)^(freedom - 1): smooth, integrated by Gauss and Legendre's rule.
    """
    nodes, weights = _rule()
    # Of many degrees of freedom nothing is left 40 standard deviations out, and all of it in a narrow place.
    end = math.pi / 2 if freedom <= 200 else math.atan((abs(t) + 40) / math.sqrt(freedom))
    start = math.atan(abs(t) / math.sqrt(freedom))
    angle = start + (end - start) * (nodes + 1) / 2
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(math.pi)
    tail = (end - start) / 2 * float(weights @ np.cos(angle) ** (freedom - 1)) * math.exp(log_scale)
    return min(1.0, 2 * tail)


@cache
def student_quantile(freedom: float, level: float = 0.05) -> float:
    """The t that |T| exceeds with this chance."""
    low, high = 0.0, 2.0
    while student_p(high, freedom) > level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_p(middle, freedom) > level else (low, middle)
    return (low + high) / 2


@cache
def _rule() -> tuple[Values, Values]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights


def _doubled_midranks(values: Values) -> NDArray[np.int64]:
    """Twice the rank of each value, from 2 on; values that are the same share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    doubled: NDArray[np.int64] = (2 * last - counts + 1)[place]
    return doubled


@cache
def _ways(ranks: tuple[int, ...], few: int) -> Values:
    """In how many ways so few of the ranks have each sum: exact in floats, since there are fewer than 2^53."""
    ways = np.zeros((few + 1, sum(ranks[-few:]) + 1))
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] = ways[1:, rank:] + ways[:-1, : ways.shape[1] - rank]
    chosen: Values = ways[few]
    return chosen


@cache
def _differences_left_out(base: int, new: int) -> int | None:
    """How many of the ordered differences lie outside of the interval at each end; None where even all of them are not enough."""
    few, many = min(base, new), max(base, new)
    if least_p(few, many) > 0.05:
        return None
    if few + many > MOST_EXACT:
        return max(0, math.floor(few * many / 2 - _Z95 * math.sqrt(few * many * (few + many + 1) / 12)) - 1)
    ways = _ways(tuple(range(2, 2 * (few + many) + 1, 2)), few)[few * (few + 1) :: 2]
    tail = np.cumsum(ways) / ways.sum()
    return int(np.searchsorted(tail, 0.025, side="right")) - 1
