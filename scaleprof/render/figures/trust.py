"""How far a line is to be trusted, drawn: beyond what was measured it is dashed, then dotted, under a fainter band and over a darker shade."""

import math
from collections.abc import Sequence

from scaleprof.render.figures.base import Spec, label
from scaleprof.render.palette import LIGHT
from scaleprof.results import Layer

DASHES = {"fit": "solid", "predicted": "solid", "indicative": "dash", "speculative": "dot"}
"""Styles of layers that are the line of a law, and the stroke of each. A fit has points between whole sizes, so that it is round."""
BAND_OPACITY = {"predicted": 0.15, "indicative": 0.11, "speculative": 0.08}
_SHADES = {"predicted": 0.4, "indicative": 0.7, "speculative": 1.0}
_ROW_PX = 15


def is_beyond(layer: Layer) -> bool:
    """Whether it is a piece of a line beyond what was measured."""
    return layer.style in _SHADES


def doublings(layer: Layer) -> list[float]:
    """The sizes of such a piece that are the first one doubled and doubled again."""
    return [size for size in layer.x if math.log2(size / layer.x[0]).is_integer()]


def shades(layers: Sequence[Layer]) -> list[Spec]:
    """A shade behind each piece, all over the height of the plot."""
    return [
        {
            "type": "rect",
            "xref": "x",
            "x0": layer.x[0],
            "x1": layer.x[-1],
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "fillcolor": LIGHT["grid"],
            "opacity": _SHADES[layer.style],
            "line": {"width": 0},
            "layer": "below",
        }
        for layer in layers
    ]


def names(layers: Sequence[Layer]) -> list[Spec]:
    """The name of each piece above its shade, on two lines in turn, since a piece may be narrower than its name.

    On a logarithmic axis plotly takes the place of a text as an exponent.
    """
    return [
        label(
            layer.name,
            xref="x",
            x=(math.log10(layer.x[0]) + math.log10(layer.x[-1])) / 2,
            yref="paper",
            y=1,
            yanchor="bottom",
            yshift=_ROW_PX * (place % 2),
            font={"size": 11, "color": LIGHT["ink-3"]},
        )
        for place, layer in enumerate(layers)
    ]
