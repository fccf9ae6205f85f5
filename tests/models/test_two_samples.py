"""Two samples against answers on paper, against every division counted one by one, and against what scipy 1.18 says of the same numbers."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from scaleprof.models.two_samples import (
    MOST_EXACT,
    cliffs_delta,
    hodges_lehmann,
    holm,
    least_p,
    mann_whitney,
    student_p,
    student_quantile,
)


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)


@pytest.mark.parametrize(("size", "p"), [(2, 2 / 6), (3, 2 / 20), (4, 2 / 70), (5, 2 / 252)])
def test_samples_that_do_not_overlap_have_the_smallest_p_there_is(size: int, p: float) -> None:
    low, high = np.arange(size, dtype=float), np.arange(size, dtype=float) + 100
    assert mann_whitney(low, high) == pytest.approx(p, rel=1e-12)
    assert mann_whitney(high, low) == pytest.approx(p, rel=1e-12)
    assert least_p(size, size) == pytest.approx(p, rel=1e-12)


def test_an_exact_p_on_paper() -> None:
    # Ranks of base 1 2 3 4 6 8: U = 24 - 21 = 3. Of 924 divisions 1 + 1 + 2 + 3 have U of 0, 1, 2, 3, and as many at the other end.
    base, new = values(3.9, 4.0, 4.1, 4.2, 4.4, 4.6), values(4.3, 4.5, 4.7, 4.8, 4.9, 5.1)
    assert mann_whitney(base, new) == pytest.approx(14 / 924, rel=1e-12)
    assert mann_whitney(base, new) == pytest.approx(0.015151515151515152, rel=1e-12), "scipy, method='exact'"


def test_ties_count_every_division_of_the_midranks() -> None:
    base, new = values(1.1, 2.4, 2.4, 3.0, 3.3), values(2.4, 3.3, 4.0, 5.2)
    # 1.1 has rank 1, the three 2.4 share 3, 3.0 has 5, the two 3.3 share 6.5.
    ranks = [1, 3, 3, 5, 6.5, 3, 6.5, 8, 9]
    seen = abs(sum(ranks[:5]) - 25)
    far = [abs(sum(chosen) - 25) >= seen for chosen in combinations(ranks, 5)]
    assert len(far) == 126
    assert mann_whitney(base, new) == pytest.approx(sum(far) / 126, rel=1e-12)


def test_every_small_sample_agrees_with_counting() -> None:
    random = np.random.default_rng(3)
    for sizes in ((1, 4), (2, 5), (3, 6), (5, 5)):
        everything = random.integers(0, 6, sum(sizes)).astype(float)
        order = np.sort(everything)
        ranks = [
            (np.searchsorted(order, one) + 1 + np.searchsorted(order, one, side="right")) / 2 for one in everything
        ]
        middle = sizes[0] * (sum(sizes) + 1) / 2
        seen = abs(sum(ranks[: sizes[0]]) - middle)
        far = [abs(sum(chosen) - middle) >= seen - 1e-9 for chosen in combinations(ranks, sizes[0])]
        found = mann_whitney(everything[: sizes[0]], everything[sizes[0] :])
        assert found == pytest.approx(sum(far) / len(far), rel=1e-12)


def test_what_is_all_the_same_or_empty_shows_nothing() -> None:
    assert mann_whitney(np.ones(8), np.ones(9)) == 1.0
    assert mann_whitney(np.ones(40), np.ones(30)) == 1.0
    assert mann_whitney(np.ones(0), np.ones(3)) == 1.0
    assert least_p(0, 3) == 1.0


def test_many_values_take_the_normal_distribution_as_scipy_does() -> None:
    base = (np.arange(30) * 37 % 30 / 10).round(1)
    new = (np.arange(28) * 11 % 28 / 10 + 0.7).round(1)
    assert len(base) + len(new) > MOST_EXACT
    # scipy.stats.mannwhitneyu(base, new, method="asymptotic", use_continuity=True)
    assert mann_whitney(base, new) == pytest.approx(SCIPY_ASYMPTOTIC, rel=1e-9)


SCIPY_ASYMPTOTIC = 0.015833149818959467


def test_the_shift_and_its_interval_on_paper() -> None:
    found = hodges_lehmann(values(1, 2, 3, 4), values(5, 6, 7, 8))
    # 16 differences from 1 to 7, 4 in the middle; of 70 divisions one has U = 0, and 1/70 <= 2.5 % < 2/70: none is left out.
    assert (found.value, found.low, found.high) == (4, 1, 7)
    few = hodges_lehmann(values(1, 2, 3), values(5, 6, 7))
    assert (few.value, few.low, few.high) == (4, None, None), "three against three have no 95 % interval"


def test_the_interval_holds_the_shifts_that_the_test_would_not_refuse() -> None:
    random = np.random.default_rng(5)
    base, new = random.normal(10, 1, 9), random.normal(11, 1, 8)
    found = hodges_lehmann(base, new)
    assert found.low is not None
    assert found.high is not None
    for shift, refused in (
        (found.low - 1e-6, True),
        (found.low + 1e-6, False),
        (found.high - 1e-6, False),
        (found.high + 1e-6, True),
    ):
        assert (mann_whitney(base, new - shift) <= 0.05) is refused


def test_cliffs_delta_on_paper() -> None:
    assert cliffs_delta(values(1, 2), values(3, 4)) == 1
    assert cliffs_delta(values(3, 4), values(1, 2)) == -1
    # Of 6 comparisons 4 are above, 1 below, 1 the same.
    assert cliffs_delta(values(1, 3), values(2, 3, 4)) == pytest.approx(3 / 6)


def test_holm_on_paper() -> None:
    assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("t", "freedom", "p"),
    [
        (12.7062, 1, 0.05),
        (4.302653, 2, 0.05),
        (2.776445, 4, 0.05),
        (2.228139, 10, 0.05),
        (3.169273, 10, 0.01),
        (1.959964, 1e6, 0.05),
        (0.0, 3, 1.0),
    ],
)
def test_students_t_as_in_the_tables(t: float, freedom: float, p: float) -> None:
    assert student_p(t, freedom) == pytest.approx(p, rel=1e-4)
    assert student_p(-t, freedom) == student_p(t, freedom)
    if p < 1:
        assert student_quantile(freedom, p) == pytest.approx(t, rel=1e-4)


def test_an_interval_needs_a_test_that_could_refuse() -> None:
    # Of 2 and 6 the smallest p is 2 / 28 = 0.071, of 2 and 8 it is 2 / 45 = 0.044.
    assert hodges_lehmann(np.arange(2.0), np.arange(6.0) + 10).low is None
    found = hodges_lehmann(np.arange(2.0), np.arange(8.0) + 10)
    # Only all 16 differences, 9 to 17, will do.
    assert (found.low, found.high) == (9.0, 17.0)


def test_of_many_values_as_many_differences_are_left_out_as_the_normal_distribution_says() -> None:
    # 30 against 40: 600 - 1.95996 sqrt(30 * 40 * 71 / 12) = 434.85: the 434th of 1200 from each end.
    base, new = np.arange(30) * 40.0, np.arange(40) * 1.0
    differences = np.sort(np.subtract.outer(new, base).ravel())
    found = hodges_lehmann(base, new)
    assert (found.low, found.high) == (differences[433], differences[1200 - 434])
