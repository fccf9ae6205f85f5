"""Sampled counters of all ranks on one grid, with answers on paper."""

import numpy as np
import pytest

from scaleprof.analyses.machine import hardware
from scaleprof.analyses.machine.telemetry import MOST_POINTS, Counter, binned, counter_chart, deviating
from scaleprof.results import Chart, Layer
from tests.making import Made, Step, make_view

CLOCK = Counter("gpu_sm_clock_mhz", "SM clock", "MHz")


def charts_of(*ranks: list[float], name: str = "gpu_sm_clock_mhz") -> list[Chart]:
    result = hardware.conclude(make_view([Made(steps=[Step(0, 3)], counters={name: values}) for values in ranks]), None)
    assert result is not None
    return list(result.charts)


def layers(chart: Chart) -> dict[str, Layer]:
    return {layer.name: layer for layer in chart.layers}


def test_the_band_and_the_median_are_over_ranks() -> None:
    [chart] = charts_of([100.0, 100, 100, 100], [110.0, 110, 110, 110], [130.0, 130, 130, 120])
    found = layers(chart)
    assert list(found) == ["rank 0", "rank 1", "rank 2", "median", "profiled steps"]
    assert found["median"].y == [110.0] * 4
    # Of three values the 5th percentile is a tenth of the way from the first to the second, the 95th nine tenths from the second to the third.
    assert found["median"].low == pytest.approx([101.0] * 4)
    assert found["median"].high == pytest.approx([128.0] * 3 + [119.0])
    assert (found["rank 2"].y, found["profiled steps"].style) == ([130.0, 130, 130, 120], "span")


def test_a_rank_alone_has_a_line_and_no_band() -> None:
    [chart] = charts_of([100.0, 110, 120])
    assert list(layers(chart)) == ["rank 0", "profiled steps"]


def test_the_title_names_the_rank_that_deviates() -> None:
    charts = charts_of([1750.0, 1750, 1750], [1760.0, 1760, 1760], [1740.0, 1740, 1740], [1350.0, 1350, 1350])
    # The median of the means is 1,745 MHz.
    assert [chart.title for chart in charts] == [
        "SM clock: rank 3 at 1,350 MHz, the median rank at 1,745 MHz (\N{MINUS SIGN}22.6 %)"
    ]
    [hot] = charts_of(*[[60.0, 61, 60]] * 3, [86.0, 86, 86], name="gpu_temperature_c")
    assert hot.title == "GPU temperature: rank 3 at 86 °C, the median rank at 60.3 °C"


def test_of_many_ranks_only_the_one_that_deviates_has_a_line() -> None:
    alike = [[100.0 + rank, 100.0 + rank, 101.0 + rank] for rank in range(9)]
    [chart] = charts_of(*alike)
    assert [name for name in layers(chart) if name.startswith("rank")] == []
    [chart] = charts_of(*alike, [200.0, 200, 200])
    assert [name for name in layers(chart) if name.startswith("rank")] == ["rank 9"]


def test_neither_of_two_ranks_deviates_and_few_percent_are_nothing() -> None:
    assert deviating(np.array([1.0, 2.0])) is None
    assert deviating(np.array([100.0, 100.0, 104.0])) is None
    assert deviating(np.array([100.0, 100.0, 106.0])) == 2


def test_a_long_recording_is_binned_by_means() -> None:
    times = np.arange(2400, dtype=np.int64) * 1_000_000_000
    values = np.tile([1.0, 3.0], 1200)
    found = binned({0: (times, values)}, 0)
    assert found is not None
    assert found.values.shape == (1, MOST_POINTS)
    assert found.values[0, :-1].tolist() == pytest.approx([2.0] * (MOST_POINTS - 1), abs=0.1)
    assert found.means.tolist() == [2.0]
    assert found.seconds[0] == pytest.approx(5, abs=0.1)
    chart = counter_chart(CLOCK, found, None)
    assert len(chart.layers[0].x) == MOST_POINTS


def test_nothing_is_drawn_of_what_was_not_recorded_or_never_moved() -> None:
    assert binned({0: (np.arange(4), np.array([np.nan, np.nan, np.nan, 1.0]))}, 0) is None
    assert charts_of([5.0, 5, 5], [5.0, 5, 5]) == []
    assert len(charts_of([5.0, 5, 5], [6.0, 6, 6])) == 1, "ranks that differ are worth a picture"


def test_the_section_says_which_rank_deviates_in_what() -> None:
    made = [
        Made(
            steps=[Step(0, 3)],
            counters={"gpu_sm_clock_mhz": [clock, clock, clock], "gpu_power_w": [power, power, power + 1]},
        )
        for clock, power in ((1750.0, 650.0), (1750.0, 650.0), (1750.0, 650.0), (1350.0, 500.0))
    ]
    result = hardware.conclude(make_view(made), None)
    assert result is not None
    assert result.headline == "2 counters sampled on 4 ranks; rank 3 deviates from the others in SM clock, GPU power"
