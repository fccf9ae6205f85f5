"""A table of factors in colours: names indented as a tree, each number printed; 100 % is calm, and what loses more stands out more."""

from typing import Any

from scaleprof.render.figures.base import (
    CHARACTER_PX,
    Spec,
    figure,
    finite,
    inert,
    label,
    names_axis,
    room_for,
    title_of,
    value_axis,
)
from scaleprof.render.palette import LIGHT
from scaleprof.render.words import phrase
from scaleprof.results import Axis, Chart

ROW_PX = 27
TOP, BOTTOM = 30, 8
INDENT_PX = 16
MOST_LARGE = 9  # columns whose numbers have the usual size
LONGEST_NAME, LONGEST_HEAD = 34, 30
WIDTH = 860  # pixels that all columns have on a usual screen; heads that need more are slanted
_COLORS = ((0.5, "loss-3"), (0.75, "loss-2"), (0.92, "loss-1"), (1.0, "loss-0"), (1.02, "loss-0"), (1.2, "gain"))
"""Factor to colour: the same in every table, so that two of them can be compared."""
_LOWEST, _HIGHEST = _COLORS[0][0], _COLORS[-1][0]


def factors(chart: Chart) -> Spec:
    """The figure of a heatmap whose first layer is of style `factors`."""
    layer, meaning = chart.layers[0], chart.z or Axis(chart.layers[0].name, "share")
    depths = [_depth(name) for name in layer.y]
    names = [inert(str(name).strip(), LONGEST_NAME) for name in layer.y]
    left = room_for([name + "  " * depth for name, depth in zip(names, depths, strict=True)], least=90, most=260)
    rows = len(names)
    cells = layer.z or []
    trace: dict[str, Any] = {
        "type": "heatmap",
        "meta": "cells",
        "name": inert(layer.name),
        "x": list(range(len(layer.x))),
        "y": list(range(rows)),
        "z": [[finite(value) for value in row] for row in cells],
        "zmin": _LOWEST,
        "zmax": _HIGHEST,
        "colorscale": [[(at - _LOWEST) / (_HIGHEST - _LOWEST), LIGHT[name]] for at, name in _COLORS],
        "showscale": False,
        "xgap": 3,
        "ygap": 3,
        "text": [["" if value is None else inert(phrase(value, meaning.unit)) for value in row] for row in cells],
        "texttemplate": "%{text}",
        "textfont": {"color": LIGHT["on-tint"], "size": 12.5 if len(layer.x) <= MOST_LARGE else 11},
        "customdata": [[f"{name}, {inert(x)}" for x in layer.x] for name in names],
        "hovertemplate": "%{customdata}: %{text}<extra></extra>",
        "hoverongaps": False,
    }
    column = {"xref": "paper", "x": 0, "xanchor": "left"}
    labels = [
        label(
            name if depth else f"<b>{name}</b>", **column, xshift=8 + INDENT_PX * depth - left, yref="y", y=row, yanchor="middle", align="left",
            name="row", font={"color": LIGHT["ink"] if depth < 2 else LIGHT["ink-2"]},
        )
        for row, (name, depth) in enumerate(zip(names, depths, strict=True))
    ]  # fmt: skip
    head = label(title_of(chart.x), **column, xshift=8 - left, yref="paper", y=1, yanchor="bottom", yshift=4)
    y = {**value_axis(Axis(""), rows - 0.5, -0.5, grid=False), "showticklabels": False, "fixedrange": True}
    heads = [inert(x, LONGEST_HEAD) for x in layer.x]
    longest = max((len(head) for head in heads), default=0) * CHARACTER_PX
    slanted = longest > WIDTH / max(len(heads), 1)
    top, right = (TOP + int(longest * 0.58), int(longest * 0.75)) if slanted else (TOP, 8)
    return figure(
        [trace],
        height=rows * ROW_PX + top + BOTTOM,
        margin=(left, right, top, BOTTOM),
        x={**names_axis(layer.x, most=LONGEST_HEAD), "side": "top", "tickangle": -35 if slanted else 0},
        y=y,
        annotations=[head, *labels],
        meta={"rows": names, "columns": [inert(x) for x in layer.x]},
    )


def _depth(name: Any) -> int:
    """How deep a name stands in the tree: two blanks in front of it a level."""
    text = str(name)
    return (len(text) - len(text.lstrip(" "))) // 2
