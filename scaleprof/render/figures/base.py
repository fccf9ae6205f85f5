"""What every figure shares: inert text, values in the unit shown, axes with their own ticks, and a layout in the light palette.

Axes with names on them are drawn as plain numbers with tick texts: plotly takes numeric-looking names on a category axis as positions, and
merges equal ones.
"""

import html
import math
from collections.abc import Sequence
from typing import Any

from scaleprof.render.palette import LIGHT
from scaleprof.render.words import number, phrase, shortened
from scaleprof.results import Axis

Spec = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
CHARACTER_PX = 6.9  # mean width of a character at 12 px, to leave room for labels
MOST_NAMES = 26  # more names than this on an axis and some are left out


def inert(value: Any, most: int = 40) -> str:
    """Text from a trace for plotly, which reads pseudo-HTML: shown as it is, never as markup."""
    return html.escape(shortened(str(value), most), quote=False)


def factor_of(axis: Axis) -> float:
    """Shares are drawn in percent."""
    return 100.0 if axis.unit == "share" else 1.0


def shown(values: Sequence[Any], axis: Axis) -> list[float | None]:
    """Values in the unit of the axis, six significant digits, None where absent."""
    return [finite(value, factor_of(axis)) for value in values]


def finite(value: Any, factor: float = 1.0) -> float | None:
    """A number that JSON and plotly know, or None."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return float(f"{float(value) * factor:.6g}")


def title_of(axis: Axis) -> str:
    """`time per step (ms)`; the sign of percent stands at the ticks."""
    label = inert(axis.label[:1].upper() + axis.label[1:])
    return f"{label} ({inert(axis.unit)})" if axis.unit not in ("", "share") and axis.label else label


def suffix_of(axis: Axis) -> str:
    """What follows a number of this axis in a hover text."""
    if axis.unit == "share":
        return " %"
    return f" {inert(axis.unit)}" if axis.unit else ""


def in_words(value: float, axis: Axis, decimals: int | None = None) -> str:
    """A value in the unit of the axis, so that labels of one chart can be compared: `1,620 ms`, never `1.62 s` beside `852 ms`."""
    if axis.unit in ("share", "bytes"):
        return inert(phrase(value, axis.unit))
    small = decimals is None or abs(value) < 0.5 * 10.0**-decimals
    return inert(f"{number(value) if small else f'{value:,.{decimals}f}'} {axis.unit}".strip())


def value_axis(axis: Axis, low: float, high: float, *, grid: bool = True) -> Spec:
    """A linear axis from low to high, in the unit shown."""
    return {
        **_plain_axis(title_of(axis)),
        "range": [low, high],
        "showgrid": grid,
        "nticks": 7,
        "tickformat": "~s" if high >= 100_000 else "",
        "ticksuffix": " %" if axis.unit == "share" else "",
        "separatethousands": True,
    }


def names_axis(names: Sequence[Any], title: str = "", *, most: int = 30) -> Spec:
    """Positions 0, 1, 2 ... with names at them; every so many are left out where they are too many."""
    every = math.ceil(len(names) / MOST_NAMES)
    places = list(range(0, len(names), every))
    return {
        **_plain_axis(title),
        "tickvals": places,
        "ticktext": [inert(names[place], most) for place in places],
        "range": [-0.5, len(names) - 0.5],
        "showgrid": False,
        "fixedrange": True,
    }


def _plain_axis(title: str) -> Spec:
    return {
        "type": "linear",
        "title": {"text": title, "font": {"size": 12, "color": LIGHT["ink-2"]}, "standoff": 10},
        "gridcolor": LIGHT["grid"],
        "linecolor": LIGHT["line"],
        "tickfont": {"size": 12, "color": LIGHT["ink-2"]},
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "automargin": False,
    }


def figure(data: list[Spec], *, height: int, margin: tuple[int, int, int, int], x: Spec, y: Spec, **more: Any) -> Spec:
    """Traces with a layout; the margin is left, right, top, bottom."""
    left, right, top, bottom = margin
    layout = {
        "height": height,
        "margin": {"l": left, "r": right, "t": top, "b": bottom, "pad": 4},
        "paper_bgcolor": LIGHT["card"],
        "plot_bgcolor": LIGHT["card"],
        "font": {"family": FONT, "size": 12, "color": LIGHT["ink-2"]},
        "hoverlabel": {
            "bgcolor": LIGHT["card"],
            "bordercolor": LIGHT["line"],
            "font": {"family": FONT, "size": 12, "color": LIGHT["ink"]},
            "align": "left",
            "namelength": -1,
        },
        "showlegend": False,
        "dragmode": False,
        "uniformtext": {"minsize": 10, "mode": "hide"},
        "xaxis": x,
        "yaxis": y,
        **more,
    }
    return {"data": data, "layout": layout}


def legend_on_top() -> Spec:
    """A legend in one line above the plot, in the order of the layers."""
    return {
        "showlegend": True,
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "bottom",
            "yref": "paper",
            "traceorder": "normal",
            "font": {"size": 12, "color": LIGHT["ink-2"]},
            "bgcolor": "rgba(0,0,0,0)",
            "itemclick": False,
            "itemdoubleclick": False,
        },
    }


def label(text: str, **place: Any) -> Spec:
    """A text at a place of the plot, without an arrow."""
    font = {"size": 12, "color": LIGHT["ink-2"], **place.pop("font", {})}
    return {"text": text, "showarrow": False, "font": font, **place}


def room_for(texts: Sequence[str], *, least: int = 24, most: int = 210) -> int:
    """Pixels that the longest of these texts takes."""
    longest = max((len(text) for text in texts), default=0)
    return int(min(max(longest * CHARACTER_PX + 14, least), most))
