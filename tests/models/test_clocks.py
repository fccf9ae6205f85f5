"""Clocks from the ends of collectives: on paper, and against 200 made jobs of which the truth is known."""

from dataclasses import dataclass

import numpy as np
import pytest

from scaleprof.models.clocks import (
    MOST_DRIFT,
    Known,
    Limit,
    Met,
    bounds,
    clocks_known,
    contradictions,
    extremes,
    fitted,
    fitted_both_ways,
    joined,
)

ENDS = np.array([0.0, 1e9])


def met(
    ends: list[list[float]], starts: list[list[float]], times: list[float], clocks: tuple[int, ...] = (0, 1)
) -> Met:
    """Operations with one rank on each clock, one row each."""
    end = np.array(ends, dtype=np.float64)
    return Met(clocks, np.array(times, dtype=np.float64), end, end, np.array(starts, dtype=np.float64))


# ---- causality, on paper


def test_one_operation_bounds_an_offset_from_both_sides() -> None:
    # Clock 1 is ahead by 100. Both come at 0 and 40 true time and leave at 60: (0..60) and (140..160).
    one = met([[60, 160]], [[0, 140]], [0.0])
    least, most, broken = bounds(
        [Limit(1, 0, one.time_ns, np.array([160.0])), Limit(0, 1, one.time_ns, np.array([60.0 - 140.0]))],
        2,
        np.zeros(2),
    )
    assert (least[0, 1], most[0, 1]) == (80.0, 160.0), "not before the other came, on either side"
    assert not broken


def test_bounds_go_along_a_chain_of_clocks() -> None:
    limits = [
        Limit(a, b, np.zeros(1), np.array([most]))
        for a, b, most in ((1, 0, 10.0), (0, 1, -4.0), (2, 1, 3.0), (1, 2, 1.0))
    ]
    least, most, _ = bounds(limits, 4, np.zeros(2))
    assert (least[0, 2], most[0, 2]) == (3.0, 13.0)
    assert (least[0, 3], most[0, 3]) == (-np.inf, np.inf), "nobody met clock 3"


def test_the_extremes_are_those_of_all_lines_between_the_limits() -> None:
    # At time 0 the line lies in [0, 10], at time 1e6 in [100, 110]: at 2e6 it lies between 2*100-10 and 2*110-0.
    times = np.array([0.0, 1e6])
    found = extremes((times, np.array([10.0, 110.0])), (times, np.array([0.0, 100.0])), np.array([0.0, 5e5, 2e6]))
    assert found is not None
    assert found[0].tolist() == pytest.approx([0.0, 50.0, 190.0])
    assert found[1].tolist() == pytest.approx([10.0, 60.0, 220.0])


def test_no_line_is_steeper_than_clocks_drift() -> None:
    found = extremes((np.zeros(1), np.array([10.0])), (np.zeros(1), np.array([0.0])), np.array([1e6]))
    assert found is not None
    assert (found[0][0], found[1][0]) == (-1e6 * MOST_DRIFT, 10 + 1e6 * MOST_DRIFT)


def test_limits_of_one_side_loosen_as_clocks_may_drift() -> None:
    times, nothing = np.array([0.0, 1e6]), (np.zeros(0), np.zeros(0))
    above = extremes((times, np.array([10.0, 300.0])), nothing, np.array([0.0, 1e6]))
    assert above is not None and above[1].tolist() == [10.0, 300.0] and above[0].tolist() == [-np.inf, -np.inf]
    below = extremes(nothing, (times, np.array([10.0, -3000.0])), np.array([0.0, 1e6]))
    assert below is not None and below[0].tolist() == [10.0, 10.0 - 1e6 * MOST_DRIFT] and np.isinf(below[1]).all()


def test_limits_that_no_line_fulfils_are_said() -> None:
    assert extremes((np.zeros(1), np.array([-5.0])), (np.zeros(1), np.array([5.0])), np.zeros(1)) is None
    # An operation matched wrongly: it ended on clock 1 long before it began on clock 0.
    good, bad = [[50.0, 50.0]] * 20, [[50.0, -1e6]]
    wrong = met(good + bad, [[0.0, 0.0]] * 20 + [[40.0, -2e6]], [n * 1e7 for n in range(21)])
    known, broken = clocks_known([wrong], [], 2, ENDS)
    assert broken == {(0, 1)}
    kept, dropped = contradictions([wrong], known, ENDS)
    assert (dropped, len(kept[0].time_ns)) == (1, 20)
    assert not clocks_known(kept, [], 2, ENDS)[1]


