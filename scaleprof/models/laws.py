"""Laws of scaling: throughput as a function of the number of ranks, each with two or three coefficients, and their fit by least squares.

A law is a sum of known functions of the ranks N with coefficients that are not negative: of the time per sample and rank N / X (Amdahl 1967,
the logarithmic law, Gunther's universal scalability law of 1993), or of the throughput X itself (Gustafson 1988). Amdahl's is the straight line
that `method` 5.3 found to predict best: N / X = c0 + c1 N. Which law to believe, and how far, is the matter of `extrapolation`; what one class
of time costs by size takes its own sums of the same kind, through `nonnegative`.

Arrays of coefficients have one more dimension than what they are for: the last one counts the functions of the law.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_ROUNDS = 60
"""Of Gauss and Newton; on measured curves ten do."""
_SETTLED = 1e-9
_ALIKE = 1e-9
"""Part of a function that others do not give already, below which it is nothing but rounding."""
_STEPS = (1.0, 0.5, 0.25, 0.0625, 0.0)
_LEAST = 1e-3
"""Of the shortest time, the first coefficient to begin with: functions that are all 0 at one rank would else give a time of 0 there."""


@dataclass(frozen=True)
class Law:
    """A family of curves."""

    id: Literal["amdahl", "logarithmic", "gustafson", "usl", "pmnf", "components", "replay"]
    name: str
    """In a sentence: `Amdahl's law`."""
    formula: str
    basis: Callable[[Floats], Floats]
    """Its functions at some sizes, in a new last dimension."""
    count: int
    """How many there are."""
    sums: Literal["time", "throughput"] = "time"
    """What they add up to: the time per sample and rank, or the throughput."""

    def throughput(self, coefficients: Floats, ranks: Floats) -> Floats:
        """X at so many ranks; both broadcast against one another."""
        total = (coefficients * self.basis(ranks)).sum(axis=-1)
        return np.asarray(ranks / total if self.sums == "time" else total)


def _powers(*functions: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    return lambda ranks: np.stack([function(np.asarray(ranks, dtype=np.float64)) for function in functions], axis=-1)


AMDAHL = Law("amdahl", "Amdahl's law", "N / X = c0 + c1 N (Amdahl 1967)", _powers(np.ones_like, lambda n: n), 2)
"""N / X = c0 + c1 N: of every sample a part is not shared among ranks."""
LOGARITHMIC = Law("logarithmic", "the logarithmic law", "N / X = c0 + c1 log2 N", _powers(np.ones_like, np.log2), 2)
"""N / X = c0 + c1 log2 N: each doubling adds the same cost, as trees of messages do."""
GUSTAFSON = Law(
    "gustafson",
    "Gustafson's law",
    "X = c0 + c1 N (Gustafson 1988)",
    _powers(np.ones_like, lambda n: n),
    2,
    "throughput",
)
"""X = c0 + c1 N: the work grows with the ranks and the part that is not shared does not; of weak studies only."""
_GUNTHER = "X = g N / (1 + a (N - 1) + b N (N - 1)) (Gunther 1993)"
USL = Law(
    "usl", "the universal scalability law", _GUNTHER, _powers(np.ones_like, lambda n: n - 1, lambda n: n * (n - 1)), 3
)
"""X = g N / (1 + a (N - 1) + b N (N - 1)): contention a, and b for every pair of ranks that must agree."""


def one_term(power: Fraction, logs: int) -> Law:
    """N / X = c0 + c1 N^power log2(N)^logs, one of Extra-P's terms; without power and logs N / X = c0. Which one is the matter of `pmnf`."""
    raised = f" N^({power})" if power not in (0, 1) else " N" * int(power)
    raised += {0: "", 1: " log2 N"}.get(logs, f" log2(N)^{logs}")
    formula = f"N / X = c0{' + c1' + raised if raised else ''} (a term of Extra-P; Calotoiu et al. 2013)"
    if not raised:
        return Law("pmnf", "Extra-P's model", formula, _powers(np.ones_like), 1)
    term = _powers(np.ones_like, lambda n: n ** float(power) * np.log2(n) ** logs)
    return Law("pmnf", "Extra-P's model", formula, term, 2)


@dataclass(frozen=True)
class Fitted:
    """A law with its coefficients."""

    law: Law
    coefficients: Floats

    def throughput(self, ranks: float) -> float:
        """X at so many ranks."""
        return float(self.law.throughput(self.coefficients, np.asarray(float(ranks))))


def fit(law: Law, ranks: Floats, throughput: Floats, weights: Floats | None = None) -> Fitted:
    """The law with the least sum of weighted squares of X's residuals; without weights as R's `usl` fits, 1 / X^2 for relative ones."""
    weights = np.ones_like(throughput) if weights is None else weights
    basis = law.basis(ranks)
    if law.sums == "throughput":
        return Fitted(law, nonnegative(basis, throughput[np.newaxis], weights)[0])
    times = ranks / throughput
    found = nonnegative(basis, times[np.newaxis], weights * (throughput / times) ** 2)[0]
    found[0] = max(found[0], _LEAST * times.min())
    for _ in range(MOST_ROUNDS):
        following = _nearer(law, found, ranks, throughput, weights)
        settled = np.abs(following - found).max() <= _SETTLED * following.max()
        found = following
        if settled:
            break
    return Fitted(law, found)


