"""What communication costs: the definitions of nccl-tests, published tables of it, and what a fit must keep."""

import numpy as np
import pytest

from scaleprof.models.communication import (
    MOST_SIZES,
    bus_factor,
    busbw_gbps,
    cost_model,
    fit_line,
    left_out_errors,
    medians,
    through_zero,
)

US = 1e3

# 8 A100 over NVLink, all_reduce_perf: stas00/ml-engineering, network/README.md, commit 744d01e. Sizes are powers of two from 32 KiB.
A100_BYTES = 32768.0 * 2.0 ** np.arange(20)
A100_US = [
    43.83, 46.80, 51.76, 61.38, 80.40, 101.9, 101.4, 101.5, 133.5, 276.6,
    424.0, 684.6, 1327.6, 2420.6, 4218.4, 8203.9, 16240, 32136, 64074, 127997,
]  # fmt: skip
A100_GBPS = [
    1.31, 2.45, 4.43, 7.47, 11.41, 18.00, 36.18, 72.33, 109.93, 106.16,
    138.49, 171.54, 176.92, 194.07, 222.72, 229.04, 231.41, 233.88, 234.61, 234.89,
]  # fmt: skip
A100_NS = np.array(A100_US) * US

# 2 RTX 2080 Ti, all-gather or reduce-scatter: NVIDIA/nccl-tests, issue 44. Sizes are powers of two from 32 KiB.
TI_BYTES = 32768.0 * 2.0 ** np.arange(13)
TI_US = [13.39, 16.57, 23.07, 31.38, 36.00, 47.38, 70.44, 120.1, 212.5, 418.5, 817.8, 1568.3, 3298.6]
TI_GBPS = [1.22, 1.98, 2.84, 4.18, 7.28, 11.06, 14.89, 17.46, 19.73, 20.05, 20.51, 21.40, 20.34]


@pytest.mark.parametrize(
    ("op", "factor"),
    [
        ("all_reduce", 1.75),
        ("all_gather", 0.875),
        ("reduce_scatter", 0.875),
        ("all_to_all", 0.875),
        ("gather", 0.875),
        ("scatter", 0.875),
        ("broadcast", 1),
        ("reduce", 1),
        ("send", 1),
        ("recv", 1),
    ],
)
def test_bus_factors_are_those_of_nccl_tests(op: str, factor: float) -> None:
    assert bus_factor(op, 8) == factor


def test_busbw_on_paper() -> None:
    assert busbw_gbps("all_reduce", 4, 50_000_000, 1_000_000) == pytest.approx(75.0)  # 50 GB/s x 2 x 3/4
    assert busbw_gbps("all_gather", 2, 1e9, 1e9) == pytest.approx(0.5)


@pytest.mark.parametrize("ranks", [2, 3, 8, 64, 1024])
def test_an_all_reduce_costs_what_its_two_halves_cost(ranks: int) -> None:
    assert bus_factor("all_reduce", ranks) == bus_factor("reduce_scatter", ranks) + bus_factor("all_gather", ranks)


def test_the_published_busbw_of_every_row_follows_from_its_size_and_time() -> None:
    worked_out = [busbw_gbps("all_reduce", 8, size, time) for size, time in zip(A100_BYTES, A100_NS, strict=True)]
    assert worked_out == pytest.approx(A100_GBPS, rel=0.01)


def test_the_published_busbw_of_an_old_version_on_two_cards_does_too() -> None:
    worked_out = [busbw_gbps("all_gather", 2, size, time * US) for size, time in zip(TI_BYTES, TI_US, strict=True)]
    assert worked_out == pytest.approx(TI_GBPS, rel=0.01)


def test_one_line_through_the_published_table_has_the_known_latency_and_bandwidth() -> None:
    plain = fit_line(A100_BYTES, A100_NS, rounds=0)
    assert 1.75 / plain.ns_per_byte == pytest.approx(210.6, abs=0.05)
    assert plain.alpha_ns / US == pytest.approx(56.3, abs=0.05)
    # Reweighting moves it by half a percent.
    robust = fit_line(A100_BYTES, A100_NS)
    assert 1.75 / robust.ns_per_byte == pytest.approx(211.7, abs=0.05)
    assert robust.alpha_ns / US == pytest.approx(55.6, abs=0.05)


def test_absolute_errors_would_see_the_large_sizes_only() -> None:
    slope, _ = np.polyfit(A100_BYTES, A100_NS, 1)
    assert 1.75 / slope == pytest.approx(235.1, abs=0.05)


def test_three_lines_and_interpolation_are_as_good_as_published() -> None:
    model = cost_model(A100_BYTES, A100_NS)
    assert (model.kind, model.edges) == ("3 lines", (0, 5, 9, 20))
    assert model.fit_error == pytest.approx(0.043, abs=0.0005)
    assert model.interpolation_error == pytest.approx(0.028, abs=0.0005)
    assert left_out_errors(A100_BYTES, A100_NS).max() == pytest.approx(0.255, abs=0.0005)  # where the protocol changes


