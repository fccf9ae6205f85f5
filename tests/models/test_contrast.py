"""Series of steps whose answer is known: blocks, repeats, verdicts, and how often chance passes for a change."""

import math

import numpy as np
import pytest

from benchmarks.compare import rates, rates_of_repeats
from scaleprof.models.contrast import (
    FEWEST_FOR_CORRELATION,
    STRICTER,
    Spread,
    block_means,
    block_steps,
    compared,
    decay,
    spread_of,
    verdict_of,
)
from scaleprof.models.two_samples import student_p

WOBBLE = np.array([0.0, 1.0, -1.0, 0.5, -0.5, 0.2, -0.3, 0.8, -0.7, 0.1, -0.1, 0.4, -0.4, 0.6, -0.6, 0.3])
"""Noise that alternates: no step passes anything on to the next."""


def test_blocks_are_as_long_as_the_formula_says() -> None:
    def kept(phi: float, steps: int) -> float:
        return phi * (1 - phi**steps) ** 2 / (steps * (1 - phi**2) - 2 * phi * (1 - phi**steps))

    assert block_steps(0.0) == 1
    for phi in (0.3, 0.5, 0.8, 0.95):
        steps = block_steps(phi)
        assert kept(phi, steps) <= 0.1 < kept(phi, steps - 1)
    # By hand for phi = 0.5: b = 8 keeps 0.5 * 0.9961^2 / (6 - 0.9961) = 0.0991, b = 7 keeps 0.1157.
    assert block_steps(0.5) == 8


def test_what_is_left_over_is_left_out_at_the_start() -> None:
    assert block_means(np.array([9.0, 1.0, 3.0, 5.0, 7.0]), 2).tolist() == [2.0, 6.0]


def test_correlation_is_seen_and_none_is_not() -> None:
    slow = np.repeat([1.0, 2.0, 1.5, 3.0, 2.5, 1.0, 2.0, 3.0], 5)
    assert decay([slow]) > 0.6
    assert decay([WOBBLE]) == 0.0
    assert decay([np.full(20, 7.3)]) == 0.0, "what never changes is not correlated"


def test_a_shift_is_found_with_its_size() -> None:
    base, new = 100 + WOBBLE, 112 + WOBBLE[::-1]
    found = compared([base], [new])
    assert found.ratio.value == pytest.approx(0.12, abs=1e-3)
    assert found.change.value == pytest.approx(new.mean() - base.mean(), rel=1e-12)
    assert found.shift.value == pytest.approx(12, abs=0.3)
    assert found.delta == 1.0
    assert found.samples == (16, 16)
    assert found.p == pytest.approx(2 / math.comb(32, 16), rel=1e-9), "none of 16 overlaps with the 16 others"
    assert verdict_of(found) == "slower"
    assert verdict_of(compared([new], [base])) == "faster"


def test_the_same_is_the_same_only_where_the_interval_says_so() -> None:
    assert verdict_of(compared([1000 + WOBBLE], [1000 + WOBBLE[::-1]])) == "same"
    assert verdict_of(compared([10 + WOBBLE], [10 + WOBBLE[::-1]])) == "inconclusive"


def test_a_change_below_what_counts_is_no_verdict() -> None:
    found = compared([1000 + WOBBLE], [1004 + WOBBLE[::-1]])
    assert found.p < 0.001
    assert verdict_of(found) == "same"
    assert verdict_of(found, least=0.001) == "slower"


def test_times_that_never_vary_differ_by_what_they_differ() -> None:
    found = compared([np.full(8, 50.0)], [np.full(8, 55.0)])
    assert (found.ratio.value, found.ratio.low, found.ratio.high) == (pytest.approx(0.1),) * 3
    assert verdict_of(found) == "slower"
    assert verdict_of(compared([np.full(8, 50.0)], [np.full(8, 50.0)])) == "same"


def test_too_few_steps_have_no_verdict() -> None:
    found = compared([np.full(3, 50.0)], [np.full(3, 99.0)])
    assert found.ratio.low is None
    assert verdict_of(found) == "inconclusive"