@pytest.mark.parametrize("seed", range(40))
def test_extremes_are_found_as_by_trying_every_line(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 1e6, rng.integers(1, 12)))
    level, slope = rng.uniform(-100, 100), rng.uniform(-5e-4, 5e-4)
    above = level + slope * times + rng.exponential(30, len(times))
    below = level + slope * times - rng.exponential(30, len(times))
    ends = np.array([0.0, 1.3e6])
    found = extremes((times, above), (times, below), ends)
    assert found is not None
    slopes = np.linspace(-MOST_DRIFT, MOST_DRIFT, 4001)
    low = (below[None, :] - slopes[:, None] * times[None, :]).max(axis=1)
    high = (above[None, :] - slopes[:, None] * times[None, :]).min(axis=1)
    fits = low <= high
    for place, end in enumerate(ends):
        least, most = (low + slopes * end)[fits].min(), (high + slopes * end)[fits].max()
        assert found[0][place] <= least + 1e-6 and most - 1e-6 <= found[1][place]
        assert found[0][place] >= least - 3 and found[1][place] <= most + 3, "as fine as the slopes that were tried"


# ---- statistics


def test_ends_that_agree_exactly_give_the_line_exactly() -> None:
    times = np.arange(12) * 1e8
    ends = [[time + 50, time + 50 + 700 + 20e-6 * time] for time in times]
    offset, error = joined([(one := met(ends, ends, times.tolist()), fitted(one, ENDS))], 2)
    assert offset[:, 1].tolist() == pytest.approx([700.0, 20_700.0], abs=0.01)
    assert (error[:, 1] <= 2).all()


def test_what_a_moment_says_of_a_drift_is_noise() -> None:
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, 1e6, 20))  # 1 ms
    ends = np.stack([times, times + 700 + rng.normal(0, 2000, 20)], axis=1)
    lines = fitted(met(ends.tolist(), ends.tolist(), times.tolist()), np.array([0.0, 1e6]))
    assert abs(np.diff(lines.value[:, 1] - lines.value[:, 0]))[0] < 100, "1 ms at 50 ppm is 50 ns"


def test_sets_that_share_a_clock_are_joined() -> None:
    times = (np.arange(10) * 1e8).tolist()
    one = met([[t, t + 500] for t in times], [[t, t] for t in times], times, (0, 1))
    other = met([[t, t - 200] for t in times], [[t, t] for t in times], times, (1, 2))
    offset, _ = joined([(part, fitted(part, ENDS)) for part in (one, other)], 4)
    assert offset[0, :3].tolist() == pytest.approx([0, 500, 300], abs=0.01)
    assert np.isnan(offset[0, 3]), "clock 3 never met anybody"


def test_the_clock_in_the_middle_of_three_is_known_no_better_than_the_others() -> None:
    """It is the median of every operation, so that nothing is left over on it."""
    rng = np.random.default_rng(3)
    times = np.arange(8) * 1e8
    late = np.stack([np.zeros(8), 2_000 + rng.exponential(3_000, 8), 20_000 + rng.exponential(3_000, 8)], axis=1)
    ends = (times[:, None] + late).tolist()
    lines = fitted(met(ends, ends, times.tolist(), (1, 0, 2)), ENDS)
    assert (lines.error > 100).all()


def test_errors_that_follow_one_another_count_as_fewer() -> None:
    rng = np.random.default_rng(5)
    times = np.arange(100) * 1e7

    def error(noise: np.ndarray) -> float:
        ends = np.stack([times, times + 3_000 * noise], axis=1).tolist()
        return float(fitted(met(ends, ends, times.tolist()), ENDS).error.max())

    drawn = rng.normal(0, 1, 100)
    congested = np.convolve(rng.normal(0, 1, 109), np.ones(10) / np.sqrt(10), "valid")
    assert error(congested) > 2 * error(drawn)


def test_few_operations_say_less_the_longer_ago_they_are() -> None:
    times = [0.0, 1e6, 2e6]
    ends = [[time, time + 500 + place] for place, time in enumerate(times)]
    one = met(ends, ends, times)
    near, far = fitted(one, np.array([0.0, 2e6])), fitted(one, np.array([0.0, 1e9]))
    assert near.error.max() < 60
    assert far.error[1].max() == pytest.approx(50_000, rel=0.01), "a second at 50 ppm"


def test_senders_that_leave_early_cancel_in_both_directions() -> None:
    """Clock 1 is ahead by 100, and whoever sends leaves 20 before the receiver: that is the error that remains."""
    times = np.arange(10) * 1e8
    there = met(*[[[t, t + 120] for t in times]] * 2, times.tolist())  # clock 0 sends
    back = met(*[[[t, t + 80] for t in times]] * 2, times.tolist())
    lines = fitted_both_ways(there, back, ENDS)
    apart = lines.value[:, 1] - lines.value[:, 0]
    assert apart.tolist() == pytest.approx([100, 100])
    assert np.sqrt((lines.error**2).sum(axis=1)).tolist() == pytest.approx([20, 20])
    noise = np.random.default_rng(2).normal(0, 300, (10, 2))
    noisy = [met(*[(one.end_ns + noise).tolist()] * 2, times.tolist()) for one in (there, back)]
    alone = np.sqrt((fitted(noisy[0], ENDS).error ** 2).sum(axis=1))
    assert np.sqrt((fitted_both_ways(*noisy, ENDS).error ** 2).sum(axis=1)) == pytest.approx(
        np.hypot(alone / np.sqrt(2), 20), rel=0.01
    ), "the mean of two is better than one"


