"""The slices of a timeline as the page's script gets them: columns of whole numbers, texts once, and no more of it than a report may weigh."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from scaleprof.render.palette import LIGHT
from scaleprof.results import Table

MOST_SLICES = 60_000
"""Of all timelines of a report: less than half a megabyte of the file."""
LEFT_OUT = (
    "the timelines of other runs have taken the room that a report has for them: analyze this run alone to see its own"
)
TICK_MS = 1e-4
"""The unit of every time in a payload."""
_LONGEST_NAME = 160


def put_into(timelines: dict[str, dict[str, Any]], slices: Table | None) -> str:
    """Add a timeline to those of a page; its key, empty where there is none, or no room for one more.

    Its first step takes the room of steps that other timelines show beside theirs, the largest first; its other steps take none.
    """
    if slices is None or not len(slices):
        return ""
    payload = payload_of(slices)
    first, *others = payload["steps"]
    room = MOST_SLICES - sum(_size(step) for one in timelines.values() for step in one["steps"])
    extras = [(one, step) for one in timelines.values() for step in one["steps"][1:]]
    extras.sort(key=lambda extra: _size(extra[1]))
    if room + sum(_size(step) for _, step in extras) < _size(first):
        return ""
    while room < _size(first):
        one, step = extras.pop()
        _leave_out(one, step)
        room += _size(step)
    room -= _size(first)
    for step in others:
        if _size(step) > room:
            _leave_out(payload, step)
        else:
            room -= _size(step)
    key = f"timeline-{len(timelines)}"
    timelines[key] = payload
    return key


def _leave_out(timeline: dict[str, Any], step: dict[str, Any]) -> None:
    timeline["steps"] = [one for one in timeline["steps"] if one is not step]
    timeline["no_room_for"].append(step["label"])


def _size(step: dict[str, Any]) -> int:
    return len(step["at"])


def payload_of(slices: Table) -> dict[str, Any]:
    """Ranks, texts and colours of a timeline, and its steps: the label and, by rank, the ends of each, and one entry per slice in every other column.

    Times are in `tick_ms`; `at` is the distance from the slice before.
    """
    names, name = _numbered([_shortened(text) for text in slices["name"]])
    colors, color = _numbered(list(slices["color"]))
    ranks = sorted(set(slices["rank"]))
    numbered = Table({**slices.columns, "name": name, "color": color})
    return {
        "tick_ms": TICK_MS,
        "ranks": ranks,
        "names": names,
        "colors": [LIGHT.get(one, LIGHT["muted"]) for one in colors],
        "steps": [_step(numbered, step, ranks) for step in dict.fromkeys(slices["step"])],
        "no_room_for": [],
    }


def _step(slices: Table, step: int, ranks: Sequence[int]) -> dict[str, Any]:
    rows = [row for row, of in enumerate(slices["step"]) if of == step]
    column = {name: [values[row] for row in rows] for name, values in slices.columns.items()}
    place_of = {rank: place for place, rank in enumerate(ranks)}
    windows = {
        rank: ends for rank, *ends in zip(column["rank"], column["step_from_ms"], column["step_to_ms"], strict=True)
    }
    return {
        "step": step,
        "label": column["step_label"][0],
        "windows": [_ticks(windows[rank]) if rank in windows else None for rank in ranks],
        "rank": [place_of[rank] for rank in column["rank"]],
        "row": column["row"],
        "depth": column["depth"],
        "at": [after - before for before, after in pairwise([0, *_ticks(column["start_ms"])])],
        "dur": [max(ticks, 1) for ticks in _ticks(column["dur_ms"])],
        "wait": [None if wait is None else round(wait / TICK_MS) for wait in column["wait_ms"]],
        "name": column["name"],
        "color": column["color"],
        "operation": column["operation"],
        "bytes": column["bytes"],
    }


def _ticks(times_ms: Sequence[float]) -> list[int]:
    return [round(time / TICK_MS) for time in times_ms]


def _numbered(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Each text once, and for every entry which one it is."""
    place: dict[str, int] = {}
    return_of = [place.setdefault(text, len(place)) for text in texts]
    return list(place), return_of


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
