"""Laws that compete for one study: how each is fitted to some of its sizes, drawn anew, and how well it predicts each size from the smaller ones.

Larger sizes are nearer to those that are asked for, so in every fit a size counts as many times as it has ranks (discounted least squares, Brown
1963). Residuals are logarithms: errors are a share of what is measured.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.models.components import Parts, distinct, fit_parts, fit_parts_again
from scaleprof.models.laws import (
    AMDAHL,
    GUSTAFSON,
    LOGARITHMIC,
    USL,
    Fitted,
    Floats,
    Law,
    fit_again,
    fit_ratios,
    one_term,
)
from scaleprof.models.pmnf import LEAST_POINTS, fit_pmnf
from scaleprof.models.replayed import Replayed
from scaleprof.models.scaling import Kind

FEWEST = 2
"""Sizes that a law of two coefficients goes through."""
DRAWS = 1000
SEED = 20_240_102
ALL_BUT_GONE = 1 / 8
"""Of the line's error, what a law that bends more than a line may leave: on measured curves (`python -m benchmarks.predictions`) a smaller lead told
nothing of larger sizes, where such a law was then worse more often than not."""
_FARTHEST_AWAY = 3.0
"""No size is drawn further than a factor of e^3 away: tails of Student's t with two degrees of freedom know no end."""
_EXPECTED_AS = 2
"""What sizes are expected to miss counts as much as so many sizes to spare: a single one knows a variance badly, and none does not know it at all."""


@dataclass(frozen=True)
class Measured:
    """Sizes of one study, ascending; arrays of shape (sizes,)."""

    ranks: Floats
    throughput: Floats
    spread: Floats
    """The standard deviation of each, as a share of it."""
    parts: Parts | None = None
    """What a sample costs a rank by class, where that was measured at every size; adds up to ranks / throughput."""
    replays: tuple[Replayed | None, ...] = ()
    """What the run at each size says of other sizes; empty where nothing does."""
    doubt: float = 0.0
    """What a size is expected to lie off any law, as a share, before the sizes tell: where no size was measured twice, the spread is not known."""

    def __len__(self) -> int:
        return len(self.ranks)

    @property
    def weights(self) -> Floats:
        """How much each size counts in a fit; the largest counts 1."""
        return np.asarray(self.ranks / self.ranks[-1])

    def first(self, count: int) -> "Measured":
        """The smallest sizes only."""
        parts = self.parts.first(count) if self.parts else None
        return Measured(
            self.ranks[:count], self.throughput[:count], self.spread[:count], parts, self.replays[:count], self.doubt
        )

    def without_largest(self) -> "Measured":
        """All sizes but the last."""
        return self.first(len(self) - 1)


@dataclass(frozen=True)
class Rival:
    """A law, or a family of which the sizes choose one, that may be taken for a study."""

    id: str
    fewest: int
    """Sizes that it can be fitted to."""
    fit: Callable[[Measured], Fitted]
    most: float = 1.0
    """To be taken it may leave so much of the line's error at the sizes that both predict."""
    proofs: int = 1
    """And these must be so many."""


@dataclass(frozen=True)
class Trial:
    """A law fitted to a study, and fitted again to sizes drawn anew."""

    fitted: Fitted
    draws: Floats
    """Coefficients, one row each."""
    misfit: float
    """Root mean square of the relative residuals, over the sizes that the law has to spare."""
    scatter: Floats
    """By how much a size lies off the law beyond what its measurement varies by, as a share, one for each draw."""

    @property
    def law(self) -> Law:
        """Which one."""
        return self.fitted.law

    def quantiles(self, ranks: float, shares: Sequence[float], *, noise: float = 0.0) -> Floats:
        """Of the throughput at so many ranks over the draws, off the law as the sizes are, with as much noise on top."""
        drawn = self.law.throughput(self.draws, np.asarray(float(ranks)))
        wider = np.random.default_rng([SEED, 1]).normal(size=len(drawn)) * np.sqrt(noise**2 + self.scatter**2)
        return np.asarray(np.quantile(drawn * np.exp(np.clip(wider, -_FARTHEST_AWAY, _FARTHEST_AWAY)), shares))


