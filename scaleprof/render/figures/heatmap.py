"""A heatmap of rank by step or the like: a deviation gets a scale with a neutral middle, an amount one that darkens.

Where few cells are far beyond the others, the colours end at the 98th percentile, and the scale says so.
"""

import numpy as np

from scaleprof.render.figures.base import (
    Spec,
    factor_of,
    figure,
    finite,
    inert,
    names_axis,
    room_for,
    title_of,
    value_axis,
)
from scaleprof.render.palette import LIGHT
from scaleprof.results import Axis, Chart

ROW_PX = (3, 34)  # least and most height of a row
HEIGHTS = (90, 420)
LONGEST_NAME = 30
FAR = 2.0  # cells this many times beyond the 98th percentile do not stretch the colours

_DEVIATION = ((0.0, "low-2"), (0.25, "low-1"), (0.5, "middle"), (0.75, "high-1"), (1.0, "high-2"))
_AMOUNT = ((0.0, "amount-0"), (0.25, "amount-1"), (0.5, "amount-2"), (0.75, "amount-3"), (1.0, "amount-4"))


def heatmap(chart: Chart) -> Spec:
    """The figure of a chart of kind `heatmap`, of its first layer."""
    layer = chart.layers[0]
    meaning = chart.z or Axis(layer.name)
    factor = factor_of(meaning)
    cells = [[finite(value, factor) for value in row] for row in layer.z or []]
    low, high, clipped = _color_range([value for row in cells for value in row if value is not None])
    scale = _DEVIATION if low < 0 else _AMOUNT
    rows = len(layer.y)
    plot_height = int(min(max(rows * ROW_PX[1], HEIGHTS[0]), HEIGHTS[1]))
    suffix = " %" if meaning.unit == "share" else f" {inert(meaning.unit)}" if meaning.unit else ""
    names = [inert(name, 60) for name in layer.y]
    trace = {
        "type": "heatmap",
        "name": inert(layer.name),
        "x": list(range(len(layer.x))),
        "y": list(range(rows)),
        "z": cells,
        "zmin": low,
        "zmax": high,
        "colorscale": [[at, LIGHT[name]] for at, name in scale],
        "xgap": 1 if len(layer.x) <= 80 else 0,
        "ygap": 1 if rows <= 40 else 0,
        "text": [[f"{name}, {inert(chart.x.label)} {inert(x)}" for x in layer.x] for name in names]
        if rows * len(layer.x) <= 4000
        else None,
        "hovertemplate": f"%{{text}}: %{{z:,.3~r}}{suffix}<extra></extra>"
        if rows * len(layer.x) <= 4000
        else f"%{{z:,.3~r}}{suffix}<extra></extra>",
        "hoverongaps": False,
        "colorbar": {
            "title": {
                "text": _scale_title(meaning, clipped=clipped),
                "side": "top",
                "font": {"size": 12, "color": LIGHT["ink-2"]},
            },
            "thickness": 12,
            "len": 1,
            "outlinewidth": 0,
            "ticksuffix": suffix if meaning.unit == "share" else "",
            "tickfont": {"size": 12, "color": LIGHT["ink-2"]},
            "nticks": 5,
            "ypad": 0,
            "yanchor": "bottom",
            "y": 0,
            "xpad": 6,
        },
    }
    x = _columns(chart.x, layer.x)
    y = {**names_axis(layer.y, most=LONGEST_NAME), "range": [rows - 0.5, -0.5]}
    left = room_for([inert(name, LONGEST_NAME) for name in layer.y], least=52)
    return figure([trace], height=plot_height + 30 + 48, margin=(left, 110, 30, 48), x=x, y=y)


def _columns(axis: Axis, values: list[object]) -> Spec:
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
