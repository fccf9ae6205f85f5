"""Whether what was measured twice differs: steps as independent blocks, repeated runs as what they are, an interval, and one of four verdicts.

Steps of one run depend on one another, and no number of them says how much runs differ. So, where no run was repeated, neighbouring steps are
averaged to blocks so long that what is left of their correlation is small, and the blocks are compared; where runs were repeated, each run is one
value, and how much repeats differ is the noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scaleprof.models.statistics import Interval, Values, effective_count, function_interval
from scaleprof.models.two_samples import (
    cliffs_delta,
    hodges_lehmann,
    least_p,
    mann_whitney,
    student_p,
    student_quantile,
)

LEVEL = 0.05
"""A difference is called one where chance alone would bring it in at most this part of the cases."""
LEAST_CHANGE = 0.01
"""Of the step: what is smaller is no change worth a word (`method` 5.5)."""
DEPENDENT = 0.2
"""Neighbouring steps correlated by no more are taken as independent, as `statistics.effective_count` does."""
LEFT_OVER = 0.1
"""Correlation that neighbouring blocks may keep."""
MOST_LAGS = 5
"""Lags that are looked at, but no more than a quarter of the steps."""
STRICTER = 5.0
"""Chance counts so many times where it rests on a correlation that few steps show badly: of fewer than `FEWEST_FOR_CORRELATION`, and by Student's t
where there are too few blocks for the rank test."""
FEWEST_FOR_CORRELATION = 12
FEWEST_WORTH = 2.0
"""Independent steps that each series must be worth for that."""
MOST_BLOCKS = 200
"""Of one run: more and shorter ones would say hardly more, and their differences are all looked at."""
_LONGEST = 1000

Verdict = Literal["slower", "faster", "same", "inconclusive"]


@dataclass(frozen=True)
class Spread:
    """How much runs of one configuration differ, as a part of their mean, from all configurations that were repeated."""

    sigma: float
    freedom: int


@dataclass(frozen=True)
class Contrast:
    """Two sets of runs beside one another, in the unit of what was measured."""

    base: float
    new: float
    change: Interval
    """new - base, of the means."""
    ratio: Interval
    """new / base - 1, of the means; NaN where base is 0."""
    shift: Interval
    """By how much a typical block, or run, differs (Hodges & Lehmann)."""
    delta: float
    """Cliff's delta."""
    p: float
    """How likely so large a difference is if there is none; 1 where so few values can never tell."""
    least_p: float
    """The smallest p that they can have."""
    samples: tuple[int, int]
    """Blocks of steps, or runs, of base and new; where it is not by ranks, how many independent steps they are worth."""
    unit: Literal["blocks", "runs"]
    block_steps: int = 1
    is_by_ranks: bool = True
    """By the test of Mann and Whitney; else by Student's t."""
    strictness: float = 1.0
    """How many times the test's own p counts: `STRICTER` where few steps show their correlation badly."""


def compared(base: Sequence[Values], new: Sequence[Values], spread: Spread | None = None) -> Contrast:
    """The contrast of runs, each with one value a step, in order. `spread` is the noise of a run where one side has a single one.

    One run on each side and no spread: by blocks of steps, and where these are too few by what the steps are worth (`STRICTER`). Else by runs:
    Student's test on their means with the pooled variance, which is no smaller than what the steps within the runs imply; from four runs on each side
    on, the exact rank test must agree. Repeats on both sides speak for themselves: other configurations may differ far less from start to start, and
    their spread would pass noise for a change.
    """
    if len(base) == len(new) == 1 and spread is None:
        return _by_blocks(base[0], new[0])
    return _by_runs(base, new, spread if min(len(base), len(new)) == 1 else None)


