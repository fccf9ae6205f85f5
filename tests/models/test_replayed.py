"""A replayed curve as a law, and when it is taken for a study."""

import numpy as np
import pytest

from scaleprof.models.extrapolation import extrapolate
from scaleprof.models.replayed import Replayed
from scaleprof.models.rivals import Measured, rivals_for

RANKS = np.array([1.0, 2.0, 4.0, 8.0])


def curve(of: int, times: list[float]) -> Replayed:
    return Replayed(of, RANKS, np.array(times))


def measured(*replays: Replayed | None) -> Measured:
    """Times per sample and rank of 10, 16 and 19 at 1, 2 and 4 ranks: what 1 and 2 say of 4 by a straight line is 28."""
    ranks = RANKS[:3]
    return Measured(ranks, ranks / np.array([10.0, 16.0, 19.0]), np.full(3, 0.005), None, replays)


def test_a_curve_is_straight_between_sizes_on_logarithmic_axes() -> None:
    law = curve(4, [10, 6, 4, 3]).law()
    times = RANKS / law.throughput(np.ones(1), RANKS)
    assert times == pytest.approx([10, 6, 4, 3])
    between, beyond = np.array([np.sqrt(32.0), 16.0]) / law.throughput(np.ones(1), np.array([np.sqrt(32.0), 16.0]))
    assert between == pytest.approx(np.sqrt(12))
    assert beyond == pytest.approx(3 * 3 / 4)


def test_the_replay_is_taken_where_that_of_the_smaller_size_predicted_the_largest_better_than_the_line() -> None:
    good, largest = curve(2, [11, 16, 20, 22]), curve(4, [11, 16, 19, 20.5])
    law = extrapolate(measured(None, good, largest), "weak")
    assert law.used.law.id == "replay"
    assert law.at(8).value == pytest.approx(8 / 20.5)
    low, high = law.at(8).within_95
    assert low < 8 / 20.5 < high
    [check] = [one for one in law.held_out if one.law.id == "replay"]
    assert check.error == pytest.approx(19 / 20 - 1)


@pytest.mark.parametrize(
    "replays",
    [
        (),
        (None, curve(2, [11, 16, 29, 40]), curve(4, [11, 16, 19, 20])),  # the line says 28: nearer to 19 than 29
        (None, None, curve(4, [11, 16, 19, 20])),  # nothing says how good it is
        (None, curve(2, [11, 16, 20, 22]), None),
    ],
    ids=["none", "worse", "never tried", "not of the largest"],
)
def test_else_the_line_stands(replays: tuple[Replayed | None, ...]) -> None:
    assert extrapolate(measured(*replays), "weak").used.law.id == "amdahl"


def test_a_replay_that_was_not_taken_still_widens_the_band() -> None:
    worse = (None, curve(2, [11, 16, 29, 40]), curve(4, [11, 16, 19, 90]))
    without, with_replay = extrapolate(measured(), "weak").at(8), extrapolate(measured(*worse), "weak").at(8)
    assert with_replay.within_95[0] < without.within_95[0]
    assert [rival.id for rival in rivals_for(measured(), "weak")].count("replay") == 0
