"""What is exported: windows of steps and seconds."""

import numpy as np
import pytest

from scaleprof.errors import OptionError
from scaleprof.export.selection import EVER, Selection, inside, window_of
from scaleprof.results import Table

SPANS = Table(
    {"step": np.array([3, 4, 5]), "since_ns": np.array([100, 200, 300]), "until_ns": np.array([210, 320, 400])}
)


def later(times: np.ndarray) -> np.ndarray:
    return times + 1000


def test_steps_last_from_their_first_beginning_to_their_last_end() -> None:
    assert window_of(SPANS, later, Selection(steps=(3, 4))) == (1100, 1320)
    assert window_of(SPANS, later, Selection(steps=(6, 9))) is None
    assert window_of(None, later, Selection(steps=(3, 4))) is None
    assert window_of(SPANS, later, Selection()) == EVER


def test_one_step_and_one_moment_are_a_choice() -> None:
    assert window_of(SPANS, later, Selection(steps=(4, 4))) == (1200, 1320)
    assert Selection(seconds=(1.5, 1.5)).seconds_ns == (1_500_000_000, 1_500_000_000)
    assert Selection(seconds=(0.25, 1e9)).seconds_ns == (250_000_000, 10**18)


def test_of_steps_and_seconds_both_hold() -> None:
    assert window_of(SPANS, later, Selection(steps=(3, 4), seconds=(1.2e-6, 9.0))) == (1200, 1320)


def test_what_touches_a_window_only_at_its_ends_is_outside() -> None:
    start, end = np.array([0, 5, 10, 15, 10, 20]), np.array([10, 11, 12, 30, 10, 25])
    assert inside(start, end, (10, 20)).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": (4, 3)},
        {"seconds": (2.0, 1.0)},
        {"budget_mb": -1.0},
        {"budget_mb": float("nan")},
        {"seconds": (0.0, float("inf"))},
        {"seconds": (-1e10, 2.0)},
        {"seconds": (float("nan"), 2.0)},
    ],
)
def test_what_makes_no_sense_is_said(wrong: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(OptionError):
        Selection(**wrong)  # type: ignore[arg-type]