def verdict_of(contrast: Contrast, *, least: float = LEAST_CHANGE, p: float | None = None) -> Verdict:
    """`slower` and `faster` where the change is no chance, its interval excludes none, and it is larger than `least`; `same` where all of the
    interval is within `least`; else `inconclusive`. `p` stands in for the contrast's own where several questions were asked."""
    ratio, chance = contrast.ratio, contrast.p if p is None else p
    if ratio.low is None or ratio.high is None or not math.isfinite(ratio.value):
        return "inconclusive"
    if chance <= LEVEL and ratio.low * ratio.high > 0 and abs(ratio.value) > least:
        return "slower" if ratio.value > 0 else "faster"
    return "same" if -least <= ratio.low and ratio.high <= least else "inconclusive"


def spread_of(configurations: Sequence[Sequence[Values]]) -> Spread | None:
    """How much repeats differ, pooled over configurations; None where none was repeated."""
    squares, freedom = 0.0, 0
    for runs in configurations:
        means = np.array([run.mean() for run in runs if len(run) and run.mean() > 0])
        if len(means) > 1:
            squares += float(((np.log(means) - np.log(means).mean()) ** 2).sum())
            freedom += len(means) - 1
    return Spread(math.sqrt(squares / freedom), freedom) if freedom else None


def block_steps(phi: float) -> int:
    """How many neighbouring steps to average so that the means are nearly independent, where each step passes on phi of its deviation.

    Of a first-order autoregression, means of b steps are correlated by phi (1 - phi^b)^2 / (b (1 - phi^2) - 2 phi (1 - phi^b)); the smallest b for
    which that is at most `LEFT_OVER`.
    """
    if phi <= 0:
        return 1
    for steps in range(1, _LONGEST):
        kept = phi**steps
        if phi * (1 - kept) ** 2 <= LEFT_OVER * (steps * (1 - phi**2) - 2 * phi * (1 - kept)):
            return steps
    return _LONGEST


def block_means(times: Values, steps: int) -> Values:
    """Means of blocks of so many steps; what is left over is left out at the start, beside the warm-up."""
    count = len(times) // steps
    means: Values = times[len(times) - count * steps :].reshape(count, steps).mean(axis=1)
    return means