def rivals_for(measured: Measured, kind: Kind) -> list[Rival]:
    """Whatever can be taken for such a study, the line first; each leaves one size to spare or has two coefficients."""
    laws = [AMDAHL, LOGARITHMIC, *([GUSTAFSON] if kind == "weak" else [])]
    rivals = [Rival(law.id, FEWEST, _fit_to(law)) for law in laws]
    if measured.parts:
        alone = int((measured.ranks <= 1).sum())  # one rank says nothing of communication
        rivals.append(Rival("components", alone + FEWEST, _fit_parts))
    if measured.replays and measured.replays[-1] is not None:
        unknown = [place for place, one in enumerate(measured.replays) if one is None]
        rivals.append(Rival("replay", max(unknown, default=-1) + 2, _fit_replay))
    rivals.append(Rival("usl", USL.count + 1, _fit_to(USL), ALL_BUT_GONE))
    rivals.append(
        Rival("pmnf", LEAST_POINTS, _fit_term, ALL_BUT_GONE, proofs=2)
    )  # by chance one of 42 terms meets any size
    return [rival for rival in rivals if len(measured) >= rival.fewest]


def _fit_to(law: Law) -> Callable[[Measured], Fitted]:
    return lambda measured: fit_ratios(law, measured.ranks, measured.throughput, measured.weights)


def _fit_parts(measured: Measured) -> Fitted:
    assert measured.parts is not None
    return fit_parts(measured.parts, measured.ranks, measured.weights)


def _fit_replay(measured: Measured) -> Fitted:
    """The curve of the largest size, through what was measured there."""
    replayed = measured.replays[-1]
    assert replayed is not None
    return Fitted(replayed.law(), np.ones(1))


def _fit_term(measured: Measured) -> Fitted:
    """The term that Extra-P would take for the time per sample and rank, its coefficients not negative and fitted as those of all laws."""
    found = fit_pmnf(measured.ranks, measured.ranks / measured.throughput)
    law = one_term(found.power, found.logs if found.factor else 0)
    return _fit_to(law)(measured)


def trial_of(rival: Rival, measured: Measured) -> Trial:
    """The rival fitted to these sizes, and `DRAWS` times to sizes drawn anew."""
    fitted = rival.fit(measured)
    is_sum = rival.id == "components"
    to_spare = len(measured) - (distinct(fitted, measured.ranks) if is_sum else fitted.law.count)
    squares = float((residuals(fitted, measured) ** 2).sum())
    noise = float((measured.spread**2).mean())
    freedom = max(to_spare, 0) + _EXPECTED_AS
    off = (_EXPECTED_AS * max(noise, measured.doubt**2) + squares) / freedom
    draws, scatter = draws_of(fitted, measured, missed=max(off - noise, 0.0), freedom=freedom)
    return Trial(fitted, draws, math.sqrt(squares / max(to_spare, 1)), scatter)


def residuals(fitted: Fitted, measured: Measured) -> Floats:
    """Logarithms of expected over measured throughput, shape (sizes,)."""
    expected = fitted.law.throughput(fitted.coefficients, measured.ranks)
    return np.asarray(np.log(expected / measured.throughput))


def draws_of(fitted: Fitted, measured: Measured, *, missed: float, freedom: int) -> tuple[Floats, Floats]:
    """Coefficients for sizes drawn anew, and how far off the law a size is then, as a share.

    Each is normal by the uncertainty of its measurement, and by the variance `missed` of what the law misses, as Student's t.
    """
    count = len(measured)
    random = np.random.default_rng([SEED, count])
    normal = random.normal(size=(DRAWS, count))
    student = missed * freedom / random.chisquare(freedom, size=(DRAWS, 1))
    scatter = np.sqrt(student[:, 0])
    if fitted.law.id == "components":
        assert measured.parts is not None
        steps = np.clip(normal * measured.spread, -_FARTHEST_AWAY, _FARTHEST_AWAY)
        drawn = fit_parts_again(fitted, measured.parts, measured.ranks, measured.weights, steps, random)
        return drawn, scatter
    away = np.clip(normal * np.sqrt(measured.spread**2 + student), -_FARTHEST_AWAY, _FARTHEST_AWAY)
    return fit_again(fitted, measured.ranks, away, measured.weights), scatter


def errors_ahead(rival: Rival, measured: Measured) -> dict[int, float]:
    """By place of a size: the logarithm of what the rival, fitted to the smaller sizes only, expects of it over what was measured."""
    found = {}
    for place in range(max(rival.fewest, FEWEST), len(measured)):
        expected = rival.fit(measured.first(place)).throughput(float(measured.ranks[place]))
        found[place] = math.log(expected / float(measured.throughput[place]))
    return found
