import math

import numpy as np
import pytest

from scaleprof.models import statistics


def test_warm_up_ends_at_the_first_three_steps_near_the_tail() -> None:
    times = np.array([50.0, 30.0, 12.0, 10.0, 10.1, 9.9, 10.0, 10.1, 9.9, 10.0, 10.05, 9.95])
    assert statistics.warm_up_steps(times) == 3


def test_a_late_outlier_is_never_dropped_and_few_steps_are_all_kept() -> None:
    times = np.array([10.0] * 8 + [99.0] + [10.0] * 3)
    assert statistics.warm_up_steps(times) == 0
    assert statistics.warm_up_steps(np.array([50.0, 10.0, 10.0, 10.0, 10.0])) == 0


def test_steps_that_are_late_again_and_again_are_no_warm_up() -> None:
    every_third = np.array([10.0, 10.1, 40.0] * 10)
    assert statistics.warm_up_steps(every_third) == 0
    assert statistics.warm_up_steps(np.concatenate([[90.0, 80.0], every_third])) == 2


def test_times_that_never_settle_lose_at_most_half() -> None:
    assert statistics.warm_up_steps(np.array([100.0, 1, 90, 2, 80, 50, 50, 50, 50, 50])) == 5


def test_the_median_interval_of_six_is_their_range_and_five_have_none() -> None:
    # 5 of 5 on one side of the median: 2 / 2**5 = 6.25 % > 5 %; 6 of 6: 3.1 %.
    six = statistics.median_interval(np.array([3.0, 1, 6, 2, 5, 4]))
    assert (six.value, six.low, six.high) == (3.5, 1.0, 6.0)
    assert statistics.median_interval(np.arange(5.0)).low is None


def test_the_median_interval_of_twenty_is_the_sixth_from_both_ends() -> None:
    # The textbook value: n = 20 gives ranks 6 and 15 (95.9 %).
    order = np.random.default_rng(5).permutation(20).astype(float)
    assert statistics.effective_count(order) == 20
    interval = statistics.median_interval(order)
    assert (interval.low, interval.high) == (5.0, 14.0)


def test_an_interval_of_constant_times_is_the_constant() -> None:
    interval = statistics.mean_interval(np.full(10, 7.0))
    assert interval == statistics.Interval(7.0, 7.0, 7.0)


def test_fewer_than_six_steps_have_a_mean_and_no_interval() -> None:
    assert statistics.mean_interval(np.array([1.0, 2.0])) == statistics.Interval(1.5, None, None)


@pytest.mark.parametrize(("phi", "count", "least"), [(0.0, 8, 0.91), (0.0, 40, 0.92), (0.5, 40, 0.88), (0.8, 60, 0.80)])
def test_the_interval_of_the_mean_covers_it_about_as_often_as_it_says(phi: float, count: int, least: float) -> None:
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        noise = random.normal(size=count + 50)
        series = np.zeros(count + 50)
        for place in range(1, len(series)):
            series[place] = phi * series[place - 1] + noise[place]
        interval = statistics.mean_interval(100 + series[50:])
        assert interval.low is not None and interval.high is not None
        hits += interval.low <= 100 <= interval.high
    assert least <= hits / 300 <= 0.995


def test_a_ratio_of_two_means_has_an_interval_around_it() -> None:
    random = np.random.default_rng(2)
    a, b = random.normal(10, 0.1, 50), random.normal(20, 0.1, 50)
    ratio = statistics.function_interval([a, b], lambda means: means[0] / means[1])
    assert ratio.value == pytest.approx(a.mean() / b.mean(), rel=1e-12)
    assert ratio.low is not None and ratio.high is not None
    assert 0.495 < ratio.low < ratio.value < ratio.high < 0.505


@pytest.mark.parametrize(("freedom", "quantile"), [(2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)])
def test_the_t_quantile_matches_the_table(freedom: int, quantile: float) -> None:
    assert math.isclose(statistics._t95(freedom), quantile, rel_tol=0.02)


def test_outliers_are_far_above_the_median_only() -> None:
    times = np.array([10.0, 10.1, 9.9, 10.0, 30.0, 1.0, 10.05])
    assert statistics.outliers(times).tolist() == [False, False, False, False, True, False, False]


def test_a_job_of_days_has_intervals_too() -> None:
    times = 100 + np.random.default_rng(1).standard_normal(400_000)
    mean, median = statistics.mean_interval(times), statistics.median_interval(times)
    for interval, spread in ((mean, 1 / np.sqrt(len(times))), (median, 1.2533 / np.sqrt(len(times)))):
        assert interval.low is not None and interval.high is not None
        assert interval.high - interval.low == pytest.approx(2 * 1.96 * spread, rel=0.1)
        assert interval.low < 100 < interval.high