def decay(series: Sequence[Values]) -> float:
    """By how much of its deviation a step passes on to the next: the largest that one of the first lags says, 0 where that is next to nothing.

    A slow drift under noise hardly shows from one step to the next, but it does over several. Steps that alternate only make a mean more certain:
    they count as independent. Each correlation is corrected for the bias of short series (Marriott & Pope 1954).
    """
    found = 0.0
    least = min(len(times) for times in series)
    for lag in range(1, min(MOST_LAGS, least // 4) + 1):
        parts = [_correlated(times, lag) for times in series]
        spread = sum(part[1] for part in parts)
        if spread <= 0:
            return 0.0
        raw = sum(part[0] for part in parts) / spread
        if lag == 1 and raw < 0:
            return 0.0
        count = sum(len(times) for times in series) / len(series)
        here = raw + (1 + 3 * raw if lag == 1 else 1.0) / count
        if here > (DEPENDENT if lag == 1 else 2 / math.sqrt(count * len(series))):
            found = max(found, here ** (1 / lag))
    return min(found, 0.95)


def _correlated(times: Values, lag: int) -> tuple[float, float]:
    """The sum of products with the steps so much later, and that of squares, both about the mean."""
    centred = times - times.mean()
    spread = float(centred @ centred)
    # Of what is always the same only rounding is left.
    return (float(centred[lag:] @ centred[:-lag]), spread) if spread > 1e-18 * float(times @ times) else (0.0, 0.0)


def _by_blocks(base: Values, new: Values) -> Contrast:
    phi = decay([base, new])
    steps = max(block_steps(phi), math.ceil(max(len(base), len(new)) / MOST_BLOCKS))
    ours, theirs = block_means(base, steps), block_means(new, steps)
    enough = len(ours) > 0 and len(theirs) > 0
    few = min(len(base), len(new))
    least = least_p(len(ours), len(theirs)) * (1 if few >= FEWEST_FOR_CORRELATION else STRICTER)
    is_by_ranks = least <= LEVEL
    worth = [len(times) * (1 - phi) / (1 + phi) for times in (base, new)]
    can_tell = is_by_ranks or min(worth) >= FEWEST_WORTH
    return Contrast(
        base=float(base.mean()),
        new=float(new.mean()),
        change=function_interval([base, new], lambda means: means[1] - means[0]),
        ratio=_ratio(base, new),
        shift=hodges_lehmann(ours, theirs) if enough else Interval(float(new.mean() - base.mean()), None, None),
        delta=cliffs_delta(ours, theirs) if enough else 0.0,
        p=_rank_p(ours, theirs, few) if is_by_ranks else _welch_p(base, new, worth) if can_tell else 1.0,
        least_p=least if is_by_ranks else 0.0 if can_tell else 1.0,
        samples=(len(ours), len(theirs)) if is_by_ranks else (int(worth[0]), int(worth[1])),
        unit="blocks",
        block_steps=steps,
        is_by_ranks=is_by_ranks,
        strictness=1.0 if is_by_ranks and few >= FEWEST_FOR_CORRELATION else STRICTER,
    )


def _rank_p(ours: Values, theirs: Values, steps: int) -> float:
    p = mann_whitney(ours, theirs)
    return p if steps >= FEWEST_FOR_CORRELATION else min(1.0, STRICTER * p)


def _welch_p(base: Values, new: Values, worth: Sequence[float]) -> float:
    """Welch's test (1947) on the means of series that are worth so many independent steps, `STRICTER` times its p."""
    errors = [float(times.var(ddof=1)) / count for times, count in zip((base, new), worth, strict=True)]
    change = float(new.mean() - base.mean())
    if sum(errors) <= 0:
        return 0.0 if change else 1.0
    freedom = sum(errors) ** 2 / sum(error**2 / (count - 1) for error, count in zip(errors, worth, strict=True))
    return min(1.0, STRICTER * student_p(change / math.sqrt(sum(errors)), freedom))


def _ratio(base: Values, new: Values) -> Interval:
    if base.mean() <= 0:
        return Interval(math.nan, None, None)
    return function_interval([base, new], lambda means: means[1] / means[0] - 1)


def _by_runs(base: Sequence[Values], new: Sequence[Values], spread: Spread | None) -> Contrast:
    ours, theirs = (np.array([run.mean() for run in runs]) for runs in (base, new))
    before, after = float(ours.mean()), float(theirs.mean())
    level = (before + after) / 2
    if spread is None:
        squares = float(((ours - before) ** 2).sum() + ((theirs - after) ** 2).sum())
        freedom = len(ours) + len(theirs) - 2
        variance = squares / freedom
    else:
        freedom, variance = spread.freedom, (spread.sigma * level) ** 2
    variance = max(variance, float(np.mean([_error(run) ** 2 for run in (*base, *new)])))
    error = math.sqrt(variance * (1 / len(ours) + 1 / len(theirs)))
    half = student_quantile(freedom) * error
    change = after - before
    p = student_p(change / error, freedom) if error > 0 else (0.0 if change else 1.0)
    if min(len(ours), len(theirs)) >= 4:
        p = max(p, mann_whitney(ours, theirs))
    return Contrast(
        base=before,
        new=after,
        change=Interval(change, change - half, change + half),
        ratio=_ratio_of_runs(before, after, half / level if level > 0 else 0.0),
        shift=hodges_lehmann(ours, theirs),
        delta=cliffs_delta(ours, theirs),
        p=p,
        least_p=0.0,
        samples=(len(ours), len(theirs)),
        unit="runs",
    )


def _ratio_of_runs(before: float, after: float, half: float) -> Interval:
    """The interval is symmetric in logarithms, so that base and new can change places."""
    if before <= 0 or after <= 0:
        return Interval(math.nan, None, None)
    return Interval(after / before - 1, after / before * math.exp(-half) - 1, after / before * math.exp(half) - 1)


def _error(run: Values) -> float:
    """The standard error of a run's mean that its steps imply."""
    return float(run.std(ddof=1)) / math.sqrt(effective_count(run)) if len(run) > 1 else 0.0
