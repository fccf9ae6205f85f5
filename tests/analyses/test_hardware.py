"""What is made of the counters of a GPU."""

import numpy as np
import pytest

from scaleprof.analyses.machine import hardware
from tests.making import Made, Step, make_view


def test_reasons_for_low_clocks_become_shares_of_the_time() -> None:
    reasons = [0x0, 0x1, 0x4, 0x44]  # none, idle, power cap, power cap and heat
    view = make_view([Made(steps=[Step(0, 10)], counters={"gpu_throttle_reasons": [float(bits) for bits in reasons]})])
    table = view.fact("hardware")[0]
    assert set(table.columns) == {"time_ns", "gpu_throttled_share", "gpu_power_capped_share", "gpu_too_hot_share"}
    assert table["gpu_throttled_share"].tolist() == [0, 0, 1, 1]
    assert table["gpu_power_capped_share"].tolist() == [0, 0, 1, 1]
    assert table["gpu_too_hot_share"].tolist() == [0, 0, 0, 1]
    result = hardware.conclude(view, None)
    assert result is not None
    assert "GPU slowed down by heat: 25.0 % on average" in [chart.title for chart in result.charts]


def test_a_gpu_that_never_throttled_says_so_and_a_missing_sample_says_nothing() -> None:
    view = make_view([Made(steps=[Step(0, 10)], counters={"gpu_throttle_reasons": [0.0, np.nan, 0.0]})])
    table = view.fact("hardware")[0]
    assert set(table.columns) == {"time_ns", "gpu_throttled_share"}
    assert table["gpu_throttled_share"].tolist() == pytest.approx([0, np.nan, 0], nan_ok=True)


def test_bytes_on_links_become_rates() -> None:
    view = make_view([Made(steps=[Step(0, 10)], counters={"gpu_nvlink_sent_bytes": [0.0, 3.0, 5.0]})])
    # The samples of a made trace are 1 ns apart.
    assert view.fact("hardware")[0]["gpu_nvlink_sent_gb_per_s"][1:].tolist() == pytest.approx([3.0, 2.0])


def test_of_many_counters_those_of_the_gpu_are_drawn() -> None:
    moving = [1.0, 2.0, 4.0, 9.0]
    host = {f"counter_{number}": moving for number in range(hardware.MOST_CHARTS)}
    view = make_view([Made(steps=[Step(0, 10)], counters={**host, "gpu_power_w": moving})])
    result = hardware.conclude(view, None)
    assert result is not None
    assert len(result.charts) == hardware.MOST_CHARTS
    assert result.charts[-1].id == "hardware.gpu_power_w"
