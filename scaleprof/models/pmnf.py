"""One-term performance models f(p) = c0 + c1 p^i log2(p)^j, chosen as Extra-P chooses them (performance model normal form; Calotoiu et al., SC13).

Of 42 terms the one that predicts left-out points best, by the symmetric mean absolute error; the constant where none predicts better. Extra-P's term
set and rules, for comparison: `method` 5.3 says why they extrapolate badly from few points.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_POINTS = 5
"""Extra-P asks for as many."""
LEAST_PART = 0.0005
"""Of the function's value: a constant or a term that is nowhere more than this is none."""


def _terms() -> tuple[tuple[Fraction, int], ...]:
    by_logs = {
        0: "1/4 1/3 1/2 2/3 3/4 4/5 1 5/4 4/3 3/2 5/3 7/4 2 9/4 7/3 5/2 8/3 11/4 3",
        1: "0 1/4 1/3 1/2 2/3 3/4 1 5/4 4/3 3/2 2 5/2 3",
        2: "0 1/4 1/3 1/2 2/3 3/4 1 3/2 2 5/2",
    }
    return tuple((Fraction(power), logs) for logs, powers in by_logs.items() for power in powers.split())


TERMS = _terms()
"""(i, j) of the 42 terms; of two that predict equally well the earlier one is taken."""


@dataclass(frozen=True)
class Pmnf:
    """A model of one term."""

    constant: float
    factor: float
    power: Fraction
    """i; 0 with `logs` 0 is the constant model."""
    logs: int
    """j."""
    error: float
    """Symmetric mean absolute error over the left-out points: 0..2."""

    def at(self, points: Floats) -> Floats:
        """f at some p, shape as given."""
        return self.constant + self.factor * _values(np.asarray(points, dtype=np.float64), self.power, self.logs)

    def __str__(self) -> str:
        if not self.factor:
            return f"{self.constant:.4g}"
        power = f" p^({self.power})" if self.power else ""
        logs = f" log2(p)^{self.logs}" if self.logs else ""
        return f"{self.constant:.4g} + {self.factor:.4g}{power}{logs}"


def fit_pmnf(points: Floats, values: Floats) -> Pmnf:
    """The model of these measurements, both of shape (n,). ValueError for fewer than five points, for p <= 0 and for what is not finite."""
    p, y = np.asarray(points, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(p) < LEAST_POINTS or len(p) != len(y):
        raise ValueError(f"a one-term model needs at least {LEAST_POINTS} points, not {len(p)}")
    if not (np.isfinite(p).all() and np.isfinite(y).all() and (p > 0).all()):
        raise ValueError("points must be finite and above 0, values finite")
    mean = float(y.mean())
    best = Pmnf(mean, 0.0, Fraction(0), 0, _error(np.full_like(y, mean), y))
    if not best.error:
        return best
    for power, logs in TERMS if (p >= 1).all() else tuple(term for term in TERMS if not term[1]):
        x = _values(p, power, logs)
        left_out = np.array([_predicted(x, y, out) for out in range(len(p))])
        constant, factor = _fitted(x, y)
        if factor == 0 or _part(factor * x, constant + factor * x) < LEAST_PART:
            continue
        error = _error(left_out, y)
        if np.isfinite(error) and error < best.error:
            best = Pmnf(constant, factor, power, logs, error)
    return best


def _values(points: Floats, power: Fraction, logs: int) -> Floats:
    raised = points ** float(power)
    return np.asarray(raised * np.log2(points) ** logs if logs else raised)


def _predicted(x: Floats, y: Floats, out: int) -> float:
    """The value of one point by the others."""
    kept = np.arange(len(x)) != out
    constant, factor = _fitted(x[kept], y[kept])
    if _part(np.full(1, constant), constant + factor * x[kept]) < LEAST_PART:
        constant = 0.0
    return float(constant + factor * x[out])


def _fitted(x: Floats, y: Floats) -> tuple[float, float]:
    """c0 and c1 by least squares."""
    mean = x.mean()
    around = x - mean
    spread = float(around @ around)
    factor = float(around @ (y - y.mean())) / spread if spread > 0 else 0.0
    return float(y.mean() - factor * mean), factor


def _part(part: Floats, whole: Floats) -> float:
    """The largest share of a part, over the points."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.abs(part / whole)
    return float(np.nanmax(np.where(np.isfinite(shares), shares, np.inf)))


def _error(predicted: Floats, actual: Floats) -> float:
    sums = np.abs(predicted) + np.abs(actual)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.where(sums > 0, 2 * np.abs(predicted - actual) / sums, 0.0)
    return float(errors.mean())