def test_a_set_of_one_operation_ties_nothing() -> None:
    one = met([[60.0, 160.0]], [[0.0, 140.0]], [0.0])
    offset, _ = joined([(one, fitted(one, ENDS))], 2)
    assert np.isnan(offset[:, 1]).all()
    known, _ = clocks_known([one], [], 2, np.zeros(2))
    assert (known[1].offset_ns[0], known[1].half_width_ns[0], known[1].bound_ns[0]) == (120.0, 40.0, 40.0)


def test_a_ring_of_clocks_that_contradicts_itself_bounds_nothing() -> None:
    """Each is at least 10 ahead of the one before, all around."""
    ring = [(0, 1), (1, 2), (2, 0)]
    limits = [
        Limit(a, b, ENDS, np.full(2, most))
        for one, other in ring
        for a, b, most in ((one, other, -10.0), (other, one, 50.0))
    ]
    known, broken = clocks_known([], limits, 3, ENDS)
    assert broken == {(0, 1), (0, 2)} and not {1, 2} & set(known)


def test_a_clock_known_from_limits_alone_has_their_middle() -> None:
    known, _ = clocks_known([], [Limit(1, 0, ENDS, np.full(2, 30.0)), Limit(0, 1, ENDS, np.full(2, 10.0))], 3, ENDS)
    assert known[1].offset_ns.tolist() == pytest.approx([10.0, 10.0])
    assert known[1].bound_ns.tolist() == known[1].half_width_ns.tolist() == pytest.approx([20.0, 20.0])
    assert 2 not in known


# ---- 200 jobs with the truth beside them


@dataclass(frozen=True)
class Job:
    hosts: int = 4
    ranks_per_host: int = 2
    operations: int = 200
    seconds: float = 10.0
    exit_us: float = 3.0


def made(job: Job, seed: int) -> tuple[dict[int, Known], np.ndarray]:
    """What is known of the clocks of a job, and their true offsets at both ends: up to 3 ms and 50 ppm apart."""
    rng = np.random.default_rng(seed)
    offset, drift = rng.uniform(-3e6, 3e6, job.hosts), rng.uniform(-50e-6, 50e-6, job.hosts)
    offset[0] = drift[0] = 0
    time = np.sort(rng.uniform(0, job.seconds * 1e9, job.operations))[:, None, None]
    start = time + rng.exponential(300e3, (job.operations, job.hosts, job.ranks_per_host))
    done = start.max(axis=(1, 2), keepdims=True) + 50e3
    end = done + rng.exponential(job.exit_us * 1e3, start.shape)
    start, end = (true + offset[:, None] + drift[:, None] * true for true in (start, end))
    span = np.array([0.0, job.seconds * 1e9])
    middle = np.median(end, axis=2)
    seen = Met(tuple(range(job.hosts)), np.median(middle, axis=1), middle, end.min(axis=2), start.max(axis=2))
    known, broken = clocks_known([seen], [], job.hosts, span)
    assert not broken
    return dict(known), offset[None, :] + drift[None, :] * span[:, None]


@pytest.mark.parametrize(
    "job",
    [
        Job(),
        Job(hosts=2),
        Job(operations=20, seconds=1.0),
        Job(hosts=8, ranks_per_host=8, operations=40),
        Job(exit_us=20.0),
    ],
    ids=["4 hosts", "2 hosts", "20 operations in a second", "8 x 8 ranks", "exits 20 us apart"],
)
def test_offsets_and_drifts_of_200_jobs_are_recovered(job: Job) -> None:
    errors, within, bounded = [], [], []
    for seed in range(200):
        known, truth = made(job, seed)
        assert set(known) == set(range(job.hosts))
        for clock in range(1, job.hosts):
            error = np.abs(known[clock].offset_ns - truth[:, clock])
            errors += error.tolist()
            bounded += (error <= known[clock].bound_ns).tolist()
            within += (error <= known[clock].half_width_ns).tolist()
    assert max(errors) < 10_000, "within 10 us, at both ends, and so the drift"
    assert all(bounded), "what is guaranteed holds always"
    assert 0.93 <= np.mean(within) <= 0.99, "95 % intervals hold as often as they say"
