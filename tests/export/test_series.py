"""Counters of the hardware: rates stand where they begin to hold, shares are percent, a window has what held at its start."""

from dataclasses import dataclass

import numpy as np

from scaleprof.export.selection import EVER
from scaleprof.export.series import series_of, thinned
from scaleprof.trace import Samples

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Means:
    words: str
    unit: str
    factor: float = 1.0
    is_rate: bool = False


MEANINGS = {
    "sent": Means("network, sent", "MB/s", 1e-6, True),
    "busy": Means("GPU utilisation", "share", 0.01),
}


def made(**values: list[float]) -> Samples:
    count = len(next(iter(values.values())))
    return Samples(np.arange(count) * SECOND, {name: np.array(of, dtype=float) for name, of in values.items()})


def test_a_rate_begins_to_hold_at_the_first_of_its_two_samples() -> None:
    samples = made(sent=[0, 2e6, 5e6, 1e6, 2e6])
    [found] = series_of(samples, samples.time_ns, EVER, MEANINGS)
    # 2 MB in the first second, 3 in the second one; then the counter began anew, of which nothing is told; 1 MB in the last second.
    assert (found.name, found.unit) == ("network, sent", "MB/s")
    assert found.time_ns.tolist() == [0, SECOND, 3 * SECOND] and found.values.tolist() == [2, 3, 1]


def test_shares_are_percent_and_missing_samples_are_left_out() -> None:
    samples = made(busy=[50, np.nan, 100], odd_name=[1, 2, 3])
    busy, odd = series_of(samples, samples.time_ns, EVER, MEANINGS)
    assert (busy.unit, busy.values.tolist(), busy.time_ns.tolist()) == ("%", [50, 100], [0, 2 * SECOND])
    assert (odd.name, odd.unit) == ("odd name", "")


def test_a_window_begins_with_what_held_then() -> None:
    samples = made(busy=[10, 20, 30, 40])
    [found] = series_of(samples, samples.time_ns, (SECOND + 5, 3 * SECOND), MEANINGS)
    assert found.time_ns.tolist() == [SECOND + 5, 2 * SECOND] and found.values.tolist() == [20, 30]


def test_thinned_to_what_is_allowed() -> None:
    samples = made(busy=list(range(100)), odd=list(range(100)))
    series = series_of(samples, samples.time_ns, EVER, MEANINGS)
    assert thinned(series, 200) == series
    assert [len(one) for one in thinned(series, 50)] == [25, 25]


def test_thinned_there_are_never_more_than_allowed() -> None:
    # Every 2nd of 5 values leaves 3 of each curve, 9 in all; every 3rd leaves 2.
    samples = made(busy=[1, 2, 3, 4, 5], odd=[1, 2, 3, 4, 5], other=[1, 2, 3, 4, 5])
    series = series_of(samples, samples.time_ns, EVER, MEANINGS)
    assert [one.values.tolist() for one in thinned(series, 8)][1:] == [[1, 4], [1, 4]]
    assert [len(one) for one in thinned(series, 3)] == [1, 1, 1]
    assert thinned(series, 2) == [] and thinned(series, 0) == []


def test_a_counter_that_did_not_move_has_a_rate_of_nothing() -> None:
    samples = made(sent=[5, 5, 7])
    [found] = series_of(samples, samples.time_ns, EVER, MEANINGS)
    assert found.values[0] == 0 and len(found) == 2
