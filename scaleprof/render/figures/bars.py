"""Bars and stacked bars: upright for sizes, lying down where the names are long or each bar is a rank."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from scaleprof.render.figures.base import (
    Spec,
    factor_of,
    figure,
    finite,
    in_words,
    inert,
    label,
    legend_on_top,
    names_axis,
    room_for,
    shown,
    suffix_of,
    title_of,
    value_axis,
)
from scaleprof.render.palette import LIGHT, SERIES, color, text_on
from scaleprof.render.words import digits_of
from scaleprof.results import Chart, Layer

LONG_NAME = 12
_LYING = ("rank", "configuration")  # what each bar is, where there may be many or long names
MOST_LYING = 16  # more bars than this are too thin for a text each
LARGE_SHARE = 0.07  # segments from this share of the longest bar carry their value
LABEL_SHARE = 0.14
"""Of the axis, what a number left of the lowest bar takes, so that it does not lie on the names."""
BAR_PX = 34
LEGEND_PX = 30


@dataclass(frozen=True)
class _Plan:
    """How the bars of one chart stand."""

    chart: Chart
    names: list[Any]
    lying: bool
    labels: list[str]
    """What stands at the ends of the bars, for the room it needs."""

    @property
    def few(self) -> bool:
        return len(self.names) <= MOST_LYING

    @property
    def crowded(self) -> bool:
        """More bars than have room for their names: ranks are named by their numbers, and nothing lies between bars."""
        return len(self.names) > 2 * MOST_LYING

    def column(self, layer: Layer) -> list[Any]:
        """The layer's values in the order of the names."""
        values = dict(zip(layer.x, layer.y, strict=True))
        return [values.get(name) for name in self.names]


def stacked_bars(chart: Chart) -> Spec:
    """The figure of a chart of kind `stacked_bars`: every layer on top of the one before, the sum at the end."""
    layers = [layer for layer in chart.layers if any(_amount(value) for value in layer.y)] or list(chart.layers)
    plan = _plan(chart, [])
    sums = [sum(map(_amount, values)) for values in zip(*(plan.column(layer) for layer in layers), strict=True)]
    if plan.few and len(layers) > 1:
        plan = _plan(chart, [in_words(total, chart.y) for total in sums])
    highest = max(sums, default=0.0) or 1.0
    data = [_segments(plan, layer, order, highest) for order, layer in enumerate(layers)]
    return _laid_out(plan, data, (0.0, highest), annotations=_sums(plan, sums), barmode="stack")


def bars(chart: Chart) -> Spec:
    """The figure of a chart of kind `bars`: the values, or the texts given for them, stand beside the bars."""
    plan = _plan(chart, [])
    data, labels = [], []
    for order, layer in enumerate(chart.layers):
        column = plan.column(layer)
        given = dict(zip(layer.x, layer.text or [], strict=False))
        texts = [
            (inert(given[name]) if given.get(name) else in_words(value, chart.y)) if value is not None else ""
            for name, value in zip(plan.names, column, strict=True)
        ]
        labels += texts
        beside = {"text": texts, "textposition": "outside", "textfont": {"color": LIGHT["ink-2"], "size": 12}}
        data.append({**_bar(plan, layer, order), **(beside if plan.few else {}), "cliponaxis": False})
    values = [_amount(value) for layer in chart.layers for value in layer.y] or [0.0]
    least, most = min(min(values), 0.0), max(max(values), 0.0) or 1.0
    ends = (least - LABEL_SHARE * (most - least) if least < 0 else 0.0, most)
    return _laid_out(_plan(chart, labels if plan.few else []), data, ends, annotations=[], barmode="group")


def _amount(value: Any) -> float:
    return finite(value) or 0.0


def _plan(chart: Chart, labels: list[str]) -> _Plan:
    names = list(dict.fromkeys(name for layer in chart.layers for name in layer.x))
    longest = max((len(str(name)) for name in names), default=0)
    lying = len(names) == 1 or longest > LONG_NAME or chart.x.label in _LYING
    if chart.kind == "bars":
        lying = lying or len(names) > 6
    return _Plan(chart, names, lying and len(names) <= MOST_LYING * 2, labels)


