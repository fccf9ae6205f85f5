"""Lines with interval bands over sizes, steps or time: labelled at their ends where they end together, else by a legend.

More lines than can be told apart are grey but for two: the one that ends highest and the one that ends lowest. A grey one is named where one points.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scaleprof.render.figures import trust
from scaleprof.render.figures.base import (
    Spec,
    factor_of,
    figure,
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
from scaleprof.render.figures.loglog import log_axis
from scaleprof.render.palette import LIGHT, color
from scaleprof.render.words import number, percent
from scaleprof.results import Axis, Chart, Layer

HEIGHT = 300
BOTTOM = 48
FEW_POINTS = 16  # up to here every point has a mark
FEW_TICKS = 14
MOST_LABELS = 8
FAR = 3  # times the highest counted value: a mark above that does not stretch the axis
LABEL_PX = 16  # smallest distance between two labels
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")


def lines(chart: Chart) -> Spec:
    """The figure of a chart of kind `lines`."""
    spans = [layer for layer in chart.layers if layer.style == "span"]
    layers = [layer for layer in chart.layers if len(layer.x) and layer.style != "span"]
    drawn = [layer for layer in layers if not _is_constant_reference(layer)]
    main = [layer for layer in drawn if layer.style != "reference" and layer.style not in trust.DASHES]
    beyond = [layer for layer in drawn if trust.is_beyond(layer)]
    place = _Places(chart.x, layers)
    low, high = _range(chart.y, _without_far_marks(layers))
    aside = _beside_the_ends(main)
    named = [layer for layer in drawn if layer not in aside]
    direct = 1 < len(named) <= MOST_LABELS and (bool(aside) or len({place.of(layer)[-1] for layer in named}) == 1)
    legend = len(drawn) > 1 and not direct and not beyond
    data: list[Spec] = [_stood_back(_line(layer, 0, place, chart, legend=False)) for layer in aside]
    for layer in named:
        data += _band(layer, main.index(layer) if layer in main else 0, place, chart.y)
    for layer in named:
        trace = _line(layer, main.index(layer) if layer in main else 0, place, chart, legend=legend)
        data.append(_at_the_edge(trace, high) if layer.color == "muted" else trace)
    top = 40 if legend or beyond else 14
    annotations, shapes = _references(layers, chart.y, (low, high))
    shapes = trust.shades(beyond) + shapes + [_span(layer, place.of(layer)) for layer in spans]
    annotations += trust.names(beyond)
    annotations += [_span_label(layer, place.of(layer), chart.x) for layer in spans]
    right = 24
    if direct:
        right = room_for([f"{inert(layer.name, 22)}  " for layer in named])
        annotations += _end_labels(named, main, chart.y, (low, high), HEIGHT - top - BOTTOM)
    x, y = place.axis(), value_axis(chart.y, low, high)
    x["fixedrange"] = y["fixedrange"] = direct or bool(annotations)
    return figure(
        data,
        height=HEIGHT,
        margin=(66 if chart.y.label else 50, right, top, BOTTOM),
        x=x,
        y=y,
        hovermode="x unified",
        annotations=annotations,
        shapes=shapes,
        **(legend_on_top() if legend else {}),
    )


def _beside_the_ends(main: Sequence[Layer]) -> list[Layer]:
    """Of more lines than can be told apart all but the one that ends highest and the one that ends lowest."""
    ending = [(float(known[-1]), layer) for layer in main if (known := [y for y in layer.y if y is not None])]
    if len(ending) <= MOST_LABELS:
        return []
    ends = [pick(ending, key=lambda one: one[0])[1] for pick in (min, max)]
    return [layer for layer in main if layer not in ends]


def _stood_back(trace: Spec) -> Spec:
    line = {**trace["line"], "color": LIGHT["muted"], "width": 1.1}
    return {**trace, "mode": "lines", "line": line, "opacity": 0.75}


def _without_far_marks(layers: Sequence[Layer]) -> list[Layer]:
    """The layers, without points that are left out of every statistic where these would press everything else to the ground."""
    counted = [
        y for layer in layers if layer.color != "muted" for y in (*layer.y, *(layer.high or ())) if y is not None
    ]
    most = FAR * max(counted, default=math.inf)
    return [
        replace(layer, y=[None if y is not None and y > most else y for y in layer.y])
        if layer.color == "muted"
        else layer
        for layer in layers
    ]


def _at_the_edge(trace: Spec, high: float) -> Spec:
    """Marks of points that lie above the plot stand at its upper edge and point there; their values are told where one points."""
    above = [y is not None and y > high for y in trace["y"]]
    if not any(above):
        return trace
    return {
        **trace,
        "customdata": trace["y"],
        "y": [high if beyond else y for y, beyond in zip(trace["y"], above, strict=True)],
        "marker": {
            **trace["marker"],
            "symbol": ["triangle-up-open" if beyond else trace["marker"]["symbol"] for beyond in above],
        },
        "hovertemplate": trace["hovertemplate"].replace("%{y:", "%{customdata:"),
    }


class _Places:
    """Where values of the horizontal axis lie: as they are, or numbered where they are names."""

    def __init__(self, axis: Axis, layers: Sequence[Layer]) -> None:
        self.described = axis
        self.values: list[Any] = list(dict.fromkeys(value for layer in layers for value in layer.x))
        self.named: list[Any] = _sizes_to_name(layers) if any(layer.style in trust.DASHES for layer in layers) else []
        """Where ticks stand; empty where they stand at every value."""

    def of(self, layer: Layer) -> list[Any]:
        if self.described.scale == "category":
            return [self.values.index(value) for value in layer.x]
        return shown(layer.x, self.described)

    def axis(self) -> Spec:
        title = title_of(self.described)
        if self.described.scale == "category":
            return names_axis(self.values, title)
        known = sorted(value for value in shown(self.values, self.described) if value is not None) or [0.0]
        first, last = known[0], known[-1]
        if self.described.scale == "log10":
            return log_axis(self.described, known)
        if self.described.scale == "log2" and first > 0:
            pad = max((math.log10(last) - math.log10(first)) * 0.04, 0.05)
            every = math.ceil(len(self.named or known) / 12)
            ticks = (self.named or known)[::-1][::every][::-1]
            spread = {"type": "log", "range": [math.log10(first) - pad, math.log10(last) + pad]}
            return {
                **value_axis(self.described, first, last),
                **spread,
                "tickvals": ticks,
                "ticktext": [f"{size:,.6g}" for size in ticks],
                "tickformat": "",
            }
        pad = (last - first) * 0.02 or 0.5
        axis = {**value_axis(self.described, first - pad, last + pad, grid=False), "nticks": 9}
        if len(known) <= FEW_TICKS and all(value == int(value) for value in known):
            # Between two steps there is none: no ticks at 9.8 and 10.2.
            axis |= {"tickvals": known}
        return axis


def _sizes_to_name(layers: Sequence[Layer]) -> list[float]:
    """What was measured, and beyond it every doubling."""
    named = (
        trust.doublings(layer) if trust.is_beyond(layer) else layer.x
        for layer in layers
        if layer.style in ("", "marks") or trust.is_beyond(layer)
    )
    return sorted({float(size) for sizes in named for size in sizes})


def _is_constant_reference(layer: Layer) -> bool:
    return layer.style == "reference" and len(set(layer.y)) == 1


def _range(axis: Axis, layers: Sequence[Layer]) -> tuple[float, float]:
    """Lower and upper end of the vertical axis over everything drawn, in the unit shown."""
    ends = [[*layer.y, *(layer.low or ()), *(layer.high or ())] for layer in layers]
    known = [value for end in ends for value in shown(end, axis) if value is not None] or [0.0, 1.0]
    low, high = min(known), max(known)
    if axis.from_zero:
        return min(low * 1.05, 0.0), (high * 1.07 if high > 0 else 1.0)
    pad = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    return low - pad, high + pad


def _line(layer: Layer, order: int, place: _Places, chart: Chart, *, legend: bool) -> Spec:
    reference, muted = layer.style == "reference", layer.color == "muted"
    stroke = LIGHT["ink-3"] if reference else color(layer.color, order)
    law = layer.style in trust.DASHES
    few = len(layer.x) <= FEW_POINTS and not reference and not law
    alone = muted or len(layer.x) == 1 or layer.style == "marks"
    mode = "markers" if alone and not law else "lines+markers" if few else "lines"
    trace: Spec = {
        "type": "scatter",
        "name": inert(layer.name),
        "x": place.of(layer),
        "y": shown(layer.y, chart.y),
        "mode": mode,
        "line": {
            "color": stroke,
            "width": 1.2 if reference else 2 if few else 1.1 if _is_beside_a_band(layer, chart) else 1.8,
            "dash": "dash" if reference else trust.DASHES.get(layer.style, "solid"),
        },
        "marker": {
            "color": stroke,
            "size": 8 if few else 6,
            "symbol": "circle-open" if muted else SYMBOLS[order % len(SYMBOLS)],
            "line": {"color": stroke, "width": 1.5 if muted else 0},
        },
        "hovertemplate": f"%{{y:,.4~r}}{suffix_of(chart.y)}<extra>{inert(layer.name)}</extra>",
        "showlegend": legend,
        "cliponaxis": False,
    }
    if layer.style == "fit":
        trace = {key: value for key, value in trace.items() if key != "hovertemplate"} | {"hoverinfo": "skip"}
    if layer.style == "marks" and layer.low and layer.high:
        trace["error_y"] = _whiskers(layer, chart.y, stroke)
    if layer.text:
        trace |= {"text": [inert(text) for text in layer.text], "textposition": "top center", "mode": f"{mode}+text"}
    return trace


def _whiskers(layer: Layer, axis: Axis, stroke: str) -> Spec:
    """The intervals of single points."""
    ends = zip(shown(layer.y, axis), shown(layer.low or (), axis), shown(layer.high or (), axis), strict=True)
    known = [(y or 0.0, y or 0.0 if low is None else low, y or 0.0 if high is None else high) for y, low, high in ends]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - y for y, _, high in known],
        "arrayminus": [y - low for y, low, _ in known],
        "color": stroke,
        "thickness": 1.4,
        "width": 4,
    }


def _is_beside_a_band(layer: Layer, chart: Chart) -> bool:
    """A line without an interval, of a chart in which another has one, stands back."""
    return layer.low is None and any(one.low is not None for one in chart.layers)


def _band(layer: Layer, order: int, place: _Places, axis: Axis) -> list[Spec]:
    """The interval around a line as one closed shape; points without an interval stand for themselves."""
    if layer.low is None or layer.high is None or len(layer.x) < 2 or layer.style == "marks":
        return []
    points = [
        (x, low if low is not None else y, high if high is not None else y)
        for x, y, low, high in zip(
            place.of(layer), shown(layer.y, axis), shown(layer.low, axis), shown(layer.high, axis), strict=True
        )
        if y is not None
    ]
    fill = LIGHT["ink-3"] if layer.style == "reference" else color(layer.color, order)
    there = [(x, high) for x, _, high in points]
    back = [(x, low) for x, low, _ in reversed(points)]
    outline = there + back
    return [
        {
            "type": "scatter",
            "name": f"{inert(layer.name)}, interval",
            "x": [x for x, _ in outline],
            "y": [y for _, y in outline],
            "mode": "lines",
            "line": {"width": 0, "color": fill},
            "fill": "toself",
            "fillcolor": fill,
            "opacity": trust.BAND_OPACITY.get(layer.style, 0.18),
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]


def _references(layers: Sequence[Layer], axis: Axis, ends: tuple[float, float]) -> tuple[list[Spec], list[Spec]]:
    """Constant references as dashed lines across the plot, with their names and values."""
    annotations, shapes = [], []
    for layer in layers:
        if not _is_constant_reference(layer):
            continue
        value = layer.y[0]
        at = value * factor_of(axis)
        line = {"color": LIGHT["ink-3"], "width": 1.2, "dash": "dash"}
        shapes.append(
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": at, "y1": at, "line": line, "layer": "below"}
        )
        words = (
            f"{percent(value).removesuffix('.0')} %" if axis.unit == "share" else f"{number(value)}{suffix_of(axis)}"
        )
        text = f"{inert(layer.name)} {words}"
        fraction = (at - ends[0]) / (ends[1] - ends[0])
        place = {"xref": "paper", "x": 0.01, "xanchor": "left", "yref": "paper", "y": fraction, "yanchor": "top"}
        annotations.append(label(text, **place))
    return annotations, shapes


def _span(layer: Layer, at: Sequence[Any]) -> Spec:
    """A shaded range of the horizontal axis."""
    ends = {"xref": "x", "x0": at[0], "x1": at[-1], "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "rect", **ends, "fillcolor": LIGHT["grid"], "line": {"width": 0}, "layer": "below"}


def _span_label(layer: Layer, at: Sequence[Any], axis: Axis) -> Spec:
    """Its name in its middle. On a logarithmic axis plotly takes the place of a text as an exponent."""
    first, last = (math.log10(end) for end in (at[0], at[-1])) if axis.scale in ("log2", "log10") else (at[0], at[-1])
    middle = (first + last) / 2
    return label(inert(layer.name), xref="x", x=middle, yref="paper", y=1, yanchor="top", font={"size": 11})


def _end_labels(
    drawn: Sequence[Layer], main: Sequence[Layer], axis: Axis, ends: tuple[float, float], height: int
) -> list[Spec]:
    """Names to the right of where the lines end, moved apart where they would overlap."""
    low, high = ends
    wanted = []
    for layer in drawn:
        last = next((value for value in reversed(shown(layer.y, axis)) if value is not None), low)
        wanted.append(((last - low) / (high - low) * height, layer))
    wanted.sort(key=lambda pair: pair[0])
    places: list[float] = []
    for at, _ in wanted:
        places.append(max(at, places[-1] + LABEL_PX) if places else at)
    excess = max(places[-1] - height, 0.0) if places else 0.0
    places = [at - excess if index == len(places) - 1 else at for index, at in enumerate(places)]
    for index in range(len(places) - 2, -1, -1):
        places[index] = min(places[index], places[index + 1] - LABEL_PX)
    return [
        label(
            f"<b>{inert(layer.name, 22)}</b>",
            xref="paper",
            x=1,
            xanchor="left",
            xshift=4,
            yref="paper",
            y=at / height,
            yanchor="middle",
            name="end",
            font={"color": color(layer.color, main.index(layer)) if layer in main else LIGHT["ink-3"]},
        )
        for at, (_, layer) in zip(places, wanted, strict=True)
    ]