def test_few_steps_are_held_to_a_stricter_level() -> None:
    few = FEWEST_FOR_CORRELATION - 4
    found = compared([100 + WOBBLE[:few]], [112 + WOBBLE[:few]])
    assert found.p == pytest.approx(STRICTER * 2 / math.comb(2 * few, few), rel=1e-9)


def test_correlated_steps_that_can_never_tell_say_so() -> None:
    drift = 100 + np.linspace(0, 3, 8)
    found = compared([drift], [drift + 2])
    assert found.least_p == 1.0
    assert verdict_of(found) == "inconclusive"


def test_repeats_are_better_evidence_than_steps() -> None:
    # Steps within a run hardly vary, runs differ by 3 %: by its steps alone one of each looks certain.
    base = [level + WOBBLE * 0.1 for level in (100.0, 103.0, 97.0)]
    new = [level + WOBBLE * 0.1 for level in (103.0, 99.0, 104.0)]
    assert verdict_of(compared(base[:1], new[:1])) == "slower"
    assert verdict_of(compared(base, new, spread_of([base, new]))) == "inconclusive"


def test_students_test_of_repeats_on_paper() -> None:
    base, new = ([np.full(6, mean) for mean in means] for means in ((98.0, 100.0, 102.0), (108.0, 110.0, 112.0)))
    found = compared(base, new)
    # Pooled variance (8 + 8) / 4 = 4; error of the difference 2 sqrt(2/3) = 1.633; t(4) = 2.776 for 95 %; t = 10 / 1.633 = 6.124, p = 0.0036.
    assert found.change.value == 10
    assert found.change.high is not None
    assert found.change.high - 10 == pytest.approx(2.776445 * 2 * math.sqrt(2 / 3), rel=1e-6)
    assert found.p == pytest.approx(0.0036, abs=5e-5)
    assert (found.unit, found.samples) == ("runs", (3, 3))
    assert verdict_of(found) == "slower"


def test_spread_is_pooled_over_configurations_and_known_spread_serves_single_runs() -> None:
    runs = [[np.full(6, 99.0), np.full(6, 101.0)], [np.full(6, 198.0), np.full(6, 202.0)], [np.full(6, 5.0)]]
    spread = spread_of(runs)
    assert spread is not None
    # Both pairs differ by 2 % in logarithms: sigma = 0.02 / sqrt(2), one degree of freedom each.
    assert spread.sigma == pytest.approx(math.log(101 / 99) / math.sqrt(2), rel=1e-9)
    assert spread.freedom == 2
    assert spread_of([[np.full(6, 5.0)]]) is None
    known = compared([100 + WOBBLE * 0.01], [103 + WOBBLE * 0.01], Spread(0.014, 2))
    assert known.unit == "runs"
    assert verdict_of(known) == "inconclusive", "3 % is what runs differ by"


def test_chance_passes_for_a_change_no_more_often_than_the_level() -> None:
    # `python -m benchmarks.compare` measures more; 4 of 100 are within what chance brings in at 5 %.
    for steps, noise in ((20, "0"), (20, "0.6"), (50, "0.3")):
        found = rates(steps, noise, 100, seed=7)
        assert found.wrong <= 0.08, (steps, noise)
        assert found.covered >= 0.9, (steps, noise)
    assert rates(50, "0.3", 40, seed=7).found >= 0.9
    assert rates_of_repeats(3, 60, seed=7).wrong <= 0.08


def test_repeats_of_a_pair_speak_for_themselves() -> None:
    # Other configurations differ by 0.1 % from start to start, this one by 3 %: their spread would make 4 % certain.
    base, new = ([np.full(6, mean) for mean in means] for means in ((97.0, 100.0, 103.0), (101.0, 104.0, 107.0)))
    quiet = [[np.full(6, mean) for mean in (99.9, 100.0, 100.1)] for _ in range(6)]
    spread = spread_of([base, new, *quiet])
    assert spread is not None
    assert spread.freedom == 16
    found = compared(base, new, spread)
    # Pooled variance 9, error 3 sqrt(2/3) = 2.449, t(4) = 2.776.
    assert found.change.high == pytest.approx(4 + 2.776445 * 3 * math.sqrt(2 / 3), rel=1e-6)
    assert verdict_of(found) == "inconclusive"
    single = compared(base, new[1:2], spread)
    half = 2.119905 * spread.sigma * 102 * math.sqrt(1 / 3 + 1)
    assert single.change.high == pytest.approx(4 + half, rel=1e-6), "one run on a side borrows what all repeats say"


