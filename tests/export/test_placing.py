"""A rank's times on the run's clock."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scaleprof.clock import RankClock
from scaleprof.export.placing import on_clock_of_run, placing_of
from scaleprof.results import Table

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


def view(firsts: dict[int, int], clocks: dict[int, RankClock], steps: dict[int, list[int]] | None = None) -> Any:
    """As much of a run's view as decides where ranks lie: their first times, clocks, and the starts of steps 0, 1, ..."""
    extents = {rank: Table({"first_ns": np.array([first])}) for rank, first in firsts.items()}
    of_steps = {
        rank: Table({"step": np.arange(len(of)), "start_ns": np.array(of)}) for rank, of in (steps or {}).items()
    }
    facts = {"extent": extents, "steps": of_steps}
    of_rank = SimpleNamespace(of_rank=clocks)
    return SimpleNamespace(ranks=dict.fromkeys(clocks), clocks=of_rank, fact=lambda name: facts[name])


def test_the_file_begins_with_the_first_thing_on_the_clock_of_the_run() -> None:
    # Rank 1 is 500 ahead: its 1400 is 900 on the run's clock, before rank 0's 1000.
    found = placing_of(view({0: 1000, 1: 1400}, {0: RankClock("a", 0, 0), 1: RankClock("b", 500, 9)}))
    assert (found.origin_ns, found.untold) == (900, ())
    assert found.placed(0, np.array([1000])).tolist() == [100] and found.placed(1, np.array([1400])).tolist() == [0]


def test_a_clock_that_nothing_ties_begins_the_first_common_step_with_the_others() -> None:
    clocks = {0: RankClock("a", 0, 0), 1: RankClock("b", None, None)}
    found = placing_of(view({0: 1000, 1: 70}, clocks, {0: [1100, 1200], 1: [95, 190]}))
    # Its step 0 at 95 is 1100 in the run; its first thing at 70 then is 1075, behind the origin.
    assert (found.origin_ns, found.untold) == (1000, (1,))
    assert found.placed(1, np.array([70, 95])).tolist() == [75, 100]
    # With more before its steps it begins the file.
    found = placing_of(view({0: 1000, 1: -200}, clocks, {0: [1100], 1: [95]}))
    assert found.origin_ns == 805 and found.placed(1, np.array([-200])).tolist() == [0]


def test_without_a_common_step_recordings_begin_together() -> None:
    clocks = {0: RankClock("a", 0, 0), 1: RankClock("b", None, None)}
    found = placing_of(view({0: 1000, 1: 70}, clocks, {0: [1100]}))
    assert found.placed(1, np.array([70])).tolist() == found.placed(0, np.array([1000])).tolist() == [0]
    alone = placing_of(view({1: 70}, {1: clocks[1]}))
    assert alone.origin_ns == 70 and alone.placed(1, np.array([71])).tolist() == [1]
