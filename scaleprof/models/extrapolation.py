"""Which law of scaling a study follows, what it says of sizes that were not measured, and how far to trust it (`method` 5.3, 5.4).

Three sizes choose nothing: the straight line of Amdahl's law stands. From four on each law is fitted to all but the largest size and asked for
it; the line gives way where it fails there and another law comes much nearer. Bands are the union of two things: a bootstrap, in which every
size is drawn anew from the uncertainty of its measurement and from how far the law misses the sizes, and the spread of the laws that the sizes
do not tell apart. They are no guarantee: no size tells of a link that only a larger one crosses.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scaleprof.models.laws import AMDAHL, GUSTAFSON, LOGARITHMIC, USL, Fitted, Floats, Law, fit, fit_again
from scaleprof.models.scaling import Kind

FEWEST_SIZES = 3
"""A law of two coefficients goes through any two sizes."""
FEWEST_ACROSS = 2
"""Sizes that suffice where smaller ones were set aside because they lie on the other side of a break of the topology."""
PREDICTED, INDICATIVE = 2, 8
"""Up to so many times the largest size an extrapolation is called predicted, or indicative; beyond it is speculative."""
FARTHEST = INDICATIVE**2
"""Beyond so many times the largest size there is no number: the network grows a tier about every eight times, and two tiers are unknown then."""
DRAWS = 1000
_SEED = 20_240_102
_FARTHEST_AWAY = 3.0
"""No size is drawn further than a factor of e^3 away: tails of Student's t with two degrees of freedom know no end."""
_MUCH = 2.0
"""An error of half the size is much nearer, and one of twice the noise is no noise."""
_EQUALLY_WELL = 1.1
"""Laws that miss the sizes by no more than so many times the least, or the noise, are not told apart: 80 % bands then cover 85 to 89 % of studies
made by one of these laws (`tests/models/test_extrapolation.py`)."""

Trust = Literal["measured", "predicted", "indicative", "speculative", "refused"]
Span = tuple[float, float]


def trust_in(ranks: float, largest: float) -> Trust:
    """How far to trust a law at so many ranks, where it was fitted to sizes up to the largest."""
    ratio = ranks / largest
    bounds: tuple[tuple[float, Trust], ...] = (
        (1, "measured"), (PREDICTED, "predicted"), (INDICATIVE, "indicative"), (FARTHEST, "speculative"),
    )  # fmt: skip
    return next((trust for bound, trust in bounds if ratio <= bound), "refused")


@dataclass(frozen=True)
class Measured:
    """Sizes of one study, ascending."""

    ranks: Floats
    throughput: Floats
    spread: Floats
    """The standard deviation of each, as a share of it."""

    def __len__(self) -> int:
        return len(self.ranks)

    def without_largest(self) -> "Measured":
        """All sizes but the last."""
        return Measured(self.ranks[:-1], self.throughput[:-1], self.spread[:-1])


@dataclass(frozen=True)
class Prediction:
    """What a study says of one size: throughput of the whole job."""

    ranks: float
    trust: Trust
    value: float | None
    """None where a number is refused; the ends of `within_95` are then a bound."""
    within_80: Span | None
    within_95: Span


@dataclass(frozen=True)
class Trial:
    """A law fitted to a study, and fitted again to sizes drawn anew."""

    fitted: Fitted
    draws: Floats
    """Coefficients, one row each."""
    misfit: float
    """Root mean square of the relative residuals, over the sizes that the law has to spare."""

    @property
    def law(self) -> Law:
        """Which one."""
        return self.fitted.law

    def quantiles(self, ranks: float, shares: Sequence[float], *, noise: float = 0.0) -> Floats:
        """Of the throughput at so many ranks over the draws, with as much noise on top."""
        drawn = self.law.throughput(self.draws, np.asarray(float(ranks)))
        wider = np.exp(noise * np.random.default_rng([_SEED, 1]).normal(size=len(drawn)))
        return np.asarray(np.quantile(drawn * wider, shares))


