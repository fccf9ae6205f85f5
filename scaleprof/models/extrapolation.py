"""Which law of scaling a study follows, what it says of sizes that were not measured, and how far to trust it (`method` 5.3, 5.4).

Three sizes choose nothing: the straight line of Amdahl's law stands, unless runs were recorded that say more than their totals: then the replay of
the largest, if that of the smaller one predicted the largest better. From four on every law predicts each size from the smaller ones alone, and the
one that comes nearest over all of them is taken; a law that bends more than a line must leave next to nothing of the line's error. Bands are the
union of two things: a bootstrap, in which every size is drawn anew from the uncertainty of its measurement and from how far the law misses the
sizes, and the spread of the laws that the sizes do not tell apart and of the model by class of time. They are for what would be measured, so they
lie off the law as the sizes do. They are no guarantee: no size tells of a link that only a larger one crosses.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scaleprof.models.laws import Floats, Law
from scaleprof.models.rivals import (
    FEWEST,
    Measured,
    Rival,
    Trial,
    draws_of,
    errors_ahead,
    residuals,
    rivals_for,
    trial_of,
)
from scaleprof.models.scaling import Kind

FEWEST_SIZES = 3
"""A law of two coefficients goes through any two sizes."""
FEWEST_ACROSS = FEWEST
"""Sizes that suffice where smaller ones were set aside because they lie on the other side of a break of the topology."""
FEWEST_TO_CHOOSE = 4
"""Of three sizes a single one can be predicted from two smaller ones, through which every law goes."""
PREDICTED, INDICATIVE = 2, 8
"""Up to so many times the largest size an extrapolation is called predicted, or indicative; beyond it is speculative."""
FARTHEST = INDICATIVE**2
"""Beyond so many times the largest size there is no number: the network grows a tier about every eight times, and two tiers are unknown then."""
_MUCH = 2.0
"""An error of more than so many times the noise is no noise."""
_FITS_ANYTHING = "pmnf"
"""The best of 42 terms misses the sizes less than any law does, which says nothing: it widens no band where it was not chosen."""

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
class Prediction:
    """What a study says of one size: throughput of the whole job."""

    ranks: float
    trust: Trust
    value: float | None
    """None where a number is refused; the ends of `within_95` are then a bound."""
    within_80: Span | None
    within_95: Span


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
    components: Trial | None = None
    """The model by class of time, whether it is in use or not; None where the classes are not known."""

    @property
    def largest(self) -> float:
        """The largest size measured."""
        return float(self.measured.ranks[-1])

    @property
    def misses(self) -> float:
        """How far the law is from the measured size that it misses most, as a share of it."""
        return float(np.abs(np.exp(residuals(self.used.fitted, self.measured)) - 1).max())

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
    rivals = rivals_for(measured, kind)
    trials = {rival.id: trial_of(rival, measured) for rival in rivals}
    noise = float(np.sqrt((measured.spread**2).mean()))
    misfits = {id: trial.misfit for id, trial in trials.items() if id != _FITS_ANYTHING}
    # What misses the sizes by no more than noise, or least of all, is not told apart. Where spreads are known, 80 % bands then cover 87 to 89 % of
    # the truth at 2 and 8 times the largest size, and 95 % bands 97 %, in studies made by one of these laws
    # (`tests/models/test_extrapolation.py`; over twice as many studies 86 to 88 and 96 %).
    limit = max(min(misfits.values()), noise)
    used = _chosen(rivals, measured)
    held_out = [_held_out(rival, measured) for rival in rivals if len(measured) > rival.fewest]
    held_out.sort(key=lambda one: one.law.id != used.id)
    line = rivals[0].id
    alike = [id for id, misfit in misfits.items() if misfit <= limit]
    if held_out and not held_out[0].is_inside:
        alike.insert(0, line)  # a law that failed where it was asked does not speak alone
    # These know more than the sizes' totals, so what they say otherwise is open.
    alike += [id for id in ("components", "replay") if id in trials]
    others = tuple(trials[id] for id in dict.fromkeys(alike) if id != used.id)
    return Extrapolation(measured, trials[used.id], others, tuple(held_out), trials.get("components"))


def _chosen(rivals: Sequence[Rival], measured: Measured) -> Rival:
    """The line, unless it misses the largest size by more than noise and another law predicts the sizes better."""
    line = rivals[0]
    errors = {rival.id: errors_ahead(rival, measured) for rival in rivals}
    if len(measured) < FEWEST_TO_CHOOSE:
        return _replay_or(line, rivals, errors)
    if abs(errors[line.id][len(measured) - 1]) <= _MUCH * _noise_at_the_largest(line, measured):
        return line
    best, least = line, 1.0
    for rival in rivals[1:]:
        ratio, sizes = _compared(errors[rival.id], errors[line.id])
        if sizes >= rival.proofs and ratio < min(rival.most, least):
            best, least = rival, ratio
    return best


def _replay_or(line: Rival, rivals: Sequence[Rival], errors: Mapping[str, Mapping[int, float]]) -> Rival:
    """The replay of the largest run, where that of the one before told its step time better than the line: it knows more than the sizes' totals."""
    replay = next((rival for rival in rivals if rival.id == "replay"), line)
    ratio, sizes = _compared(errors[replay.id], errors[line.id])
    return replay if sizes and ratio < 1 else line


def _compared(errors: Mapping[int, float], others: Mapping[int, float]) -> tuple[float, int]:
    """Root mean square of errors over that of others, at the sizes that both have, and how many these are."""
    places = errors.keys() & others.keys()
    if not places:
        return math.inf, 0
    mine, theirs = (math.sqrt(sum(one[place] ** 2 for place in places)) for one in (errors, others))
    return (mine / theirs if theirs else math.inf), len(places)


def _noise_at_the_largest(line: Rival, measured: Measured) -> float:
    """By how much the line through the smaller sizes may miss the largest one by the uncertainty of the measurements alone, as a share."""
    before = measured.without_largest()
    fitted = line.fit(before)
    draws, _ = draws_of(fitted, before, missed=0.0, freedom=1)
    asked = fitted.law.throughput(draws, measured.ranks[-1])
    return math.hypot(float(np.log(asked).std()), float(measured.spread[-1]))


def _held_out(rival: Rival, measured: Measured) -> HeldOut:
    before = measured.without_largest()
    trial = trial_of(rival, before)
    asked = Extrapolation(before, trial, ()).at(float(measured.ranks[-1]), noise=float(measured.spread[-1]))
    return HeldOut(trial.law, asked, float(measured.throughput[-1]))


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
