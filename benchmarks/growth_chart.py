"""The picture of `growth.py`: seconds and memory over the ranks, both axes logarithmic, as SVG text."""

import math
from collections.abc import Callable, Sequence
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT = 420, 320, 70, 40, 130
_LINE = 13
_COLORS = {"align": "#1f4e79", "conclude": "#c77700", "aligned": "#1f4e79", "at most": "#7a3e9d"}


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The power with which y grows with x: the slope of a line through their logarithms, by least squares."""
    logs = [(math.log(a), math.log(b)) for a, b in zip(x, y, strict=True)]
    mean_x, mean_y = (sum(side) / len(logs) for side in zip(*logs, strict=True))
    return sum((a - mean_x) * (b - mean_y) for a, b in logs) / sum((a - mean_x) ** 2 for a, _ in logs)


def drawn(found: Sequence[dict[str, Any]], parts: Callable[[dict[str, Any]], dict[str, float]]) -> str:
    """Two charts side by side."""
    ranks = [one["ranks"] for one in found]
    seconds = {part: [parts(one)[part] for one in found] for part in ("align", "conclude")}
    memory = {"aligned": [one["align_mb"] for one in found], "at most": [one["peak_mb"] for one in found]}
    charts = _chart(ranks, seconds, "CPU seconds", 0) + _chart(ranks, memory, "MB", _WIDTH + _RIGHT)
    size = f'width="{2 * (_WIDTH + _RIGHT)}" height="{_HEIGHT + _TOP}"'
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}><rect width="100%" height="100%" fill="white"/>{charts}</svg>\n'


def _chart(ranks: Sequence[int], lines: dict[str, list[float]], unit: str, shift: int) -> str:
    low, high = min(map(min, lines.values())), max(map(max, lines.values()))
    floor, ceiling = math.floor(math.log10(low)), math.ceil(math.log10(high * 1.001))
    first, last = math.log2(min(ranks)), max(math.log2(max(ranks)), math.log2(min(ranks)) + 1)

    def x(value: float) -> float:
        return shift + _LEFT + (math.log2(value) - first) / (last - first) * (_WIDTH - _LEFT)

    def y(value: float) -> float:
        return _TOP + (ceiling - math.log10(value)) / (ceiling - floor) * (_HEIGHT - _TOP)

    parts = [f'<text x="{shift + _LEFT}" y="{_TOP - 18}" font-weight="bold">{unit} over ranks</text>']
    for power in range(floor, ceiling + 1):
        at = y(10.0**power)
        parts.append(f'<line x1="{x(min(ranks))}" x2="{shift + _WIDTH}" y1="{at}" y2="{at}" stroke="#ddd"/>')
        parts.append(f'<text x="{shift + _LEFT - 8}" y="{at + 4}" text-anchor="end">{10.0**power:,g}</text>')
    parts += [f'<text x="{x(one)}" y="{_HEIGHT + 20}" text-anchor="middle">{one:,}</text>' for one in ranks]
    free = 0.0
    for name, values in sorted(lines.items(), key=lambda line: -line[1][-1]):
        points = list(zip(ranks, values, strict=True))
        way = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        color = _COLORS[name]
        parts.append(f'<polyline points="{way}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3.5" fill="{color}"/>' for a, b in points]
        # Memory has a part that does not grow: no one power says how it does.
        grows = len(points) > 1 and unit != "MB"
        said = f"{name}, ranks^{exponent(ranks, values):.2f}" if grows else name
        free = max(y(values[-1]) + 4, free + _LINE)
        parts.append(f'<text x="{shift + _WIDTH + 6}" y="{free:.1f}" fill="{color}" font-size="10">{said}</text>')
    return "".join(parts)