def test_a_ring_of_known_latency_and_bandwidth_is_recovered() -> None:
    sizes = np.geomspace(1e4, 1e9, 12)
    model = cost_model(sizes, 60_000 + sizes * 1.5 / 40)
    assert model.kind == "line"
    assert model.line.alpha_ns == pytest.approx(60_000, rel=1e-6)
    assert 1.5 / model.line.ns_per_byte == pytest.approx(40, rel=1e-6)


def test_one_far_point_does_not_bend_the_line() -> None:
    sizes = np.geomspace(1e4, 1e9, 12)
    times = 60_000 + sizes / 20
    times[7] *= 5
    bent, straight = fit_line(sizes, times, rounds=0), fit_line(sizes, times)
    assert 1 / straight.ns_per_byte == pytest.approx(20, rel=0.01)
    assert straight.alpha_ns == pytest.approx(60_000, rel=0.02)
    assert abs(1 / bent.ns_per_byte - 20) > 0.2


def test_neither_latency_nor_time_per_byte_is_negative() -> None:
    sizes = np.array([1e3, 1e6, 1e9])
    assert fit_line(sizes, np.array([1.0, 2e3, 4e6])).alpha_ns == 0
    assert fit_line(sizes, np.array([3e3, 2e3, 1e3])).ns_per_byte == 0


@pytest.mark.parametrize("sizes", [[1e6], [1e6, 1e9], [1e6, 2e6, 7.9e6]])
def test_few_or_similar_sizes_do_not_tell_latency_from_bandwidth(sizes: list[float]) -> None:
    model = cost_model(np.array(sizes), np.array(sizes) / 10 + 5000)
    assert (model.kind, model.has_latency, model.line.alpha_ns) == ("bandwidth only", False, 0)
    assert model.line == through_zero(model.bytes, model.times_ns)


def test_each_size_counts_with_its_median() -> None:
    sizes, times = medians(np.array([8.0, 4.0, 8.0, 8.0]), np.array([3.0, 1.0, 100.0, 2.0]))
    assert (sizes.tolist(), times.tolist()) == ([4.0, 8.0], [1.0, 3.0])


def test_very_many_sizes_are_taken_together() -> None:
    sizes = np.geomspace(1e3, 1e9, 5000)
    model = cost_model(sizes, 1e4 + sizes / 10)
    assert len(model.bytes) <= MOST_SIZES
    assert (np.diff(model.bytes) > 0).all()
    assert 1 / model.line.ns_per_byte == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_a_prediction_is_exact_at_the_points_monotone_between_them_and_says_how_it_was_found(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 14))
    sizes = np.unique(random.integers(1, 10**9, count)).astype(float)
    times = np.sort(random.uniform(1e3, 1e8, len(sizes)))
    model = cost_model(sizes, times)
    assert [model.predict(size).time_ns for size in sizes] == times.tolist()
    grid = np.unique(np.geomspace(max(sizes[0] / 100, 1), sizes[-1] * 100, 400))
    predicted = [model.predict(size) for size in grid.tolist()]
    assert (np.diff([one.time_ns for one in predicted]) >= -1e-6).all()
    inside = (grid >= sizes[0]) & (grid <= sizes[-1])
    assert [one.how == "interpolated" for one in predicted] == inside.tolist()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_units_of_time_and_size_change_nothing(seed: int, factor: float) -> None:
    random = np.random.default_rng(seed)
    sizes = np.geomspace(1e3, 1e9, 10)
    times = (2e4 + sizes / 25) * random.lognormal(0, 0.1, 10)
    plain, slower, larger = (
        cost_model(sizes, times),
        cost_model(sizes, times * factor),
        cost_model(sizes * factor, times),
    )
    assert plain.edges == slower.edges == larger.edges
    assert slower.line.alpha_ns == pytest.approx(plain.line.alpha_ns * factor)
    assert slower.line.ns_per_byte == pytest.approx(plain.line.ns_per_byte * factor)
    assert larger.line.ns_per_byte == pytest.approx(plain.line.ns_per_byte / factor)
    assert slower.fit_error == pytest.approx(plain.fit_error)
    assert slower.predict(3e5).time_ns == pytest.approx(plain.predict(3e5).time_ns * factor)


def test_beyond_the_measured_sizes_the_last_segments_line_speaks() -> None:
    model = cost_model(A100_BYTES, A100_NS)
    beyond = model.predict(2 * A100_BYTES[-1])
    assert beyond.how == "extrapolated"
    assert beyond.time_ns == pytest.approx(model.segments[-1].time_ns(2 * A100_BYTES[-1]))
    assert beyond.time_ns == pytest.approx(2 * A100_NS[-1], rel=0.03)
    assert model.predict(1).time_ns == pytest.approx(model.segments[0].alpha_ns, rel=1e-3)
