"""A rank's times on the run's clock."""

import numpy as np
import pytest

from scaleprof.clock import RankClock
from scaleprof.export.placing import on_clock_of_run

NOW = 1_700_000_000_000_000_000


@pytest.mark.parametrize("drift", [0.0, 37.25, -812.0, None])
def test_it_is_what_the_clock_says_of_single_times(drift: float | None) -> None:
    clock = RankClock("host", 5_000_123, 10, at_ns=NOW, drift_ppm=drift)
    times = NOW + np.array([-9_999_999_937, 0, 1, 123_456_789, 86_400_000_000_000])
    expected = [time - (clock.offset_at(time) or 0) for time in times.tolist()]
    assert on_clock_of_run(clock, times).tolist() == expected


def test_on_paper() -> None:
    # 2 ms ahead at the first measurement, and 10 us more each second: half a second later 2.005 ms.
    clock = RankClock("host", 2_000_000, 10, at_ns=NOW, drift_ppm=10.0)
    assert on_clock_of_run(clock, np.array([NOW + 500_000_000])).tolist() == [NOW + 500_000_000 - 2_005_000]


def test_order_is_kept_to_the_ns_by_a_clock_that_drifts() -> None:
    clock = RankClock("host", 0, 10, at_ns=NOW, drift_ppm=999.0)
    assert (np.diff(on_clock_of_run(clock, NOW + np.arange(5_000))) >= 0).all()