@dataclass(frozen=True)
class HeldOut:
    """A law fitted to all sizes but the largest, and asked for that one."""

    law: Law
    prediction: Prediction
    measured: float

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        assert self.prediction.value is not None
        return self.prediction.value / self.measured - 1

    @property
    def is_inside(self) -> bool:
        """Whether the measured throughput lies within the 95 % interval."""
        return self.prediction.within_95[0] <= self.measured <= self.prediction.within_95[1]


@dataclass(frozen=True)
class Extrapolation:
    """A study with the law chosen for it."""

    measured: Measured
    used: Trial
    others: tuple[Trial, ...]
    """Laws that the sizes do not rule out; the line is among them where the law in use failed at the largest size."""
    held_out: tuple[HeldOut, ...] = ()
    """Of every law that all sizes but the largest suffice for, the one in use first; empty where they suffice for none."""

    @property
    def largest(self) -> float:
        """The largest size measured."""
        return float(self.measured.ranks[-1])

    @property
    def misses(self) -> float:
        """How far the law is from the measured size that it misses most, as a share of it."""
        return float(np.abs(np.exp(_residuals(self.used.fitted, self.measured)) - 1).max())

    @property
    def is_held(self) -> bool:
        """Whether a coefficient would be negative and is held at zero: a rank that does more, the more there are."""
        return bool((self.used.fitted.coefficients == 0).any())

    def at(self, ranks: float, *, noise: float = 0.0) -> Prediction:
        """Throughput at so many ranks; `noise` widens the intervals by what a measurement there varies by, as a share."""
        trust = trust_in(ranks, self.largest)
        if trust == "refused":
            edge = FARTHEST * self.largest
            return Prediction(ranks, trust, None, None, (0.0, self.at(edge).within_95[1] / edge * ranks))
        ends = [one.quantiles(ranks, (0.025, 0.1, 0.9, 0.975), noise=noise) for one in (self.used, *self.others)]
        low, high = np.min(ends, axis=0).tolist(), np.max(ends, axis=0).tolist()
        return Prediction(ranks, trust, self.used.fitted.throughput(ranks), (low[1], high[2]), (low[0], high[3]))


def extrapolate(measured: Measured, kind: Kind) -> Extrapolation:
    """The law that a study follows, with all that its sizes leave open; needs two sizes at least."""
    trials = [_trial(law, measured) for law in _laws(len(measured), kind)]
    noise = float(np.sqrt((measured.spread**2).mean()))
    limit = _EQUALLY_WELL * max(min(trial.misfit for trial in trials), noise)
    before = measured.without_largest()
    held_out = [
        _held_out(trial.law, measured)
        for trial in trials
        if len(before) >= max(FEWEST_ACROSS, trial.law.count + (trial.law is USL))
    ]
    used = _chosen(trials, held_out, measured)
    held_out.sort(key=lambda one: one.law is not used.law)
    alike = [trial for trial in trials if trial.misfit <= limit]
    if held_out and not held_out[0].is_inside:
        alike.insert(0, trials[0])  # a law that failed where it was asked does not speak alone
    others = tuple({trial.law.id: trial for trial in alike if trial is not used}.values())
    return Extrapolation(measured, used, others, tuple(held_out))


def _laws(count: int, kind: Kind) -> list[Law]:
    """The laws that leave one of so many sizes to spare, the line first; those of two coefficients always."""
    laws = [AMDAHL, LOGARITHMIC, *([GUSTAFSON] if kind == "weak" else [])]
    return [*laws, USL] if count > USL.count else laws


