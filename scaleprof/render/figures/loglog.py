"""Two logarithmic axes: marks for what was measured, lines for what was fitted to it, thin dashed lines for what to compare with.

The texts of a layer of marks are shown where the pointer rests on one: labels at every mark would cover the lines.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from scaleprof.render.figures.base import Spec, figure, inert, legend_on_top, shown, suffix_of, value_axis
from scaleprof.render.palette import LIGHT, color
from scaleprof.render.words import phrase
from scaleprof.results import Axis, Chart, Layer

HEIGHT = 360
LEAST_TICKS, MOST_TICKS, MOST_TEXTS = 3, 6, 5
_STEPS = ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0))
"""Ticks in a decade, from few to many: the first that give enough of them are taken."""
_USUAL, _AFTER_ALL = 1000, 2000  # places in the legend
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")


def loglog(chart: Chart) -> Spec:
    """The figure of a chart of kind `loglog`; values that are not positive are left out."""
    layers = [layer for layer in chart.layers if len(layer.x)]
    order = {layer.name: place for place, layer in enumerate(one for one in layers if one.style == "marks")}
    data = [_trace(layer, order.get(layer.name, 0), chart) for layer in sorted(layers, key=_depth)]
    return figure(
        data,
        height=HEIGHT,
        margin=(66, 24, 40, 48),
        x=log_axis(chart.x, [value for layer in layers for value in shown(layer.x, chart.x)]),
        y=log_axis(chart.y, [value for layer in layers for value in shown(layer.y, chart.y)]),
        hovermode="closest",
        **legend_on_top(),
    )


def _depth(layer: Layer) -> int:
    """References lie below fitted lines, these below marks."""
    return {"reference": 0, "": 1, "marks": 2}[layer.style]


def _trace(layer: Layer, order: int, chart: Chart) -> Spec:
    reference, marks = layer.style == "reference", layer.style == "marks"
    stroke = LIGHT["ink-3"] if reference else color(layer.color, order)
    points = [
        (x, y, inert(phrase(x, chart.x.unit)), inert(text))
        for x, y, text in zip(
            shown(layer.x, chart.x), shown(layer.y, chart.y), layer.text or [""] * len(layer.x), strict=True
        )
        if x is not None and y is not None and x > 0 and y > 0
    ]
    more = ", %{customdata[1]}" if layer.text else ""
    return {
        "type": "scatter",
        "name": inert(layer.name, 60),
        "x": [x for x, *_ in points],
        "y": [y for _, y, *_ in points],
        "customdata": [[size, text] for *_, size, text in points],
        "mode": "markers" if marks else "lines",
        "line": {"color": stroke, "width": 1.4 if reference else 1.8, "dash": "dash" if reference else "solid"},
        "marker": {"color": stroke, "size": 9, "symbol": SYMBOLS[order % len(SYMBOLS)]},
        "hovertemplate": f"%{{customdata[0]}}: %{{y:,.4~r}}{suffix_of(chart.y)}{more}<extra>{inert(layer.name, 60)}</extra>",
        "showlegend": reference or marks,
        "legendrank": _AFTER_ALL if reference else _USUAL,
    }


def log_axis(axis: Axis, values: Sequence[float | None]) -> Spec:
    """A logarithmic axis over the values that are positive, with round ticks."""
    known = [value for value in values if value is not None and value > 0] or [1.0]
    low, high = math.log10(min(known)), math.log10(max(known))
    pad = max((high - low) * 0.05, 0.08)
    ticks = _ticks(low - pad, high + pad)
    of_bytes = axis.unit == "bytes"
    # Ticks of bytes carry their unit, from kB to GB.
    described = replace(axis, unit="") if of_bytes else axis
    return {
        **value_axis(described, 0, 1),
        "type": "log",
        "range": [low - pad, high + pad],
        "tickvals": ticks,
        **({"ticktext": _every_so_many([_bytes_text(tick) for tick in ticks])} if of_bytes else {"tickformat": ",~r"}),
        "tickangle": 0,
        "fixedrange": True,
    }


def _every_so_many(texts: Sequence[str]) -> list[str]:
    """Texts that fit beside one another on a narrow screen: the others are blank, and keep their lines."""
    every = math.ceil(len(texts) / MOST_TEXTS)
    return [text if place % every == 0 else "" for place, text in enumerate(texts)]


def _bytes_text(value: float) -> str:
    """`10 kB`: a round number without zeros behind it."""
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} B"


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two exponents, every so many; where these are few, multiples between them as well."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks: list[float] = []
    for steps in _STEPS:
        ticks = [float(f"{step * 10.0**power:.6g}") for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) >= LEAST_TICKS:
            return ticks[:: math.ceil(len(ticks) / MOST_TICKS)]
    return ticks or [float(f"{10**low:.2g}"), float(f"{10**high:.2g}")]
