"""The law of a study drawn into its charts: the line with its 95 % band, and beyond the largest size one piece for each degree of trust."""

import math
from dataclasses import replace
from typing import Literal

from scaleprof.analyses.base import many, percent
from scaleprof.analyses.scaling.forecast import SHOWN, Forecast, how
from scaleprof.models.extrapolation import INDICATIVE, PREDICTED, Extrapolation
from scaleprof.results import Chart, Layer

PIECES: tuple[tuple[Literal["predicted", "indicative", "speculative"], float, float], ...] = (
    ("predicted", 1, PREDICTED),
    ("indicative", PREDICTED, INDICATIVE),
    ("speculative", INDICATIVE, SHOWN[-1]),
)
"""Degrees of trust, from and to so many times the largest size."""
_IN_A_DOUBLING = 8  # points of a line


def with_law(chart: Chart, one: Forecast) -> Chart:
    """A chart of one study with its law; unchanged where it has none. The first layer holds what was measured."""
    law = one.law
    if law is None:
        return chart
    share = chart.y.unit == "share"
    measured, *rest = chart.layers
    unit = one.rate if share else 1.0
    first = float(law.measured.ranks[0])
    layers = [
        _layer(law.used.law.name, "fit", law, first, law.largest, unit),
        *(_layer(name, name, law, start * law.largest, end * law.largest, unit) for name, start, end in PIECES),
        replace(measured, name="measured", style="marks"),
        *rest,
    ]
    fitted = f" Points: measured. Line: {law.used.law.name}, with its 95 % band."
    title = _efficiency(one, law) if share else _misses(law)
    return replace(
        chart,
        title=f"{chart.title}; {title}",
        subtitle=(chart.subtitle if share else "Samples per second and rank; a flat line is perfect scaling.") + fitted,
        layers=tuple(layers),
        how=f"{chart.how} {how(one)}",
    )


def _layer(
    name: str,
    style: Literal["fit", "predicted", "indicative", "speculative"],
    law: Extrapolation,
    start: float,
    end: float,
    unit: float,
) -> Layer:
    ranks = _between(start, end, whole=style != "fit")
    asked = [law.at(size) for size in ranks]
    return Layer(
        name,
        ranks,
        [(one.value or 0.0) / one.ranks / unit for one in asked],
        [one.within_95[0] / one.ranks / unit for one in asked],
        [one.within_95[1] / one.ranks / unit for one in asked],
        color="series-1",
        style=style,
    )


def _between(start: float, end: float, *, whole: bool) -> list[float]:
    """Sizes from start to end, a few for each doubling."""
    steps = math.ceil(math.log2(end / start) * _IN_A_DOUBLING)
    sizes = (start * (end / start) ** (place / steps) for place in range(steps + 1))
    return sorted({round(size) if whole else round(size, 2) for size in sizes})


def _efficiency(one: Forecast, law: Extrapolation) -> str:
    ranks = round(INDICATIVE * law.largest)
    asked = law.at(ranks)
    value, low, high = ((end or 0.0) / ranks / one.rate for end in (asked.value, *asked.within_95))
    return f"at {many(ranks, 'rank')} {_whole(value)} % ({_whole(low)} to {_whole(high)} %) is {asked.trust}"


def _whole(share: float) -> str:
    """A number of percent without digits that nobody knows."""
    return f"{100 * share:.0f}" if share >= 0.0995 else f"{100 * share:.1f}"


def _misses(law: Extrapolation) -> str:
    """How well the line fits, and how well it did at the largest size when it did not know it."""
    name, largest = law.used.law.name, many(round(law.largest), "rank")
    words = f"{name} is within {_at_most(law.misses)} of every size"
    if not law.held_out:
        return words
    check = law.held_out[0]
    off = _at_most(abs(1 / (1 + check.error) - 1))
    how_far = f"within {off} of {largest}" if check.is_inside else f"misses {largest} by {off}"
    return f"{words}, and {how_far} when fitted to the smaller ones"


def _at_most(share: float) -> str:
    return percent(max(share, 0.001))
