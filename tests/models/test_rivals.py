"""How rivals are fitted, weighted, drawn anew and compared; Extra-P's term among them."""

import math

import numpy as np
import pytest

from scaleprof.models.extrapolation import extrapolate
from scaleprof.models.laws import AMDAHL, USL, Floats, fit_ratios, nonnegative, one_term
from scaleprof.models.rivals import Measured, Rival, errors_ahead, rivals_for, trial_of

SIZES = np.array([1.0, 2, 4, 8, 16])


def study(times: Floats, ranks: Floats = SIZES, *, spread: float = 0.01, doubt: float = 0.0) -> Measured:
    """By the time a sample takes a rank."""
    return Measured(ranks, ranks / times, np.full(len(ranks), spread), doubt=doubt)


def rival(id: str, measured: Measured) -> Rival:
    return next(one for one in rivals_for(measured, "weak") if one.id == id)


def test_who_competes_depends_on_how_many_sizes_there_are() -> None:
    names = [[one.id for one in rivals_for(study(np.ones(n), SIZES[:n]), "strong")] for n in (3, 4, 5)]
    assert names == [["amdahl", "logarithmic"], ["amdahl", "logarithmic", "usl"], ["amdahl", "logarithmic", "usl", "pmnf"]]  # fmt: skip
    assert "gustafson" in [one.id for one in rivals_for(study(np.ones(3), SIZES[:3]), "weak")]


def test_a_fit_of_ratios_finds_what_made_the_sizes_and_weighs_by_shares() -> None:
    times = 1 + 0.05 * SIZES
    found = fit_ratios(AMDAHL, SIZES, SIZES / times, np.ones(5))
    assert found.coefficients == pytest.approx([1, 0.05])
    # Two sizes, one function: the geometric mean, whichever is larger; with weights 1 and 3 the third quarter of the way.
    constant = one_term(0, 0)  # type: ignore[arg-type]
    ranks, values = np.array([1.0, 2.0]), np.array([1.0, 16.0])
    assert fit_ratios(constant, ranks, ranks / values, np.ones(2)).coefficients == pytest.approx([4.0])
    assert fit_ratios(constant, ranks, ranks / values, np.array([1.0, 3.0])).coefficients == pytest.approx([8.0])


def test_a_size_counts_by_its_ranks() -> None:
    assert study(np.ones(5)).weights == pytest.approx(SIZES / 16)


def test_functions_that_the_sizes_do_not_tell_apart_are_not_taken_together() -> None:
    basis = np.array([[0.0, 0.0, 1.0], [1.0, 2.0, 1.0], [1.0, 2.0, 1.0]])
    found = nonnegative(basis, np.array([[1.0, 3.0, 3.0]]), np.ones(3))[0]
    assert basis @ found == pytest.approx([1, 3, 3])
    assert (found[:2] > 0).sum() == 1
    assert nonnegative(basis, np.array([[1.0, 3.0, 3.0]]), np.ones(3), most=1)[0] == pytest.approx([3, 0, 0])
    assert nonnegative(np.zeros((2, 1)), np.ones((1, 2)), np.ones(2))[0] == pytest.approx([0.0])


def test_each_size_is_asked_of_the_smaller_ones() -> None:
    times = np.array([1.0, 2.0, 3.0, 6.0])
    errors = errors_ahead(
        rival("amdahl", study(times, np.array([1.0, 2, 3, 4]))), study(times, np.array([1.0, 2, 3, 4]))
    )
    # 1, 2 lie on the line N, which meets 3 and says 4 of the last time, 6: throughput 1.5 times as much.
    assert errors == pytest.approx({2: 0.0, 3: math.log(1.5)}, abs=1e-3)


def test_the_term_of_extra_p_is_a_rival_from_five_sizes_on() -> None:
    times = 1 + 0.3 * SIZES**0.5
    measured = study(times)
    found = rival("pmnf", measured).fit(measured)
    assert found.law.formula.startswith("N / X = c0 + c1 N^(1/2) (a term of Extra-P")
    assert found.coefficients == pytest.approx([1, 0.3])
    flat = study(np.full(5, 2.0))
    assert rival("pmnf", flat).fit(flat).law.count == 1
    six = np.arange(1.0, 7)
    held_out = {check.law.id: check for check in extrapolate(study(1 + 0.3 * six, six), "strong").held_out}
    assert held_out["pmnf"].error == pytest.approx(0, abs=1e-6)


def test_the_term_is_taken_once_it_has_met_two_sizes_that_no_other_law_meets() -> None:
    ranks = 2.0 ** np.arange(8)
    times = 1 + 0.02 * ranks**1.5
    taken = [extrapolate(study(times[:n], ranks[:n], spread=0.001), "strong").used.law.id for n in (6, 8)]
    assert taken[0] != "pmnf"
    assert taken[1] == "pmnf"
    # It widens no band where it was not taken, though it misses the sizes least.
    line = extrapolate(study(1 + 0.02 * ranks, ranks), "strong")
    assert line.used.law is AMDAHL
    assert "pmnf" not in {other.law.id for other in line.others}


def test_a_law_that_bends_must_leave_next_to_nothing_of_the_line_s_error() -> None:
    ranks = np.array([1.0, 4, 8, 12, 16, 20])
    raytracer = np.array(
        [20.0, 78, 130, 170, 190, 200]
    )  # smoeding/usl data/raytracer.rda; at 64 it does 310, and no peak comes
    found = extrapolate(Measured(ranks, raytracer, np.full(6, 0.01)), "strong")
    assert found.used.law is AMDAHL
    assert found.at(64).value == pytest.approx(310, rel=0.1)
    assert USL in {other.law for other in found.others}


def test_doubt_widens_what_few_sizes_cannot_tell_and_gives_way_to_many() -> None:
    def width(count: int, doubt: float) -> float:
        times = (1 + 0.05 * SIZES) * np.exp(0.002 * np.array([1, -1, 1, -1, 1]))
        measured = study(times[:count], SIZES[:count], spread=0.001, doubt=doubt)
        low, high = trial_of(rival("amdahl", measured), measured).quantiles(32, (0.1, 0.9))
        return float(np.log(high / low))

    assert width(2, 0.05) > 10 * width(2, 0.0)
    assert width(2, 0.05) > width(5, 0.05) > width(5, 0.0)


def test_bands_are_for_what_would_be_measured() -> None:
    times = (1 + 0.01 * SIZES) * np.exp(0.1 * np.array([1, -1, 0, 1, -1]))
    trial = trial_of(rival("amdahl", study(times)), study(times))
    assert np.median(trial.scatter) == pytest.approx(trial.misfit, rel=0.5)
    law_alone = np.log(trial.law.throughput(trial.draws, np.asarray(16.0))).std()
    low, high = np.log(trial.quantiles(16, (0.1, 0.9)))
    assert high - low > 2.56 * law_alone
