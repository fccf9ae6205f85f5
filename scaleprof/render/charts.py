"""Charts drawn by plotly: the only file that imports it, and only when asked.

A figure is made in the light palette; the page swaps its exact colours for dark ones.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scaleprof.render.figures.bars import bars, stacked_bars
from scaleprof.render.figures.base import Spec, inert
from scaleprof.render.figures.heatmap import heatmap
from scaleprof.render.figures.lines import lines
from scaleprof.render.figures.loglog import loglog
from scaleprof.render.figures.scatter import scatter
from scaleprof.render.figures.trust import DASHES
from scaleprof.render.figures.waterfall import waterfall
from scaleprof.render.palette import LIGHT
from scaleprof.render.words import LEAST_GB
from scaleprof.results import Axis, Chart, Layer, Table

if TYPE_CHECKING:
    import plotly.graph_objects as go

KINDS: dict[str, Callable[[Chart], Spec]] = {
    "lines": lines,
    "stacked_bars": stacked_bars,
    "bars": bars,
    "waterfall": waterfall,
    "heatmap": heatmap,
    "loglog": loglog,
    "scatter": scatter,
}


def spec_of(chart: Chart) -> Spec:
    """The chart as plotly's plain dictionary of data and layout, its title left to the page."""
    return KINDS[chart.kind](_in_readable_units(chart))


def _in_readable_units(chart: Chart) -> Chart:
    """The chart with bandwidths in MB/s where all of an axis are below what is told in GB/s, as in the texts around it."""
    for name, parts in (("x", ("x",)), ("y", ("y", "low", "high"))):
        axis: Axis = getattr(chart, name)
        values = [value for layer in chart.layers for value in getattr(layer, name) if isinstance(value, int | float)]
        if axis.unit == "GB/s" and values and max(values) < LEAST_GB:
            told: dict[str, Any] = {name: replace(axis, unit="MB/s")}
            chart = replace(chart, layers=tuple(_thousandfold(layer, parts) for layer in chart.layers), **told)
    return chart


def _thousandfold(layer: Layer, parts: Sequence[str]) -> Layer:
    told: dict[str, Any] = {
        part: [None if value is None else 1_000 * value for value in values]
        for part in parts
        if (values := getattr(layer, part)) is not None
    }
    return replace(layer, **told)


def figure_of(chart: Chart) -> "go.Figure":
    """The chart as a plotly figure with its title, for notebooks."""
    import plotly.graph_objects as go

    figure = go.Figure(spec_of(chart))
    text = f"<b>{inert(chart.title, 160)}</b><br><sup>{inert(chart.subtitle, 200)}</sup>"
    top = figure.layout.margin.t + 62
    figure.update_layout(
        title={
            "text": text,
            "font": {"color": LIGHT["ink"], "size": 16},
            "x": 0.02,
            "xanchor": "left",
            "yref": "container",
            "y": 0.98,
        },
        margin_t=top,
        height=figure.layout.height + 62,
    )
    return figure


def has_something_to_draw(chart: Chart) -> bool:
    """False for a chart without a single value: the page then says so instead of drawing empty axes."""
    if chart.kind == "heatmap":
        return bool(chart.layers and chart.layers[0].z and chart.layers[0].x)
    return any(value is not None for layer in chart.layers for value in layer.y)


def data_of(chart: Chart) -> Table:
    """The chart's numbers as a table, unrounded, one row per point; of the line of a law those at whole sizes."""
    if chart.kind == "heatmap":
        layer = chart.layers[0]
        cells = [
            (y, x, value)
            for y, row in zip(layer.y, layer.z or [], strict=True)
            for x, value in zip(layer.x, row, strict=True)
        ]
        names = [_named(chart.y.label, "y"), _named(chart.x.label, "x"), chart.z.label if chart.z else layer.name]
        return Table.of_rows(_distinct(names), cells)
    several, bounded = len(chart.layers) > 1, any(layer.low is not None for layer in chart.layers)
    rows: list[list[Any]] = []
    for layer in chart.layers:
        for place, (x, y) in enumerate(zip(layer.x, layer.y, strict=True)):
            if layer.style in DASHES and x != int(x):
                continue
            bounds = [layer.low[place] if layer.low else None, layer.high[place] if layer.high else None]
            rows.append([*([layer.name] if several else []), x, y, *(bounds if bounded else [])])
    value = _named(chart.y.label, "value") + (f" ({chart.y.unit})" if chart.y.unit else "")
    columns = [
        *(["series"] if several else []),
        _named(chart.x.label, "name"),
        value,
        *(["low", "high"] if bounded else []),
    ]
    return Table.of_rows(_distinct(columns), rows)


def plotly_script() -> str:
    """The source of plotly.js that comes with the Python package."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def plotly_version() -> str:
    """Its version, for the notice at the foot of a page."""
    from plotly.offline import get_plotlyjs_version

    return str(get_plotlyjs_version())


def _named(label: str, otherwise: str) -> str:
    return label or otherwise


def _distinct(names: list[str]) -> list[str]:
    """The names, equal ones told apart: a table's columns are keys."""
    return [name if names.index(name) == place else f"{name} {place + 1}" for place, name in enumerate(names)]


def in_shares(chart: Chart) -> Chart | None:
    """Stacked bars of times with every segment as a share of its own bar; None for other charts, and where a bar is empty or a segment negative."""
    if chart.kind != "stacked_bars" or chart.y.unit != "ms":
        return None
    sums: dict[Any, float] = {}
    for layer in chart.layers:
        for name, value in zip(layer.x, layer.y, strict=True):
            if value is None or not value >= 0:
                return None
            sums[name] = sums.get(name, 0.0) + value
    if not sums or not all(0 < total < math.inf for total in sums.values()):
        return None
    layers = [
        replace(layer, y=[value / sums[name] for name, value in zip(layer.x, layer.y, strict=True)], text=None)
        for layer in chart.layers
    ]
    return replace(chart, layers=tuple(layers), y=replace(chart.y, label="share of the whole bar", unit="share"))
