"""What a sample costs a rank, class by class: each class of time as its own sum of few functions of the ranks, and all of them together as a law.

A class obeys what makes it (`method` 5.3, 6.4), and so its functions are few; coefficients are not negative, and no time of a *step* grows faster
than N. In a weak study, where a rank's batch is constant, time per sample and rank is

    compute, memory copies, idle    c
    transfer, not told apart        c0 + c1 (N - 1) / N + c2 N     latency, ring all-reduce, a hop for each rank
    waiting for slow ranks          c0 + c1 E[max of N]            the same rank every time, and whichever is last (Blom 1958)
    pipeline bubble                 c (p - 1) / m                  p stages, m micro-batches

In a strong one a rank's batch is B / N, so what a step costs whatever its batch is N times as much per sample: compute, copies and idle get a second
function N, transfer is multiplied by N, waiting gets N E[max], and m falls as 1 / N. One rank communicates with nobody.

Arrays over sizes have the shape (sizes,); times have one unit throughout, that of N / X.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from scaleprof.models.laws import Fitted, Floats, Law, above_zero, nonnegative
from scaleprof.models.scaling import Kind

Part = Literal["compute", "wait", "transfer", "untold", "memory", "idle", "bubble"]
ORDER: tuple[Part, ...] = ("compute", "transfer", "wait", "untold", "bubble", "memory", "idle")
Stages = Literal["fixed", "grow"]
"""Ranks that are added hold more replicas of the same pipeline, or more stages of a single one."""
_LEAST_FREEDOM = 2
_FARTHEST = 3.0
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Parts:
    """What a sample costs a rank at each size of a study, by class; the classes add up to N / X."""

    kind: Kind
    """`weak` or `strong`."""
    times: Mapping[Part, Floats]
    """Of the classes that there are, in any order; each of shape (sizes,)."""
    stages: Stages = "fixed"

    def first(self, count: int) -> "Parts":
        """The smallest sizes only."""
        return Parts(self.kind, {name: values[:count] for name, values in self.times.items()}, self.stages)

    @property
    def names(self) -> tuple[Part, ...]:
        """The classes that take any time, in the order of reports."""
        return tuple(name for name in ORDER if name in self.times and (self.times[name] > 0).any())

    @property
    def total(self) -> Floats:
        """All classes together, shape (sizes,)."""
        return np.asarray(np.sum([self.times[name] for name in self.times], axis=0))


def expected_maximum(ranks: Floats) -> Floats:
    """The mean of the largest of so many standard normal numbers, shape as given: Phi^-1((N - 3/8) / (N + 1/4)) (Blom 1958); 0 for one."""
    shares = (np.asarray(ranks, dtype=np.float64) - 0.375) / (np.asarray(ranks) + 0.25)
    return np.asarray(np.vectorize(_NORMAL.inv_cdf, otypes=[np.float64])(shares))


def functions_of(part: Part, kind: Kind, stages: Stages = "fixed") -> tuple[Callable[[Floats], Floats], ...]:
    """What the time of a class per sample and rank is a sum of, with coefficients that are not negative; each keeps the shape of the ranks."""
    is_strong = kind == "strong"
    if part in ("compute", "memory", "idle"):
        return (np.ones_like, _ranks) if is_strong else (np.ones_like,)
    if part == "bubble":
        if (
            stages == "grow"
        ):  # (p - 1) micro-batches of 1 / p of the model each: one sample's worth of a rank more for each stage
            return (lambda n: n - 1,) if is_strong else (lambda n: (n - 1) / n,)
        return (_ranks,) if is_strong else (np.ones_like,)
    if part == "wait":
        waits = (_communicates, expected_maximum)
        return (*waits, lambda n: n * expected_maximum(n)) if is_strong else waits
    shapes = (_communicates, lambda n: (n - 1) / n, lambda n: n * _communicates(n))
    return tuple(_times_ranks(shape) for shape in shapes) if is_strong else shapes


def _ranks(ranks: Floats) -> Floats:
    return ranks


def _communicates(ranks: Floats) -> Floats:
    return np.asarray(ranks > 1, dtype=np.float64)


def _times_ranks(shape: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    return lambda ranks: ranks * shape(ranks)


def law_of(parts: Parts) -> Law:
    """The sum of all classes as one law; its coefficients are those of the classes, one after the other as in `Parts.names`."""
    functions = [function for name in parts.names for function in functions_of(name, parts.kind, parts.stages)]

    def basis(ranks: Floats) -> Floats:
        return np.stack([function(np.asarray(ranks, dtype=np.float64)) for function in functions], axis=-1)

    formula = f"N / X = {' + '.join(parts.names)}, each a sum of its own functions of N"
    return Law("components", "the model by class of time", formula, basis, len(functions))


def fit_parts(parts: Parts, ranks: Floats, weights: Floats) -> Fitted:
    """Every class by itself, least squares of its residuals as shares of the whole step; `weights` of shape (sizes,) say how much a size counts.

    A class takes no more functions than there are sizes with it, less one.
    """
    shares = weights / parts.total**2
    found = []
    for name in parts.names:
        basis = _basis_of(name, parts, ranks)
        found.append(nonnegative(basis, parts.times[name][np.newaxis], shares, most=_most(parts.times[name]))[0])
    return Fitted(law_of(parts), np.concatenate(found))


def fit_parts_again(
    fitted: Fitted, parts: Parts, ranks: Floats, weights: Floats, steps: Floats, random: np.random.Generator
) -> Floats:
    """Coefficients for times drawn anew, one row for each row of `steps`: by how much the logarithm of the whole step is off at each size.

    On top every class is drawn by what its own functions miss, as Student's t of what the sizes leave free.
    """
    total, shares, found = parts.total, weights / parts.total**2, []
    for name, coefficients in _split(fitted.coefficients, parts).items():
        basis = _basis_of(name, parts, ranks)
        expected = basis @ coefficients
        off = (parts.times[name] - expected) / total
        freedom = max(len(ranks) - int((coefficients > 0).sum()), 1)
        missed = float((off**2).sum()) / freedom
        freedom = max(freedom, _LEAST_FREEDOM)
        student = freedom / random.chisquare(freedom, size=(len(steps), 1))
        away = np.clip(random.normal(size=steps.shape) * np.sqrt(missed * student), -_FARTHEST, _FARTHEST)
        drawn = expected * np.exp(steps) + total * away
        found.append(nonnegative(basis, drawn, shares, most=_most(parts.times[name])))
    return above_zero(np.concatenate(found, axis=1), total)


def times_at(coefficients: Floats, parts: Parts, ranks: float) -> dict[Part, float]:
    """What each class costs per sample and rank at so many ranks, by the coefficients of `fit_parts`."""
    size = np.array([float(ranks)])
    return {name: float(_basis_of(name, parts, size)[0] @ of) for name, of in _split(coefficients, parts).items()}


def distinct(fitted: Fitted, ranks: Floats) -> int:
    """Functions that the fitted sum really consists of at these sizes: those of several classes that are the same count once."""
    used = fitted.law.basis(ranks)[:, fitted.coefficients > 0]
    return max(int(np.linalg.matrix_rank(used)), 1) if used.size else 1


def _basis_of(name: Part, parts: Parts, ranks: Floats) -> Floats:
    functions: Sequence[Callable[[Floats], Floats]] = functions_of(name, parts.kind, parts.stages)
    return np.stack([function(np.asarray(ranks, dtype=np.float64)) for function in functions], axis=-1)


def _split(coefficients: Floats, parts: Parts) -> dict[Part, Floats]:
    found, start = {}, 0
    for name in parts.names:
        count = len(functions_of(name, parts.kind, parts.stages))
        found[name] = coefficients[start : start + count]
        start += count
    return found


def _most(times: Floats) -> int:
    return max(int((times > 0).sum()) - 1, 1)
