"""A waterfall lying down: the whole, what is taken from it or added to it, and what is left.

The first entry stands on zero; so does an entry whose text is `total`, and the last one where it equals the sum of those before. Every other
entry begins where the one before ended. The texts name the colours: a leaf, or `total`. Entries of exactly zero are not drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from scaleprof.render.figures.base import Spec, figure, finite, in_words, inert, label, names_axis, room_for, value_axis
from scaleprof.render.palette import LIGHT, color
from scaleprof.render.words import digits_of, percent
from scaleprof.results import Axis, Chart, Layer

ROW_PX = 32


@dataclass(frozen=True)
class _Entry:
    name: str
    value: float
    base: float
    is_total: bool
    color: str

    @property
    def end(self) -> float:
        return self.base + self.value


def waterfall(chart: Chart) -> Spec:
    """The figure of a chart of kind `waterfall`, of its first layer."""
    entries = _entries(chart.layers[0]) if chart.layers else []
    factor = 100.0 if chart.y.unit == "share" else 1.0
    places = list(range(len(entries)))
    trace = {
        "type": "bar",
        "name": inert(chart.layers[0].name) if chart.layers else "",
        "orientation": "h",
        "x": [finite(entry.value, factor) for entry in entries],
        "base": [finite(entry.base, factor) for entry in entries],
        "y": places,
        "customdata": [[inert(entry.name, 120), _words(entry, entries, chart.y)] for entry in entries],
        "marker": {"color": [entry.color for entry in entries], "line": {"width": 0}},
        "hovertemplate": "%{customdata[0]}: %{customdata[1]}<extra></extra>",
    }
    ends = [end * factor for entry in entries for end in (entry.base, entry.end)] or [0.0, 1.0]
    low, high = min(0.0, *ends), max(ends) or 1.0
    span = high - low
    annotations = [_label(place, entry, entries, chart.y, (low, span), factor) for place, entry in enumerate(entries)]
    x = {**value_axis(chart.y, low, high), "fixedrange": True}
    # Amounts are bold, which is wider than what `room_for` counts.
    right = [f"{_words(entry, entries, chart.y)}  " for entry in entries if entry.end * factor > low + 0.6 * span]
    y = {**names_axis([entry.name for entry in entries]), "range": [len(entries) - 0.5, -0.5]}
    return figure(
        [trace],
        height=ROW_PX * len(entries) + 54,
        margin=(room_for([entry.name[:30] for entry in entries]), room_for(right), 4, 50),
        x=x,
        y=y,
        bargap=0.34,
        annotations=annotations,
        shapes=_connectors(entries, factor),
    )


def _entries(layer: Layer) -> list[_Entry]:
    texts = layer.text or [""] * len(layer.x)
    entries: list[_Entry] = []
    running = 0.0
    for place, (name, amount, text) in enumerate(zip(layer.x, layer.y, texts, strict=True)):
        value = finite(amount)
        if value is None:
            continue
        last = place == len(layer.x) - 1
        is_total = place == 0 or text == "total" or (last and math.isclose(value, running, rel_tol=1e-4, abs_tol=1e-9))
        if value == 0 and not is_total:
            continue
        fill = (
            LIGHT["total"] if text == "total" else color(text) if text else LIGHT["total" if is_total else "series-1"]
        )
        entries.append(_Entry(str(name), value, 0.0 if is_total else running, is_total, fill))
        running = entries[-1].end
    return entries


def _words(entry: _Entry, entries: Sequence[_Entry], axis: Axis) -> str:
    """`−1.02 (25.5 %)` for a change, all with the same decimals so that the eye can add up; the share is of the first entry."""
    largest = max(abs(one.value) for one in entries)
    decimals = min(digits_of(largest, significant=4), 2) if largest >= 1 else digits_of(largest)
    sign = "" if entry.is_total else "−" if entry.value < 0 else "+"
    amount = sign + in_words(abs(entry.value), axis, decimals)
    if entry.color == LIGHT["total"] or not entries[0].value:
        return amount
    return f"{amount} ({percent(abs(entry.value) / entries[0].value)} %)"


def _label(
    place: int, entry: _Entry, entries: Sequence[_Entry], axis: Axis, span: tuple[float, float], factor: float
) -> Spec:
    amount, _, share = _words(entry, entries, axis).partition(" (")
    text = f"<b>{amount}</b>" + (f"  {share.rstrip(')')}" if share else "")
    left, right = sorted((entry.base * factor, entry.end * factor))
    on_the_left = not entry.is_total and entry.value < 0 and left - span[0] > 0.3 * span[1]
    if on_the_left:
        return label(text, x=left, y=place, xanchor="right", yanchor="middle", xshift=-4)
    return label(text, x=right, y=place, xanchor="left", yanchor="middle", xshift=4)


def _connectors(entries: Sequence[_Entry], factor: float) -> list[dict[str, Any]]:
    """Thin lines from where one bar ends to where the next begins."""
    line = {"color": LIGHT["ink-3"], "width": 1, "dash": "dot"}
    shapes = []
    for place, (before, after) in enumerate(pairwise(entries)):
        at = before.end * factor
        if math.isclose(at, (after.end if after.is_total else after.base) * factor, rel_tol=1e-3, abs_tol=1e-9):
            shapes.append({"type": "line", "x0": at, "x1": at, "y0": place + 0.33, "y1": place + 0.67, "line": line})
    return shapes
