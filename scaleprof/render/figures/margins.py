"""What stands around and on the cells of a heatmap: bars over the columns and right of the rows, and labels of single cells."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scaleprof.render.figures.base import Spec, inert, label, shown, suffix_of, value_axis
from scaleprof.render.palette import LIGHT, color
from scaleprof.results import Axis, Layer

ABOVE_PX, GAP_PX = 56, 24
BESIDE_SHARE = 0.17  # of the width
MOST_SMALL_COLUMNS = 80
_RIGHT_SIDE = 0.55  # cells further right have their label on the left


@dataclass(frozen=True)
class Part:
    """Traces with the axes they need, shapes and labels."""

    data: list[Spec]
    axes: Spec = field(default_factory=dict)
    shapes: list[Spec] = field(default_factory=list)
    labels: list[Spec] = field(default_factory=list)


def above(layers: Sequence[Layer], columns: list[Any], height: int) -> Part:
    """Bars over the columns, from zero; columns of muted bars are greyed."""
    places = {column: place for place, column in enumerate(columns)}
    most = max((value for layer in layers for value in layer.y if value is not None), default=1.0)
    data, shapes = [], []
    for layer in layers:
        at = [places[column] for column in layer.x]
        data.append(
            {
                "type": "bar",
                "meta": "columns",
                "name": inert(layer.name),
                "x": at,
                "y": shown(layer.y, Axis("")),
                "width": 0.85 if len(columns) <= MOST_SMALL_COLUMNS else 1,
                "yaxis": "y2",
                "marker": {
                    "color": LIGHT["line"] if layer.color == "muted" else color(layer.color),
                    "line": {"width": 0},
                },
                "hovertemplate": f"%{{y:,.4~r}}<extra>{inert(layer.name)}</extra>",
            }
        )
        if layer.color == "muted":
            shapes += [_veil(first, last) for first, last in _runs(at)]
    axis = {
        **value_axis(Axis(""), 0, most * 1.05 or 1),
        "domain": [1 - ABOVE_PX / height, 1],
        "anchor": "x",
        "nticks": 3,
    }
    title = label(
        inert(layers[0].name, 60), xref="paper", x=0, xanchor="left", yref="paper", y=1, yanchor="bottom", yshift=1
    )
    return Part(data, {"yaxis2": {**axis, "fixedrange": True}}, shapes, [title])


def beside(layers: Sequence[Layer], rows: list[Any], meaning: Axis, domain: float) -> Part:
    """Bars right of the rows, their texts right of all bars."""
    places = {row: place for place, row in enumerate(rows)}
    data, labels = [], []
    for layer in layers:
        at = [places[row] for row in layer.x]
        data.append(
            {
                "type": "bar",
                "meta": "rows",
                "name": inert(layer.name),
                "orientation": "h",
                "x": shown(layer.y, meaning),
                "y": at,
                "width": 0.7 if len(rows) <= MOST_SMALL_COLUMNS else 1,
                "xaxis": "x2",
                "marker": {"color": color(layer.color), "line": {"width": 0}},
                "hovertemplate": f"%{{x:,.3~r}}{suffix_of(meaning)}<extra>{inert(layer.name)}</extra>",
            }
        )
        labels += [
            label(
                inert(text), xref="paper", x=1, xanchor="left", xshift=4, yref="y", y=place, yanchor="middle", name="row",
                font={"color": LIGHT["ink"] if layer.color == "high-2" else LIGHT["ink-2"], "size": 11},
            )
            for place, text in zip(at, layer.text or (), strict=False)
            if text
        ]  # fmt: skip
    values = [value for layer in layers for value in shown(layer.y, meaning) if value is not None] or [0.0]
    low, high = min(0.0, *values), max(0.0, *values)
    room = (high - low) * 0.06 or 1.0
    axis = {
        **value_axis(meaning, low - room, high + room),
        "title": {"text": ""},
        "domain": [1 - BESIDE_SHARE + 0.02, 1],
        "anchor": "y",
        "nticks": 3,
        "tickangle": 0,
        "fixedrange": True,
        "zeroline": True,
        "zerolinecolor": LIGHT["muted"],
        "zerolinewidth": 1,
    }
    title = label(
        inert(layers[0].name), xref="paper", x=1, xanchor="right", yref="paper", y=domain, yanchor="bottom", yshift=1
    )
    return Part(data, {"xaxis2": axis}, labels=[*labels, title])


def marked(layer: Layer, cells: Layer) -> Part:
    """Rings around cells, with their labels on the side where there is room."""
    columns = {column: place for place, column in enumerate(cells.x)}
    rows = {row: place for place, row in enumerate(cells.y)}
    at = [(columns[x], rows[y]) for x, y in zip(layer.x, layer.y, strict=True)]
    rings = {
        "type": "scatter",
        "meta": "cells",
        "mode": "markers",
        "name": inert(layer.name),
        "x": [x for x, _ in at],
        "y": [y for _, y in at],
        "marker": {
            "symbol": "circle-open",
            "size": 13,
            "color": LIGHT["ink"],
            "line": {"width": 1.6, "color": LIGHT["ink"]},
        },
        "hoverinfo": "skip",
        "cliponaxis": False,
    }
    labels = [
        label(
            inert(text, 60), xref="x", x=x, yref="y", y=y, name="row", yanchor="middle", bgcolor=LIGHT["card"], opacity=0.92, borderpad=1,
            font={"color": LIGHT["ink"], "size": 11},
            **({"xanchor": "right", "xshift": -10} if x > _RIGHT_SIDE * len(cells.x) else {"xanchor": "left", "xshift": 10}),
        )
        for (x, y), text in zip(at, layer.text or (), strict=False)
    ]  # fmt: skip
    return Part([rings], labels=labels)


def _runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of places that follow one another."""
    runs: list[tuple[int, int]] = []
    for place in places:
        runs[-1:] = [(runs[-1][0], place)] if runs and runs[-1][1] == place - 1 else [*runs[-1:], (place, place)]
    return runs


def _veil(first: int, last: int) -> Spec:
    """Over the cells of columns that do not count."""
    line = {"width": 0, "color": LIGHT["line"]}
    place = {"xref": "x", "x0": first - 0.5, "x1": last + 0.5, "yref": "y domain", "y0": 0, "y1": 1}
    return {"type": "rect", **place, "fillcolor": LIGHT["line"], "opacity": 0.85, "line": line, "layer": "above"}
