"""A heatmap of rank by step or the like: a deviation gets a scale with a neutral middle, an amount one that darkens.

Where few cells are far beyond the others, the colours end at the 98th percentile, and the scale says so. Bars over the columns and right of the
rows, and labels of single cells, come from further layers (`margins`). `layout.meta` says what a place on the axes is: the names `rows` and
`columns`, of ranks and steps their numbers `ranks` and `steps`, and `order`, the places of the rows in their other order.
"""

from typing import Any

import numpy as np

from scaleprof.render.figures.base import (
    Spec,
    factor_of,
    figure,
    finite,
    inert,
    label,
    names_axis,
    room_for,
    suffix_of,
    title_of,
    value_axis,
)
from scaleprof.render.figures.factors import factors
from scaleprof.render.figures.margins import ABOVE_PX, BESIDE_SHARE, GAP_PX, above, beside, marked
from scaleprof.render.palette import LIGHT
from scaleprof.results import Axis, Chart, Layer

ROW_PX = (3, 34)  # least and most height of a row
HEIGHTS = (90, 420)
LONGEST_NAME = 30
MOST_TEXTS = 4000  # of more cells the page makes the texts when it draws them
FAR = 2.0  # cells this many times beyond the 98th percentile do not stretch the colours
TOP, TICKS, SCALE = 24, 46, 44  # pixels over the plot, for the names of columns and for the scale of colours

_DEVIATION = ((0.0, "low-2"), (0.25, "low-1"), (0.5, "middle"), (0.75, "high-1"), (1.0, "high-2"))
_AMOUNT = ((0.0, "amount-0"), (0.25, "amount-1"), (0.5, "amount-2"), (0.75, "amount-3"), (1.0, "amount-4"))


def heatmap(chart: Chart) -> Spec:
    """The figure of a chart of kind `heatmap`: its first layer, and what the others add to it."""
    layer = chart.layers[0]
    if layer.style == "factors":
        return factors(chart)
    rows = len(layer.y)
    over, right, marks = (
        [one for one in chart.layers[1:] if one.style == style] for style in ("above", "beside", "marks")
    )
    names = [inert(name, LONGEST_NAME) for name in layer.y]
    left = room_for(names, least=52)
    plot = int(min(max(rows * ROW_PX[1], HEIGHTS[0]), HEIGHTS[1]))
    whole = plot + (ABOVE_PX + GAP_PX if over else 0)
    data, annotations = _cells(chart, left, whole)
    shapes: list[Spec] = []
    more: Spec = {}
    for part in (
        *([above(over, layer.x, whole)] if over else []),
        *([beside(right, layer.y, chart.z or chart.y, plot / whole)] if right else []),
        *(marked(one, layer) for one in marks),
    ):
        data, annotations, shapes, more = (
            data + part.data,
            annotations + part.labels,
            shapes + part.shapes,
            more | part.axes,
        )
    return figure(
        data,
        height=whole + TOP + TICKS + SCALE,
        margin=(
            left,
            room_for([text for one in right for text in one.text or ()], least=24, most=130),
            TOP,
            TICKS + SCALE,
        ),
        x={**_columns(chart.x, layer.x), "domain": [0, 1 - BESIDE_SHARE if right else 1]},
        y={**names_axis(layer.y, most=LONGEST_NAME), "range": [rows - 0.5, -0.5], "domain": [0, plot / whole]},
        bargap=0.15 if len(layer.x) <= 80 else 0,
        barmode="overlay",
        annotations=annotations,
        shapes=shapes,
        meta=_meta(chart, layer, names),
        **more,
    )