def _nearer(law: Law, found: Floats, ranks: Floats, throughput: Floats, weights: Floats) -> Floats:
    """One step of Gauss and Newton: N / time is made straight at the present times and the straight problem solved, then so far that it helps."""
    basis, times = law.basis(ranks), ranks / throughput
    now = basis @ found
    goal = nonnegative(basis, (2 * now - now**2 / times)[np.newaxis], weights * (ranks / now**2) ** 2)[0]
    tried = found + np.multiply.outer(np.array(_STEPS), goal - found)
    with np.errstate(
        divide="ignore"
    ):  # a step too far may end at a time of 0: its error is infinite, and a shorter one is taken
        expected = law.throughput(tried[:, np.newaxis, :], ranks)
    return np.asarray(tried[(weights * (throughput - expected) ** 2).sum(axis=1).argmin()])


def fit_ratios(law: Law, ranks: Floats, throughput: Floats, weights: Floats) -> Fitted:
    """The law with the least sum of weighted squares of the logarithms of expected over measured X, for errors that are a share of it.

    Each round is a straight problem around the one before (Gauss and Newton), and goes as far as it helps.
    """
    basis, goal = law.basis(ranks), ranks / throughput if law.sums == "time" else throughput
    found = above_zero(nonnegative(basis, goal[np.newaxis], weights / goal**2)[0], goal)
    for _ in range(MOST_ROUNDS):
        now = basis @ found
        aim = nonnegative(basis, (now * (1 + np.log(goal / now)))[np.newaxis], weights / now**2)[0]
        tried = found + np.multiply.outer(np.array(_STEPS), aim - found)
        with np.errstate(divide="ignore"):  # as in `_nearer`
            errors = (weights * np.log((tried @ basis.T) / goal) ** 2).sum(axis=1)
        following = above_zero(tried[errors.argmin()], goal)
        settled = np.abs(following - found).max() <= _SETTLED * following.max()
        found = following
        if settled:
            break
    return Fitted(law, found)


def above_zero(coefficients: Floats, totals: Floats) -> Floats:
    """Coefficients, one row or many, whose first one is no less than what keeps the sum above 0 where the other functions are all 0."""
    first = np.maximum(coefficients[..., :1], _LEAST * totals.min())
    return np.concatenate((first, coefficients[..., 1:]), axis=-1)


def fit_again(fitted: Fitted, ranks: Floats, away: Floats, weights: Floats | None = None) -> Floats:
    """Coefficients of the same law, one row for each row of `away`: by how much the logarithm of every throughput is off what the law says.

    Relative residuals around the law as it was fitted, which makes the problem straight: exact to first order in what is off.
    """
    basis = fitted.law.basis(ranks)
    total = basis @ fitted.coefficients
    shares = (np.ones_like(total) if weights is None else weights) / total**2
    found = nonnegative(basis, total * np.exp(-away if fitted.law.sums == "time" else away), shares)
    return above_zero(found, total)


def nonnegative(basis: Floats, values: Floats, weights: Floats, *, most: int | None = None) -> Floats:
    """Coefficients >= 0 with the least weighted squares of `values - basis @ coefficients`, exactly; one row for each row of values.

    Every choice of functions, of `most` at a time if that is said, is solved without bounds; the best one without a negative coefficient is the
    answer, of equals the one with the fewest functions. Functions that the sizes do not tell apart are never taken together.
    """
    count, root = basis.shape[1], np.sqrt(weights)
    scale = np.linalg.norm(basis, axis=0)
    scale[scale == 0] = 1.0
    columns, goal = basis / scale * root[:, np.newaxis], values * root
    best, least = np.zeros((len(values), count)), np.full(len(values), np.inf)
    for size in range(1, min(count, len(basis), most or count) + 1):
        for picked in map(list, combinations(range(count), size)):
            solved = np.zeros((len(values), count))
            straight, triangle = np.linalg.qr(columns[:, picked])
            if np.abs(np.diag(triangle)).min() <= _ALIKE * np.abs(triangle).max():
                continue
            solved[:, picked] = np.linalg.solve(triangle, straight.T @ goal.T).T
            errors = ((goal - solved @ columns.T) ** 2).sum(axis=1)
            better = (solved >= 0).all(axis=1) & (errors < least)
            best[better], least[better] = solved[better], errors[better]
    return np.asarray(best / scale)


def serial_fraction(coefficients: Floats, reference: float) -> Floats:
    """Amdahl's f in S = 1 / (f + (1 - f) / p), p = N / reference, from c0 + c1 N; one per row."""
    return np.asarray(coefficients[..., 1] * reference / (coefficients[..., 0] + coefficients[..., 1] * reference))


def scaled_serial_fraction(coefficients: Floats, reference: float) -> Floats:
    """Gustafson's f in S = p - f (p - 1), p = N / reference, from X = c0 + c1 N."""
    return np.asarray(coefficients[..., 0] / (coefficients[..., 0] + coefficients[..., 1] * reference))


def usl_parameters(coefficients: Floats) -> tuple[Floats, Floats, Floats]:
    """Contention a, coherence b and the throughput g of one rank in Gunther's X = g N / (1 + a (N - 1) + b N (N - 1)).

    X is largest at sqrt((1 - a) / b) ranks, and without coherence never more than g / a.
    """
    first = coefficients[..., 0]
    return coefficients[..., 1] / first, coefficients[..., 2] / first, 1 / first
