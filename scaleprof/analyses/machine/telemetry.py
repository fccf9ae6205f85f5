"""A sampled counter over time, all ranks on one grid: the 5-95 % band and the median over ranks, and lines of single ranks to set against them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.analyses.base import percent
from scaleprof.models.statistics import MAD_TO_SIGMA
from scaleprof.results import Axis, Chart, Layer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_POINTS = 240  # of a line
MOST_RANKS = 8  # of so many each rank has a line; of more, the one that deviates
FEWEST_SAMPLES = 3
FAR, LEAST = 5.0, 0.05
"""A rank deviates if its mean is so many robust standard deviations, and by so much of the median, from the median of all."""
_FINEST = 0.001  # of the median: a smaller spread is none
_BAND = (5, 95)


@dataclass(frozen=True)
class Counter:
    """How a sampled counter is shown: its name in the tables, in words, its unit, and how it is made."""

    name: str
    words: str
    unit: str
    factor: float = 1.0
    is_rate: bool = False
    """The sampled value only grows: what is shown is its change by second."""


@dataclass(frozen=True)
class Binned:
    """One counter of all ranks in bins of equal length."""

    ranks: list[int]
    seconds: Floats
    """Middle of each bin that holds a sample, since the start."""
    values: Floats
    """By rank and bin, the mean of its samples; NaN where there is none."""
    means: Floats
    """By rank, of all its samples."""
    moves: bool
    """Whether any two samples differ."""


def binned(samples: Mapping[int, tuple[Ints, Floats]], start_ns: int) -> Binned | None:
    """The samples (time in ns, value) of each rank on a common grid; None where no rank has enough of them."""
    known = {rank: _known(*one) for rank, one in samples.items()}
    known = {rank: one for rank, one in known.items() if len(one[0]) >= FEWEST_SAMPLES}
    if not known:
        return None
    last = max(int(times[-1]) for times, _ in known.values())
    count = min(MOST_POINTS, int(np.median([len(times) for times, _ in known.values()])))
    width = max((last + 1 - start_ns) / count, 1.0)
    values = np.full((len(known), count), np.nan)
    for row, (times, found) in enumerate(known.values()):
        at = np.minimum(((times - start_ns) / width).astype(np.int64), count - 1)
        filled = np.bincount(at, minlength=count)
        values[row, filled > 0] = np.bincount(at, found, minlength=count)[filled > 0] / filled[filled > 0]
    some = ~np.isnan(values).all(axis=0)
    seconds = (np.arange(count) + 0.5) * width / 1e9
    return Binned(
        list(known),
        seconds[some],
        values[:, some],
        np.array([found.mean() for _, found in known.values()]),
        len({value for _, found in known.values() for value in (found.min(), found.max())}) > 1,
    )


def deviating(means: Floats) -> int | None:
    """The place of the rank whose mean is farthest from the median of all, if that is far; None where none is, or of two ranks."""
    if len(means) < 3:
        return None
    middle = float(np.median(means))
    away = np.abs(means - middle)
    spread = max(MAD_TO_SIGMA * float(np.median(away)), _FINEST * abs(middle))
    worst = int(np.argmax(away))
    is_far = away[worst] >= FAR * spread and away[worst] >= LEAST * abs(middle) and away[worst] > 0
    return worst if is_far else None


def counter_chart(counter: Counter, found: Binned, profiled_s: tuple[float, float] | None) -> Chart:
    """The chart of one counter; `profiled_s` is from when to when steps were profiled."""
    odd = deviating(found.means)
    words = f"{counter.words[:1].upper()}{counter.words[1:]}"
    said = _on_average(found.means, counter.unit) if odd is None else _against(found, odd, counter.unit)
    count = len(found.ranks)
    lines = list(range(count)) if count <= MOST_RANKS else [odd] if odd is not None else []
    layers = [_line(found, place, order) for order, place in enumerate(lines)]
    # Last, so that it lies on top of the lines.
    layers += [_median(found)] if count > 1 else []
    if profiled_s is not None:
        layers.append(Layer("profiled steps", [round(at, 3) for at in profiled_s], [None, None], style="span"))
    band = f"Band: 5 to 95 % of the {count} ranks. " if count > 1 else ""
    return Chart(
        id=f"hardware.{counter.name}",
        kind="lines",
        title=f"{words}: {said}",
        subtitle=f"{band}{'Counted up, shown as a rate.' if counter.is_rate else 'Sampled in the background.'}",
        x=Axis("time since the first sample", "s"),
        y=Axis(counter.words, counter.unit, from_zero=_near_zero(found)),
        layers=tuple(layers),
        how=f"Means of at most {MOST_POINTS} intervals of equal length, by rank; median and band are over ranks, interval by interval. "
        f"A rank is named if its mean is {FAR:.0f} robust standard deviations (1.4826 x median absolute deviation) and {percent(LEAST)} or "
        "more from the median rank's.",
    )


def _known(times: Ints, values: Floats) -> tuple[Ints, Floats]:
    there = np.isfinite(values)
    return times[there], values[there]


def _median(found: Binned) -> Layer:
    low, middle, high = np.nanpercentile(found.values, (_BAND[0], 50, _BAND[1]), axis=0)
    return Layer("median", _short(found.seconds), _short(middle), _short(low), _short(high), color="total")


def _line(found: Binned, place: int, order: int) -> Layer:
    there = ~np.isnan(found.values[place])
    values = _short(found.values[place][there])
    return Layer(f"rank {found.ranks[place]}", _short(found.seconds[there]), values, color=f"series-{order % 6 + 1}")


def _short(values: Floats) -> list[float]:
    """Five significant digits: a picture has no more."""
    return [float(f"{value:.5g}") for value in values.tolist()]


def _near_zero(found: Binned) -> bool:
    """Whether the axis begins at zero: a band of 1,700 to 1,750 MHz would be a line then."""
    return float(np.nanmin(found.values)) < 0.6 * float(np.nanmax(found.values))


def _against(found: Binned, odd: int, unit: str) -> str:
    """`rank 3 at 1,352 MHz, the median rank at 1,755 MHz (-23.0 %)`"""
    value, middle = float(found.means[odd]), float(np.median(found.means))
    text = f"rank {found.ranks[odd]} at {_worded(value, unit)}, the median rank at {_worded(middle, unit)}"
    if unit in ("share", "°C") or not middle:
        return text
    sign = "+" if value > middle else "\N{MINUS SIGN}"
    return f"{text} ({sign}{percent(abs(value / middle - 1))})"


def _on_average(means: Sequence[float] | Floats, unit: str) -> str:
    """`279 to 281 MB, on average by rank`"""
    low, high = (_worded(float(value), unit) for value in (min(means), max(means)))
    if low == high:
        return f"{low} on average"
    return f"{low if unit == 'share' else low.removesuffix(f' {unit}')} to {high}, on average by rank"


def _worded(value: float, unit: str) -> str:
    if unit == "share":
        return percent(value)
    return f"{value:,.0f} {unit}".strip() if abs(value) >= 100 else f"{value:.3g} {unit}".strip()
