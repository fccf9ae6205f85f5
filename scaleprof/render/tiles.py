"""Numbers as tiles: which numbers of a section are shown so, and how. Of very many series the two ends are; each is there when it is selected."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scaleprof.render.glossary import Term, term_in
from scaleprof.render.words import interval, measure, phrase, together
from scaleprof.results import Metric, Result

MOST_TILES = 20
"""Numbers of one section that are shown as tiles."""
MOST_SERIES = 4
"""Series whose tiles stand side by side."""
_NO_NEWS_WHERE_ZERO = {f"time.{leaf}_share" for leaf in ("bubble", "exposed_wait", "exposed_untold", "exposed_memory")}


@dataclass(frozen=True)
class Tile:
    """One number with its scope."""

    label: str
    term: Term | None
    amount: str
    unit: str
    interval: str
    note: str
    spark: str
    """The trend as points of a polyline in a box of 100 x 24; empty where there is none."""
    color: str
    is_word: bool


def shown_of(result: Result) -> tuple[Sequence[Metric], str]:
    """The numbers of a section that are shown as tiles, and of which series they are where they are not of all."""
    series = [one.result.metrics for one in result.variants if one.series]
    if len(series) <= MOST_SERIES:
        return _telling(result.metrics), ""
    # The ends are those of the number that most of them open with.
    opening = [found for metrics in series if (found := _opening(metrics))]
    kinds = Counter(_kind(found[0]) for found in opening)
    alike = sorted((one for one in opening if _kind(one[0]) == max(kinds, key=lambda kind: kinds[kind])), key=_first)
    if len({phrase(one[0].value, one[0].unit) for one in alike}) < 2:
        return (), ""
    about = f"The two ends of {len(series)} series. A series that is selected above shows its own numbers."
    return [*alike[-1], *alike[0]], about


def _opening(metrics: Sequence[Metric]) -> list[Metric]:
    """The numbers of a series that have an interval, else the first number."""
    numbers = [metric for metric in metrics if isinstance(metric.value, int | float)]
    return [metric for metric in numbers if metric.low is not None] or numbers[:1]


def _kind(metric: Metric) -> str:
    return metric.id.rpartition(".")[2]


def _first(metrics: Sequence[Metric]) -> float:
    return float(metrics[0].value)


def _telling(metrics: Sequence[Metric]) -> Sequence[Metric]:
    """All numbers of a section if they fit on a screen; of more, those with an interval: the tables have them all.

    Classes of time that a run has nothing of are no news, such as bubbles of a job without a pipeline.
    """
    metrics = [metric for metric in metrics if metric.id not in _NO_NEWS_WHERE_ZERO or metric.value]
    with_interval = [metric for metric in metrics if metric.low is not None]
    return metrics if len(metrics) <= MOST_TILES or not with_interval else with_interval


def tile_of(metric: Metric) -> Tile:
    """A metric as a tile."""
    amount, unit = measure(metric.value, metric.unit)
    is_certain = metric.low == metric.high == metric.value  # a number of ranks that every resample gives
    bounds = "" if is_certain else interval(metric.low, metric.high, metric.unit, beside=unit if unit != "%" else "")
    return Tile(
        label=metric.label,
        term=term_in(metric.label) or term_in(metric.id.rpartition(".")[2]),
        amount=amount if isinstance(metric.value, str) else _with_minus(amount),
        unit=unit,
        interval=f"95 %: {_with_minus(bounds)}" if bounds else "",
        note=together(metric.note),
        spark=_spark(metric.trend),
        color="exposed-comm" if "exposed" in metric.id else "idle" if "unused" in metric.id else "series-1",
        is_word=isinstance(metric.value, str),
    )


def _with_minus(numbers: str) -> str:
    """The numbers with signs as wide as a plus; an exponent keeps its hyphen."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", numbers)


def _spark(trend: Sequence[float]) -> str:
    known = [float(value) for value in trend if value is not None and value == value]
    if len(known) < 2:
        return ""
    low, high = min(known), max(known)
    # Ups and downs below 2 % of the level are drawn small instead of being blown up to the whole height.
    span = max(high - low, 0.02 * max(abs(high), abs(low))) or 1.0
    middle = (high + low) / 2
    return " ".join(
        f"{100 * place / (len(known) - 1):.1f},{12 - 20 * (value - middle) / span:.1f}"
        for place, value in enumerate(known)
    )