def test_noise_of_one_configuration_is_not_judged_by_the_quiet_ones() -> None:
    random = np.random.default_rng(11)

    def side(spread: float) -> list[np.ndarray]:
        return [100 * np.exp(spread * random.normal()) + np.zeros(6) for _ in range(3)]

    wrong = 0
    for _ in range(200):
        pairs = [(side(noise), side(noise)) for noise in (0.002, 0.002, 0.03)]
        spread = spread_of([one for pair in pairs for one in pair])
        wrong += verdict_of(compared(*pairs[2], spread)) in ("slower", "faster")
    assert wrong <= 20, "5 % of 200 are 10; judged by the spread of all three it is a fifth of them"


def test_how_many_times_the_tests_p_counts_is_said() -> None:
    for steps, times in ((FEWEST_FOR_CORRELATION - 1, STRICTER), (FEWEST_FOR_CORRELATION, 1.0)):
        found = compared([100 + WOBBLE[:steps]], [112 + WOBBLE[:steps]])
        assert found.strictness == times
        assert found.p == pytest.approx(times * 2 / math.comb(2 * steps, steps), rel=1e-9)
    assert compared([np.full(6, 1.0)] * 2, [np.full(6, 1.0)] * 2).strictness == 1.0


def test_the_interval_of_repeats_is_symmetric_in_ms_and_in_logarithms() -> None:
    base, new = ([np.full(6, mean) for mean in means] for means in ((98.0, 100.0, 102.0), (108.0, 110.0, 112.0)))
    found = compared(base, new)
    half = 2.776445 * 2 * math.sqrt(2 / 3)
    assert (found.change.low, found.change.high) == (pytest.approx(10 - half), pytest.approx(10 + half))
    assert found.ratio.low == pytest.approx(1.1 * math.exp(-half / 105) - 1)
    assert found.ratio.high == pytest.approx(1.1 * math.exp(half / 105) - 1)
    back = compared(new, base)
    assert back.ratio.low == pytest.approx(1 / (1 + found.ratio.high) - 1), "base and new can change places"


def test_repeats_vary_by_no_less_than_their_steps_imply() -> None:
    found = compared([100 + WOBBLE] * 2, [103 + WOBBLE] * 2)
    # The means of two repeats are the same; that of 16 steps is known to s / 4. t(2) = 4.302653 for 95 %.
    error = float(WOBBLE.std(ddof=1)) / 4
    assert found.change.high == pytest.approx(3 + 4.302653 * error, rel=1e-6)


def test_from_four_repeats_on_the_ranks_must_agree() -> None:
    def p(repeats: int) -> float:
        base, new = ([np.full(6, level + place / 100) for place in range(repeats)] for level in (100.0, 200.0))
        return compared(base, new).p

    assert p(3) < 1e-6
    assert p(4) == pytest.approx(2 / math.comb(8, 4)), "none of 4 overlaps with the 4 others"


def test_welchs_test_counts_what_the_steps_are_worth() -> None:
    base = 100 + np.repeat([0.0, 1.0, -1.0, 2.0, 0.5, -0.5], 2)
    new = 120 + 2 * np.repeat([1.0, -1.0, 0.0, -0.5, 2.0, 0.5], 2)
    found = compared([base], [new])
    phi = decay([base, new])
    worth = 12 * (1 - phi) / (1 + phi)
    assert (found.is_by_ranks, found.least_p, found.samples) == (False, 0.0, (int(worth), int(worth)))
    errors = base.var(ddof=1) / worth, new.var(ddof=1) / worth
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / (worth - 1) + errors[1] ** 2 / (worth - 1))
    t = (new.mean() - base.mean()) / math.sqrt(sum(errors))
    assert found.p == pytest.approx(min(1.0, STRICTER * student_p(t, freedom)), rel=1e-9)
    assert 0 < found.p < 1