def _bar(plan: _Plan, layer: Layer, order: int) -> Spec:
    places = list(range(len(plan.names)))
    values = shown(plan.column(layer), plan.chart.y)
    number = f"%{{{'x' if plan.lying else 'y'}:,.4~r}}{suffix_of(plan.chart.y)}"
    return {
        "type": "bar",
        "name": inert(layer.name),
        "orientation": "h" if plan.lying else "v",
        "x": values if plan.lying else places,
        "y": places if plan.lying else values,
        "customdata": [inert(name, 120) for name in plan.names],
        "marker": {
            "color": color(layer.color, order),
            "line": {"color": LIGHT["card"], "width": 0 if plan.crowded else 0.5},
        },
        "hovertemplate": f"%{{customdata}}: {number}<extra>{inert(layer.name)}</extra>",
    }


def _segments(plan: _Plan, layer: Layer, order: int, highest: float) -> Spec:
    """One layer of a stack; the larger segments carry their value, in the unit of the axis and with the decimals of the highest sum."""
    axis = replace(plan.chart.y, unit=plan.chart.y.unit if plan.chart.y.unit in ("share", "bytes") else "")
    texts = [
        in_words(value, axis, digits_of(highest)) if plan.few and _amount(value) >= LARGE_SHARE * highest else ""
        for value in plan.column(layer)
    ]
    trace = _bar(plan, layer, order)
    if layer.color == "overlapped_comm":
        trace["marker"]["pattern"] = {"shape": "/", "size": 6, "solidity": 0.25, "fgcolor": LIGHT["ink-3"]}
    fill = layer.color or SERIES[order % len(SERIES)]
    return {
        **trace,
        "text": texts,
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "insidetextfont": {"color": text_on(fill), "size": 12},
        "constraintext": "inside",
    }


def _sums(plan: _Plan, sums: Sequence[float]) -> list[Spec]:
    annotations = []
    for place, (total, words) in enumerate(zip(sums, plan.labels, strict=False)):
        end, text = finite(total, factor_of(plan.chart.y)), f"<b>{words}</b>"
        if plan.lying:
            annotations.append(label(text, x=end, y=place, xanchor="left", yanchor="middle", xshift=4))
        else:
            annotations.append(label(text, x=place, y=end, xanchor="center", yanchor="bottom", yshift=1))
    return annotations


def _laid_out(
    plan: _Plan, data: list[Spec], ends: tuple[float, float], *, annotations: list[Spec], barmode: str
) -> Spec:
    axis, count = plan.chart.y, len(plan.names)
    legend = len(data) > 1
    top = LEGEND_PX if legend else 10
    # A hair more than the longest bar: plotly leaves out an annotation that lies beyond the axis by a rounding.
    low, high = ends[0] * factor_of(axis), ends[1] * factor_of(axis) * 1.001
    if plan.lying:
        x = {**value_axis(axis, low, high), "fixedrange": True}
        y = {**names_axis(plan.names), "range": [count - 0.5, -0.5]}
        left = room_for([str(name)[:30] for name in plan.names], least=52)
        margin = (left, room_for(plan.labels), top, 48)
        height = top + 48 + max(BAR_PX * count * (len(data) if barmode == "group" else 1), 46)
    else:
        names = [str(name).removeprefix("rank ") for name in plan.names] if plan.crowded else plan.names
        x = names_axis(names, title_of(plan.chart.x)) | ({"tickangle": 0} if plan.crowded else {})
        y = {**value_axis(axis, low, high * 1.1), "fixedrange": True}
        height, margin = 300, (64, 16, top, 48)
    return figure(
        data,
        height=min(height, 900),
        margin=margin,
        x=x,
        y=y,
        barmode=barmode,
        bargap=0 if plan.crowded else 0.3 if plan.lying or count > 8 else 0.42,
        annotations=annotations,
        **(legend_on_top() if legend else {}),
    )