def _chosen(trials: Sequence[Trial], held_out: Sequence[HeldOut], measured: Measured) -> Trial:
    """The line, unless it misses the largest size by more than noise, and another law comes nearer there and much nearer there or everywhere."""
    if len(measured) < AMDAHL.count + 2:
        return trials[0]
    line, before = held_out[0], measured.without_largest()
    noise_only = _draws(_fit(line.law, before), before, missed=0.0)
    asked = line.law.throughput(noise_only, measured.ranks[-1])
    noise = math.hypot(float(np.log(asked).std()), float(measured.spread[-1]))
    misfits = {trial.law.id: trial.misfit for trial in trials}
    nearer = [
        one
        for one in held_out
        if abs(one.error) < abs(line.error)
        and (_MUCH * abs(one.error) < abs(line.error) or _MUCH * misfits[one.law.id] < misfits[line.law.id])
    ]
    if abs(line.error) <= _MUCH * noise or not nearer:
        return trials[0]
    nearest = min(nearer, key=lambda one: abs(one.error))
    return next(trial for trial in trials if trial.law is nearest.law)


def _trial(law: Law, measured: Measured) -> Trial:
    fitted = _fit(law, measured)
    to_spare = len(measured) - law.count
    squares = float((_residuals(fitted, measured) ** 2).sum())
    misfit = math.sqrt(squares / max(to_spare, 1))
    missed = max(misfit**2 - float((measured.spread**2).mean()), 0.0) if to_spare else 0.0
    return Trial(fitted, _draws(fitted, measured, missed=missed), misfit)


def _fit(law: Law, measured: Measured) -> Fitted:
    return fit(law, measured.ranks, measured.throughput, 1 / measured.throughput**2)


def _residuals(fitted: Fitted, measured: Measured) -> Floats:
    expected = fitted.law.throughput(fitted.coefficients, measured.ranks)
    return np.asarray(np.log(expected / measured.throughput))


def _held_out(law: Law, measured: Measured) -> HeldOut:
    before = measured.without_largest()
    asked = Extrapolation(before, _trial(law, before), ()).at(
        float(measured.ranks[-1]), noise=float(measured.spread[-1])
    )
    return HeldOut(law, asked, float(measured.throughput[-1]))


def _draws(fitted: Fitted, measured: Measured, *, missed: float) -> Floats:
    """Coefficients for sizes drawn anew: normal by the uncertainty of each, and by the variance that the law misses, as Student's t.

    A law with a single size to spare knows that variance so badly that it is drawn as if it had two.
    """
    count = len(measured)
    random = np.random.default_rng([_SEED, count])
    normal = random.normal(size=(DRAWS, count))
    freedom = max(count - fitted.law.count, 2)
    student = freedom / random.chisquare(freedom, size=(DRAWS, 1))
    away = np.clip(normal * np.sqrt(measured.spread**2 + missed * student), -_FARTHEST_AWAY, _FARTHEST_AWAY)
    return fit_again(fitted, measured.ranks, away)


def most_ranks(
    extrapolation: Extrapolation, holds: Callable[[Law, Floats, Floats], NDArray[np.bool_]]
) -> tuple[float | None, Span]:
    """The largest number of ranks at which something holds that ends as ranks are added, and its 95 % interval; whole ranks.

    `holds` sees a law, coefficients and as many sizes. Where it holds as far as numbers are given the value is None, and the interval ends there;
    where it does not hold even at one rank the value is 0.
    """
    farthest = math.floor(FARTHEST * extrapolation.largest)
    trials = (extrapolation.used, *extrapolation.others)
    ends = []
    for trial in trials:
        coefficients = np.vstack([trial.fitted.coefficients, trial.draws])
        low, high = np.zeros(len(coefficients)), np.full(len(coefficients), farthest + 1.0)
        while (high - low > 1).any():
            middle = np.maximum(np.floor((low + high) / 2), 1)
            does = holds(trial.law, coefficients, middle)
            low, high = np.where(does, middle, low), np.where(does, high, middle)
        ends.append(low)
    within = [np.quantile(one[1:], [0.025, 0.975], method="nearest") for one in ends]
    value = float(ends[0][0])
    span = float(np.min(within, axis=0)[0]), float(np.max(within, axis=0)[1])
    return (None if value >= farthest else value), span