def _cells(chart: Chart, left: int, height: int) -> tuple[list[Spec], list[Spec]]:
    """The cells with their scale under the plot, and the name of the scale."""
    layer, meaning = chart.layers[0], chart.z or Axis(chart.layers[0].name)
    factor = factor_of(meaning)
    cells = [[finite(value, factor) for value in row] for row in layer.z or []]
    grey = {column for one in chart.layers if one.color == "muted" for column in one.x}
    counted = [place for place, column in enumerate(layer.x) if column not in grey] or range(len(layer.x))
    low, high, clipped = _color_range([cell for row in cells for place in counted if (cell := row[place]) is not None])
    rows, columns, suffix = len(layer.y), len(layer.x), suffix_of(meaning)
    texts, value = rows * columns <= MOST_TEXTS, f"%{{z:,.3~r}}{suffix}<extra></extra>"
    names = [inert(name, 60) for name in layer.y]
    under = {"yref": "paper", "y": -(TICKS + 12) / height}
    trace = {
        "type": "heatmap",
        "meta": "cells",
        "name": inert(layer.name),
        "x": list(range(columns)),
        "y": list(range(rows)),
        "z": cells,
        "zmin": low,
        "zmax": high,
        "colorscale": [[at, LIGHT[name]] for at, name in (_DEVIATION if low < 0 else _AMOUNT)],
        "xgap": 1 if columns <= 60 else 0,
        "ygap": 1 if rows <= 40 else 0,
        "text": [[f"{name}, {inert(chart.x.label)} {inert(x)}" for x in layer.x] for name in names] if texts else None,
        "hovertemplate": f"%{{text}}: {value}" if texts else value,
        "hoverongaps": False,
        "colorbar": {
            **under,
            "orientation": "h",
            "yanchor": "top",
            "x": 1,
            "xanchor": "right",
            "len": 0.5,
            "thickness": 10,
            "ypad": 0,
            "xpad": 0,
            "outlinewidth": 0,
            "ticksuffix": suffix if meaning.unit == "share" else "",
            "tickfont": {"size": 11, "color": LIGHT["ink-2"]},
            "nticks": 5,
            "tickangle": 0,
        },
    }
    title = {
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "xshift": 8 - left,
        "yanchor": "top",
        "yshift": 4,
        "align": "left",
        "name": "scale",
    }
    return [trace], [label(_scale_title(meaning, clipped=clipped), **under, **title)]


def _columns(axis: Axis, values: list[Any]) -> Spec:
    """Cells stand side by side; their ticks carry what they stand for."""
    if axis.scale == "category":
        return names_axis(values, title_of(axis))
    every = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if len(values) / size <= 14)
    places = [place for place, value in enumerate(values) if isinstance(value, int | float) and value % every == 0]
    places = places or list(range(0, len(values), every))
    return {
        **value_axis(axis, -0.5, len(values) - 0.5, grid=False),
        "tickvals": places,
        "ticktext": [inert(values[place]) for place in places],
        "ticksuffix": "",
        "tickangle": 0,
        "fixedrange": True,
    }


def _color_range(values: list[float]) -> tuple[float, float, bool]:
    """Ends of the colours, symmetric where there are negative values, and whether cells lie beyond them."""
    if not values:
        return 0.0, 1.0, False
    amounts = np.abs(np.array(values))
    reach, most = float(np.quantile(amounts, 0.98)), float(amounts.max())
    clipped = 0 < FAR * reach < most
    end = (reach if clipped else most) or 1.0
    return (-end if min(values) < 0 else 0.0), end, clipped


def _scale_title(meaning: Axis, *, clipped: bool) -> str:
    title = title_of(meaning)
    return f"{title}<br>(some cells beyond)" if clipped else title


def _meta(chart: Chart, layer: Layer, names: list[str]) -> Spec:
    """What a place on the axes stands for, for the page's script."""
    meta: Spec = {"rows": names, "columns": [f"{inert(chart.x.label)} {inert(x)}" for x in layer.x]}
    if (chart.y.label, chart.x.label) == ("rank", "step"):
        meta |= {"ranks": [int(str(name).removeprefix("rank ")) for name in layer.y], "steps": list(layer.x)}
    return meta | ({"order": layer.order} if layer.order else {})
