"""One-term models as Extra-P makes them: its own test cases, and what it refuses."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.models.pmnf import TERMS, fit_pmnf

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
POINTS = np.array([2.0, 4.0, 8.0, 16.0, 32.0])


def test_there_are_the_42_terms() -> None:
    assert len(TERMS) == len(set(TERMS)) == 42
    assert sum(1 for _, logs in TERMS if logs == 2) == 10


@pytest.mark.parametrize(("power", "logs"), TERMS, ids=str)
def test_every_term_is_found_again(power: Fraction, logs: int) -> None:
    values = 200 + 10 * POINTS ** float(power) * np.log2(POINTS) ** logs
    found = fit_pmnf(POINTS, values)
    assert (found.power, found.logs) == (power, logs)
    assert (found.constant, found.factor) == pytest.approx((200, 10), rel=1e-6)
    assert found.at(np.array([64.0])) == pytest.approx([200 + 10 * 64 ** float(power) * 6**logs], rel=1e-6)


def published(foreign_traces: Path, name: str) -> dict[str, Any]:
    content = yaml.safe_load((foreign_traces.parent / "published.yaml").read_text())
    [found] = [one for one in content["usl_and_extra_p_reference_fits"] if one["id"] == name]
    return dict(found)


def test_extra_ps_own_measurements(foreign_traces: Path) -> None:
    case = published(foreign_traces, "extrap-one-parameter-6")
    points = np.array(case["p"], dtype=float)
    constant = fit_pmnf(points, np.full(len(points), case["met1"]["value"]))
    assert (constant.factor, str(constant)) == (0.0, "4.068")
    square = fit_pmnf(points, np.array(case["met2"]["values"], dtype=float))
    assert (square.power, square.logs) == (2, 0)
    assert square.factor == pytest.approx(1e-6, rel=1e-6)
    noisy = published(foreign_traces, "extrap-one-parameter-1")
    means = np.array([np.mean(repeats) for repeats in noisy["mean_of"]])
    found = fit_pmnf(np.array(noisy["p"], dtype=float), means)
    # Near p^2 by construction: whatever term is taken predicts the points within 3 %.
    assert found.at(np.array(noisy["p"], dtype=float)) == pytest.approx(means, rel=0.03)
    assert 1.5 <= found.power <= 2.25


def test_without_a_trend_the_constant_is_the_model() -> None:
    found = fit_pmnf(POINTS, np.array([5.0, 5.1, 4.9, 5.05, 4.95]))
    assert found.factor == 0.0
    assert found.at(np.array([1000.0])) == pytest.approx([5.0])


def test_logarithms_need_points_of_at_least_one() -> None:
    found = fit_pmnf(np.array([0.25, 0.5, 1.0, 2.0, 4.0]), np.array([1.25, 1.5, 2.0, 3.0, 5.0]))
    assert (found.power, found.logs) == (1, 0)


@pytest.mark.parametrize(
    ("points", "values"),
    [([1, 2, 3, 4], [1, 2, 3, 4]), ([0, 1, 2, 3, 4], [1, 2, 3, 4, 5]), ([1, 2, 3, 4, 5], [1, 2, 3, 4, np.nan])],
)
def test_what_is_too_little_or_no_number_is_refused(points: list[float], values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"points|finite"):
        fit_pmnf(np.array(points, dtype=float), np.array(values, dtype=float))
