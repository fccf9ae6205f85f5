"""Named points over two amounts, with their intervals, and a stepped line along those that nothing beats.

Every point is labelled beside it. Pages are as wide as their reader's screen, so a place for a label is one that is free on a phone, in half of
a row and in a whole one; a label that had to move away is tied to its point by a thin line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from scaleprof.render.figures.base import Spec, figure, inert, shown, suffix_of, value_axis
from scaleprof.render.palette import LIGHT, color
from scaleprof.render.words import phrase
from scaleprof.results import Axis, Chart, Layer

HEIGHT = 380
LEFT, RIGHT, TOP, BOTTOM = 66, 24, 18, 48
WIDTHS = (262, 455, 1060)
"""Pixels between the axes on a phone, in half of a row, in a whole one."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")
SIZE = 11
TEXT_PX, LINE_PX = 6.9, 16  # a character at 12 px, and the height of a label
GAP = 10  # between a point's middle and its label
FAR = 22  # a label further away than this is tied to its point
PAD = 0.09  # room around the points, of what they span


@dataclass(frozen=True)
class _Point:
    """One point in the unit shown, its place as a share of the axes, and what stands beside it."""

    layer: Layer
    order: int
    x: float
    y: float
    across: float = 0.0
    up: float = 0.0

    @property
    def words(self) -> str:
        """`fsdp2 beaten`"""
        return f"{inert(self.layer.name, 24)} {self.note}".strip()

    @property
    def note(self) -> str:
        return inert(self.layer.text[0]) if self.layer.text else ""

    @property
    def symbol(self) -> str:
        """Another one for the same colour, where there are more points than colours."""
        return SYMBOLS[(self.order + self.order // len(SYMBOLS)) % len(SYMBOLS)]


_Box = tuple[float, float, float, float]
"""Left, right, bottom, top in pixels."""


def scatter(chart: Chart) -> Spec:
    """The figure of a chart of kind `scatter`."""
    places = {layer.name: place for place, layer in enumerate(chart.layers)}
    points = [layer for layer in chart.layers if layer.style != "reference" and len(layer.x)]
    across, up = _range(chart.x, points, upright=False), _range(chart.y, points, upright=True)
    placed = [
        _Point(
            layer, places[layer.name], x, y, (x - across[0]) / (across[1] - across[0]), (y - up[0]) / (up[1] - up[0])
        )
        for layer in points
        for x, y in zip(shown(layer.x, chart.x), shown(layer.y, chart.y), strict=True)
        if x is not None and y is not None
    ]
    strokes = _strokes(chart, across, up)
    lines = [_stepped(layer, chart) for layer in chart.layers if layer.style == "reference"]
    return figure(
        [*lines, *(_mark(point, chart) for point in placed)],
        height=HEIGHT,
        margin=(LEFT, RIGHT, TOP, BOTTOM),
        x={**value_axis(chart.x, *across), "fixedrange": True},
        y={**value_axis(chart.y, *up), "fixedrange": True},
        hovermode="closest",
        annotations=_labels(placed, strokes),
    )


def _range(axis: Axis, layers: Sequence[Layer], *, upright: bool) -> tuple[float, float]:
    """Both ends of an axis, with room for what stands beside the outermost points."""
    values = [
        value
        for layer in layers
        for value in shown([*layer.y, *(layer.low or ()), *(layer.high or ())] if upright else layer.x, axis)
        if value is not None
    ] or [0.0, 1.0]
    low, high = min(values), max(values)
    pad = (high - low) * PAD or abs(high) * PAD or 1.0
    return (0.0 if axis.from_zero else low - pad), high + pad


def _stepped(layer: Layer, chart: Chart) -> Spec:
    return {
        "type": "scatter",
        "name": inert(layer.name),
        "x": shown(layer.x, chart.x),
        "y": shown(layer.y, chart.y),
        "mode": "lines",
        "line": {"color": LIGHT["ink-3"], "width": 1.4, "dash": "dash", "shape": "hv"},
        "hoverinfo": "skip",
    }


def _mark(point: _Point, chart: Chart) -> Spec:
    layer, stroke = point.layer, color(point.layer.color, point.order)
    trace: Spec = {
        "type": "scatter",
        "name": inert(layer.name, 60),
        "x": [point.x],
        "y": [point.y],
        "mode": "markers",
        "marker": {
            "color": stroke,
            "size": SIZE,
            "symbol": point.symbol,
            "line": {"color": LIGHT["card"], "width": 1},
        },
        "customdata": [[inert(phrase(layer.x[0], chart.x.unit)), point.note]],
        "hovertemplate": f"%{{y:,.4~r}}{suffix_of(chart.y)}, %{{customdata[0]}} %{{customdata[1]}}<extra>{inert(layer.name, 60)}</extra>",
        "cliponaxis": False,
    }
    low, high = shown(layer.low or [None], chart.y)[0], shown(layer.high or [None], chart.y)[0]
    if low is not None and high is not None:
        ends = {"type": "data", "symmetric": False, "array": [high - point.y], "arrayminus": [point.y - low]}
        trace["error_y"] = {**ends, "color": stroke, "thickness": 1.4, "width": 4}
    return trace


def _labels(points: Sequence[_Point], strokes: Sequence[_Box]) -> list[Spec]:
    """Every point's name at the nearest place that is free at all widths, the most crowded points first."""
    taken: list[list[_Box]] = [[_around(point, width) for point in points] for width in WIDTHS]
    lines = [[_in_pixels(stroke, width) for stroke in strokes] for width in WIDTHS]
    labels = []
    for point in sorted(points, key=lambda one: _room(one, points)):
        side, shift = min(_places(), key=lambda place: _cost(point, place, taken, lines))
        for boxes, width in zip(taken, WIDTHS, strict=True):
            boxes.append(_box(point, side, shift, width))
        labels.append(_label(point, side, shift))
    return labels


def _room(point: _Point, points: Sequence[_Point]) -> float:
    """How near the nearest other point is in half of a row."""
    return min(
        (
            abs(other.across - point.across) * WIDTHS[1] + abs(other.up - point.up) * _plot_px()
            for other in points
            if other is not point
        ),
        default=0.0,
    )


def _plot_px() -> float:
    return float(HEIGHT - TOP - BOTTOM)


def _places() -> Iterator[tuple[int, float]]:
    """Side (1 right, -1 left, 0 over or under) and by how many pixels up."""
    for step in range(0, 160, 8):
        for shift in (step, -step) if step else (0,):
            yield from ((1, shift), (-1, shift))
            if abs(shift) >= 2 * GAP - 4:
                yield 0, shift


def _around(point: _Point, width: int) -> _Box:
    x, y, half = point.across * width, point.up * _plot_px(), SIZE / 2 + 1
    return x - half, x + half, y - half, y + half


def _box(point: _Point, side: int, shift: float, width: int) -> _Box:
    wide, x, y = len(point.words) * TEXT_PX, point.across * width, point.up * _plot_px() + shift
    left = x + GAP if side > 0 else x - GAP - wide if side < 0 else x - wide / 2
    return left, left + wide, y - LINE_PX / 2, y + LINE_PX / 2


def _cost(
    point: _Point, place: tuple[int, float], taken: Sequence[Sequence[_Box]], lines: Sequence[Sequence[_Box]]
) -> float:
    """Pixels away, more for every line across it, and much more for everything that it would cover or stick out of, at any width."""
    side, shift = place
    cost = abs(shift) + (4 if side < 0 else 6 if side == 0 else 0)
    for boxes, strokes, width in zip(taken, lines, WIDTHS, strict=True):
        box = _box(point, side, shift, width)
        cost += 1000 * sum(_overlap(box, other) for other in boxes) + 30 * sum(_overlap(box, line) for line in strokes)
        left, right, bottom, top = box
        cost += 50 * max(0.0, -left - LEFT + 60, right - width - RIGHT + 2, -bottom, top - _plot_px() - TOP + 2)
    return cost


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def _in_pixels(box: _Box, width: int) -> _Box:
    left, right, bottom, top = box
    return left * width - 1, right * width + 1, bottom * _plot_px() - 1, top * _plot_px() + 1


def _strokes(chart: Chart, across: tuple[float, float], up: tuple[float, float]) -> list[_Box]:
    """Interval bars and the level and upright parts of stepped lines, as shares of the axes."""
    found: list[_Box] = []
    for layer in chart.layers:
        x = [(value - across[0]) / (across[1] - across[0]) for value in shown(layer.x, chart.x) if value is not None]
        y, low, high = (
            [(value - up[0]) / (up[1] - up[0]) for value in shown(ends or [], chart.y) if value is not None]
            for ends in (layer.y, layer.low, layer.high)
        )
        if layer.style == "reference":
            corners = list(zip(x, y, strict=False))
            for (left, below), (right, above) in pairwise(corners):
                found += [(left, right, below, below), (right, right, min(below, above), max(below, above))]
        else:
            found += [(at, at, start, end) for at, start, end in zip(x, low, high, strict=False)]
    return found


def _label(point: _Point, side: int, shift: float) -> Spec:
    """The name, and what else there is to say of the point, in lighter type."""
    text = f"<b>{inert(point.layer.name, 24)}</b>" + (f" {point.note}" if point.note else "")
    place: Spec = {
        "text": text,
        "x": point.x,
        "y": point.y,
        "xanchor": ("center", "left", "right")[side],
        "yanchor": "middle",
        "font": {"size": 12, "color": LIGHT["ink-3"] if point.note else LIGHT["ink"]},
    }
    if abs(shift) < FAR:
        return {**place, "showarrow": False, "xshift": side * GAP, "yshift": shift}
    return {
        **place,
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 0.8,
        "arrowcolor": LIGHT["muted"],
        "ax": side * GAP,
        "ay": -shift,
        "standoff": SIZE / 2 + 2,
    }
