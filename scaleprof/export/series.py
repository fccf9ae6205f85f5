"""Sampled counters of a rank as curves of the file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.trace import Samples


class Meaning(Protocol):
    """What a sampled value is."""

    @property
    def words(self) -> str:
        """In words."""

    @property
    def unit(self) -> str:
        """`share` is shown in percent."""

    @property
    def factor(self) -> float:
        """From what was sampled to the unit."""

    @property
    def is_rate(self) -> bool:
        """What was sampled only grows; its change by second is shown."""


@dataclass(frozen=True)
class Series:
    """One counter: a value holds from its time until the next one's."""

    name: str
    unit: str
    time_ns: Ints
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time_ns)


def series_of(
    samples: Samples, placed_ns: Ints, window: tuple[int, int], meanings: Mapping[str, Meaning]
) -> list[Series]:
    """Every counter that was sampled in the window, with the last sample before it. `placed_ns`: the samples' times in ns of the file.

    The mean rate between two samples stands at the first of them, where it begins to hold.
    """
    found = []
    for name, sampled in samples.values.items():
        meaning = meanings.get(name)
        times, values = placed_ns, sampled
        unit = meaning.unit if meaning else ""
        if meaning and meaning.is_rate:
            times, values = placed_ns[:-1], np.diff(sampled) / np.maximum(np.diff(placed_ns), 1) * 1e9
            values = np.where(values >= 0, values, np.nan)  # the counter began anew
        values = values * (meaning.factor if meaning else 1.0)
        if unit == "share":
            unit, values = "%", values * 100
        since, until = window
        shown = np.isfinite(values) & (times < until)
        before = np.flatnonzero(shown & (times < since))
        shown[before[:-1]] = False
        if shown.any():
            words = meaning.words if meaning else name.replace("_", " ")
            found.append(Series(words, unit, np.maximum(times[shown], since), values[shown]))
    return found


def thinned(series: Sequence[Series], most: int) -> list[Series]:
    """The same curves with at most so many points in all, evenly over time; as they are where they have no more. None where not each can have one."""
    points = sum(map(len, series))
    if points <= most:
        return list(series)
    if most < len(series):
        return []
    every = -(-points // most)
    while sum(-(-len(one) // every) for one in series) > most:  # curves of which the last part is not whole
        every += 1
    return [Series(one.name, one.unit, one.time_ns[::every], one.values[::every]) for one in series]
