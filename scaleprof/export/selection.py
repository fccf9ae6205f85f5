"""What of a run is exported: which ranks, which steps or seconds, and at most how many bytes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scaleprof.errors import OptionError
from scaleprof.intervals import Ints
from scaleprof.results import Table

EVER = (-(1 << 62), 1 << 62)
"""From before all times to behind them, in ns."""
MEGABYTE = 1_000_000
MOST_SECONDS = 1_000_000_000
"""Some thirty years, which in ns are far from the end of an integer."""
BUDGET_MB = 400.0
"""A viewer in a browser holds some ten times the text in its memory, and has 4 GB or less."""


@dataclass(frozen=True)
class Selection:
    """What of a run is exported."""

    runs: tuple[str, ...] = ()
    """Names of runs, or of their folders; empty for all."""
    ranks: tuple[int, ...] = ()
    """Empty for all that were read."""
    steps: tuple[int, int] | None = None
    """The first and the last step."""
    seconds: tuple[float, float] | None = None
    """From when to when, counted from the run's first event."""
    budget_mb: float = BUDGET_MB
    """Most bytes of the file before it is compressed."""

    def __post_init__(self) -> None:
        for name, pair in (("--steps", self.steps), ("--seconds", self.seconds)):
            if pair is not None and not pair[0] <= pair[1]:
                raise OptionError(f"{name} must go from an earlier to a later one, not from {pair[0]} to {pair[1]}")
        if self.seconds is not None and max(map(abs, self.seconds)) > MOST_SECONDS:
            raise OptionError(
                f"--seconds must be numbers up to {MOST_SECONDS:,}, not {self.seconds[0]} to {self.seconds[1]}"
            )
        if not 0 < self.budget_mb < 1 << 20:
            raise OptionError(f"--budget must be a positive number of megabytes, not {self.budget_mb}")

    @property
    def seconds_ns(self) -> tuple[int, int]:
        """The seconds in ns from the origin; those of ever where none were asked for."""
        return EVER if self.seconds is None else (round(self.seconds[0] * 1e9), round(self.seconds[1] * 1e9))


def window_of(spans: Table | None, placed: Callable[[Ints], Ints], chosen: Selection) -> tuple[int, int] | None:
    """What is exported of a rank, from and to which ns of the file; None where it has none of the chosen steps. `placed` leads from the rank's clock
    to the file's."""
    since, until = chosen.seconds_ns
    if chosen.steps is None:
        return since, until
    if spans is None:
        return None
    number = np.asarray(spans["step"])
    rows = np.flatnonzero((number >= chosen.steps[0]) & (number <= chosen.steps[1]))
    if not len(rows):
        return None
    ends = placed(np.array([np.asarray(spans["since_ns"])[rows].min(), np.asarray(spans["until_ns"])[rows].max()]))
    return max(since, int(ends[0])), min(until, int(ends[1]))


def inside(start: Ints, end: Ints, window: tuple[int, int]) -> Ints:
    """The rows that have a part in the window; those without length that lie in it."""
    since, until = window
    rows: Ints = np.flatnonzero((start < until) & ((end > since) | (start >= since)))
    return rows
