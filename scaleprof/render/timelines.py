"""The slices of a timeline as the page's script gets them: columns of numbers, texts once, and no more of it than a report may weigh."""

from collections.abc import Sequence
from typing import Any

from scaleprof.render.palette import LIGHT
from scaleprof.results import Table

MOST_SLICES = 60_000
"""Of all timelines of a report: about a megabyte of the file."""
LEFT_OUT = (
    "the timelines of other runs have taken the room that a report has for them: analyze this run alone to see its own"
)
_LONGEST_NAME = 160


def put_into(timelines: dict[str, dict[str, Any]], slices: Table | None) -> str:
    """Add a timeline to those of a page; its key, empty where there is none, or no room for one more."""
    if (
        slices is None
        or not len(slices)
        or len(slices) + sum(len(one["at"]) for one in timelines.values()) > MOST_SLICES
    ):
        return ""
    key = f"timeline-{len(timelines)}"
    timelines[key] = payload_of(slices)
    return key


def payload_of(slices: Table) -> dict[str, Any]:
    """Ranks, the ends of the step on each, texts, and one entry per slice in every other column; times in ms."""
    ranks = list(dict.fromkeys(slices["rank"]))
    place_of = {rank: place for place, rank in enumerate(ranks)}
    windows = {
        rank: (start, end)
        for rank, start, end in zip(slices["rank"], slices["step_from_ms"], slices["step_to_ms"], strict=True)
    }
    names, name = _numbered([_shortened(text) for text in slices["name"]])
    colors, color = _numbered(list(slices["color"]))
    return {
        "ranks": ranks,
        "steps": [list(windows[rank]) for rank in ranks],
        "names": names,
        "colors": [LIGHT.get(one, LIGHT["muted"]) for one in colors],
        "rank": [place_of[rank] for rank in slices["rank"]],
        "row": list(slices["row"]),
        "depth": list(slices["depth"]),
        "at": list(slices["start_ms"]),
        "dur": list(slices["dur_ms"]),
        "wait": list(slices["wait_ms"]),
        "name": name,
        "color": color,
        "operation": list(slices["operation"]),
        "bytes": list(slices["bytes"]),
    }


def _numbered(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Each text once, and for every entry which one it is."""
    place: dict[str, int] = {}
    return_of = [place.setdefault(text, len(place)) for text in texts]
    return list(place), return_of


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
