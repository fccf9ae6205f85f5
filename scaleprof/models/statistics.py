"""Statistics of step times: where warm-up ends, and intervals that respect autocorrelation.

Steps are not independent: a slow moment lasts several steps. An interval that ignores this is too narrow, so means are resampled in blocks
(Künsch 1989), widened where a first-order autoregression says that even the blocks are too short. All draws are seeded: the same steps give
the same interval.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826  # the median absolute deviation of a normal distribution is sigma / 1.4826
FEWEST_FOR_INTERVAL = 6  # below six steps no 95 % interval of a median exists (order statistics)
DRAWS = 2000
AT_ONCE = 1_000_000  # blocks drawn together: all draws of a million steps at once would be 160 times as many
MANY = 1000  # binomial coefficients of more leave the range of floats
_SEED = 20_240_101
_Z95 = 1.959964


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; the ends are None where there are too few steps for one."""

    value: float
    low: float | None
    high: float | None


def warm_up_steps(times: Values) -> int:
    """How many leading steps to drop: up to the first three in a row near the tail's median.

    The tail is the last half; near is within 3 robust standard deviations, at least 1 % of the median. Later outliers are never dropped. With
    fewer than 6 steps nothing is dropped, and never more than half. Where there are no three in a row, up to the first one near.
    """
    count = len(times)
    if count < FEWEST_FOR_INTERVAL:
        return 0
    tail = times[count // 2 :]
    middle = float(np.median(tail))
    allowed = max(3 * MAD_TO_SIGMA * float(np.median(np.abs(tail - middle))), 0.01 * middle)
    near = np.abs(times - middle) <= allowed
    for first in range(count // 2):
        if near[first : first + 3].all():
            return first
    settled = np.flatnonzero(
        near[: count // 2]
    )  # steps that are late again and again have no three in a row: that is no warm-up
    return int(settled[0]) if len(settled) else count // 2


def autocorrelation(times: Values) -> float:
    """The lag-1 autocorrelation, corrected for the bias of short series (Marriott & Pope 1954), 0 where undefined."""
    centred = times - times.mean()
    spread = float(centred @ centred)
    if len(times) < 4 or spread <= 0:
        return 0.0
    raw = float(centred[1:] @ centred[:-1]) / spread
    return min(0.95, max(-0.95, raw + (1 + 3 * raw) / len(times)))


def effective_count(times: Values) -> float:
    """How many independent steps the series is worth: n (1 - r) / (1 + r) where the autocorrelation r exceeds 0.2."""
    r = autocorrelation(times)
    return len(times) * (1 - r) / (1 + r) if r > 0.2 else float(len(times))


def resampled_means(times: Values, *, seed: int = 0) -> Values:
    """`DRAWS` means of the series, resampled in moving blocks; their spread is that of the mean of autocorrelated steps.

    Blocks of ceil(n^(1/3)) steps. The deviations are scaled so that their standard deviation is no less than the one a first-order
    autoregression implies, and by the t quantile of the effective number of steps, since few steps know their own spread badly.
    """
    count = len(times)
    mean = float(times.mean())
    if count < 2:
        return np.full(DRAWS, mean)
    block = math.ceil(count ** (1 / 3))
    random = np.random.default_rng([_SEED, seed, count])
    blocks = math.ceil(count / block)
    last = (
        count - (blocks - 1) * block
    )  # of the last block only so many steps are taken, so that every draw has as many as there are
    sums = np.concatenate(([0.0], np.cumsum(times)))
    means = np.empty(DRAWS)
    together = max(1, min(DRAWS, AT_ONCE // blocks))
    for first in range(0, DRAWS, together):
        draws = slice(first, min(first + together, DRAWS))
        starts = random.integers(0, count - block + 1, size=(draws.stop - first, blocks))
        ends = starts + block
        ends[:, -1] = starts[:, -1] + last
        means[draws] = (sums[ends] - sums[starts]).sum(axis=1) / count
    deviations = means - means.mean()
    worth = effective_count(times)
    implied = float(times.std(ddof=1)) / math.sqrt(worth)
    seen = float(deviations.std())
    scale = max(1.0, implied / seen) if seen > 0 else 1.0
    scaled: Values = mean + deviations * scale * _t95(max(worth - 1, 2.0)) / _Z95
    return scaled


def mean_interval(times: Values) -> Interval:
    """The mean with its 95 % moving-block bootstrap interval."""
    return function_interval([times], lambda means: means[0])


def function_interval(series: Sequence[Values], function: Callable[[list[Values]], Values]) -> Interval:
    """A function of the means of several independent series, with its 95 % interval by resampling each of them.

    `function` takes one array of means per series and returns one value per entry; it is called with the plain means (arrays of one) for the
    value and with the resampled ones for the interval.
    """
    value = float(function([np.array([times.mean()]) for times in series])[0])
    if any(len(times) < FEWEST_FOR_INTERVAL for times in series):
        return Interval(value, None, None)
    draws = function([resampled_means(times, seed=place) for place, times in enumerate(series)])
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def median_interval(times: Values) -> Interval:
    """The median with its interval from order statistics, widened by sqrt(n / effective n) for autocorrelated steps.

    The k-th smallest and k-th largest, k the largest with coverage of at least 95 % under a fair coin; none below six steps.
    """
    ordered = np.sort(times)
    count = len(ordered)
    middle = float(np.median(ordered))
    if count < FEWEST_FOR_INTERVAL:
        return Interval(middle, None, None)
    k = _rank_of_median(count)
    widen = math.sqrt(count / effective_count(times))
    low, high = float(ordered[k - 1]), float(ordered[count - k])
    return Interval(middle, middle - (middle - low) * widen, middle + (high - middle) * widen)


def _rank_of_median(count: int) -> int:
    """The largest k for which the k-th smallest and k-th largest of so many values enclose the median with 95 %."""
    if count > MANY:
        return math.floor(
            (count - _Z95 * math.sqrt(count)) / 2
        )  # normal approximation: off by at most one from here on
    k, tail = 0, 0.5**count
    while 1 - 2 * tail >= 0.95:
        k += 1
        tail += math.comb(count, k) * 0.5**count
    return k


def outliers(times: Values) -> NDArray[np.bool_]:
    """Steps far above the median (more than 5 robust standard deviations and 20 %): checkpoints, evaluation, pauses."""
    middle = float(np.median(times))
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(times - middle)))
    far: NDArray[np.bool_] = times > middle + max(5 * sigma, 0.2 * middle)
    return far


def _t95(freedom: float) -> float:
    """The 97.5 % quantile of Student's t by Fisher's expansion; good to 1 % from 2 degrees of freedom on."""
    z = _Z95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (place + 1) for place, term in enumerate(terms))


def binomial_tail(often: int, times: int, chance: float) -> float:
    """P(Binomial(times, chance) >= often)."""
    if chance >= 1:
        return 1.0
    logs = (
        math.lgamma(times + 1)
        - math.lgamma(k + 1)
        - math.lgamma(times - k + 1)
        + k * math.log(chance)
        + (times - k) * math.log1p(-chance)
        for k in range(often, times + 1)
    )
    return min(1.0, sum(map(math.exp, logs)))
