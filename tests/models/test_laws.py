"""Laws of scaling against closed forms on paper and against published fits."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from scaleprof.models import laws
from scaleprof.models.laws import AMDAHL, GUSTAFSON, LOGARITHMIC, USL, Floats, fit

SIZES = np.array([1.0, 2, 4, 8, 16])

# smoeding/usl (data/*.rda, tests/*.Rout.save) and the README of codahale/usl4j: sizes, throughput, and what R's `usl` finds.
SPECSDM91 = ([1, 18, 36, 72, 108, 144, 216], [64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2])
RAYTRACER = ([1, 4, 8, 12, 16, 20], [20, 78, 130, 170, 190, 200])
SYNTHETIC = ([1, 2, 4, 6, 8, 10], [1, 1.8868, 3.0769, 3.5294, 3.5398, 3.3557])
HTTP = ([1, 2, 3, 4, 5, 6, 7, 8], [955.16, 1878.91, 2688.01, 3548.68, 4315.54, 5130.43, 5931.37, 6531.08])


def usl_of(curve: tuple[Sequence[float], Sequence[float]]) -> tuple[float, float, float]:
    sizes, throughput = (np.array(values, dtype=np.float64) for values in curve)
    a, b, g = laws.usl_parameters(fit(USL, sizes, throughput).coefficients)
    return float(a), float(b), float(g)


def test_the_fit_of_specsdm91_is_that_of_r() -> None:
    a, b, g = usl_of(SPECSDM91)
    assert (a, b, g) == pytest.approx((0.027728, 1.0437e-4, 89.995), rel=1e-4)
    assert math.sqrt((1 - a) / b) == pytest.approx(96.5196, rel=1e-6)
    assert (1 / a, g / a) == pytest.approx((36.0640, 3245.59), rel=1e-6)
    efficiency = [x / (g * n) for n, x in zip(*SPECSDM91, strict=True)]
    assert efficiency == pytest.approx([0.7211, 0.6148, 0.5100, 0.2860, 0.1882, 0.1370, 0.0876], abs=6e-5)


def test_other_published_curves_have_the_published_coefficients() -> None:
    a, b, g = usl_of(RAYTRACER)
    assert (round(a, 5), round(b, 5), round(g, 5)) == (0.02444, 0.00163, 20.85605)
    assert usl_of(SYNTHETIC) == pytest.approx((0.02, 0.02, 1.0), rel=5e-4)
    a, b, g = usl_of(HTTP)
    assert (round(a, 6), round(b, 8), round(g, 3)) == (0.018158, 0.00030852, 939.655)
    assert math.sqrt((1 - a) / b) == pytest.approx(56.4, abs=0.05)


def relative(throughput: Floats) -> Floats:
    return 1 / throughput**2


@pytest.mark.parametrize("reference", [1, 2])
def test_amdahl_and_gustafson_give_back_their_serial_fraction(reference: int) -> None:
    p = SIZES / reference
    x = 50 / (0.1 + 0.9 / p)
    amdahl = fit(AMDAHL, SIZES, x, relative(x))
    assert laws.serial_fraction(amdahl.coefficients, reference) == pytest.approx(0.1, rel=1e-9)
    assert amdahl.throughput(1000 * reference) == pytest.approx(50 / (0.1 + 0.9 / 1000), rel=1e-9)
    x = 50 * (p - 0.1 * (p - 1))
    gustafson = fit(GUSTAFSON, SIZES, x, relative(x))
    assert laws.scaled_serial_fraction(gustafson.coefficients, reference) == pytest.approx(0.1, rel=1e-9)
    assert gustafson.throughput(1000 * reference) == pytest.approx(50 * (1000 - 0.1 * 999), rel=1e-9)


def test_the_other_laws_go_through_points_of_their_own() -> None:
    x = SIZES / (1 + 0.25 * np.log2(SIZES))
    assert fit(LOGARITHMIC, SIZES, x, relative(x)).coefficients == pytest.approx([1, 0.25], rel=1e-9)
    x = 7 * SIZES / (1 + 0.03 * (SIZES - 1) + 0.002 * SIZES * (SIZES - 1))
    found = laws.usl_parameters(fit(USL, SIZES, x, relative(x)).coefficients)
    assert [float(one) for one in found] == pytest.approx([0.03, 0.002, 7], rel=1e-8)


def test_without_coherence_the_universal_law_is_amdahls() -> None:
    x = SIZES / (1 + 0.05 * (SIZES - 1))
    a, b, _ = laws.usl_parameters(fit(USL, SIZES, x, relative(x)).coefficients)
    assert float(a) == pytest.approx(laws.serial_fraction(fit(AMDAHL, SIZES, x, relative(x)).coefficients, 1))
    assert float(b) == pytest.approx(0, abs=1e-9)


def test_coefficients_are_never_negative() -> None:
    faster = SIZES**1.1  # a rank does more, the more there are
    for law in (AMDAHL, LOGARITHMIC, GUSTAFSON, USL):
        assert (fit(law, SIZES, faster, relative(faster)).coefficients >= 0).all()
    assert fit(AMDAHL, SIZES, faster, relative(faster)).coefficients[1] == 0


def test_bounded_least_squares_are_the_best_of_all_that_are_allowed() -> None:
    random = np.random.default_rng(1)
    basis, weights = random.normal(size=(6, 3)), random.uniform(0.5, 2, size=6)
    values = random.normal(size=(20, 6))
    found = laws.nonnegative(basis, values, weights)
    assert (found >= 0).all()
    slope = (
        weights * (found @ basis.T - values)
    ) @ basis  # of half the squares: zero where free, upwards where held at zero
    assert np.abs(slope * found).max() < 1e-9
    assert slope.min() > -1e-9


def test_a_law_fitted_again_to_its_own_values_stays_and_follows_small_changes() -> None:
    x = SIZES / (1 + 0.03 * (SIZES - 1) + 0.002 * SIZES * (SIZES - 1))
    for law in (AMDAHL, GUSTAFSON, USL):
        first = fit(law, SIZES, x, relative(x))
        own = law.throughput(first.coefficients, SIZES)
        away = np.vstack([np.zeros(5), [0.001, -0.002, 0.001, 0.003, -0.001]])
        same, moved = laws.fit_again(first, SIZES, away)
        assert same == pytest.approx(first.coefficients, rel=1e-7, abs=1e-12)
        shifted = own * np.exp(away[1])
        exact = fit(law, SIZES, shifted, relative(shifted))
        assert law.throughput(moved, SIZES) == pytest.approx(law.throughput(exact.coefficients, SIZES), rel=1e-4)
