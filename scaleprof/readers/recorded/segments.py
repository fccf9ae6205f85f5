"""The line streams of our own recordings, segment by segment, and what is missing of them.

A killed job leaves a damaged last line: what came before counts. Of a stream that grew beyond its limit the middle is missing; where, its
neighbours say, and the words for it name steps.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from scaleprof.errors import BrokenFile
from scaleprof.intervals import Ints, Spans, spans
from scaleprof.readers.json_text.text import whole_text
from scaleprof.readers.schema import whole
from scaleprof.remote import AnyPath
from scaleprof.run import LOST_KEY, segments_of, stream_bytes

Line = dict[str, Any]
_NEVER = 1 << 62


@dataclass(frozen=True)
class Gap:
    """Lines that are missing in a stream, between two that are there; None where none is there."""

    before: Line | None
    after: Line | None
    lost: int = 0
    """How many, where they could not be written; 0 for segments that were not kept."""


class Stream:
    """The objects of a stream, in order, one segment in memory at a time; `gaps` and `caveats` are known when all were read.

    A stream that does not exist is empty. What is damaged costs its line, what cannot be opened its segment.
    """

    def __init__(self, folder: AnyPath, name: str) -> None:
        self.name = name
        self.gaps: list[Gap] = []
        self.caveats: list[str] = []
        self._segments = segments_of(folder, name)

    def __iter__(self) -> Iterator[Line]:
        before: Line | None = None
        missing: list[int] = []
        """For each gap that nothing has followed yet: how many lines were lost, 0 for segments."""
        expected = 0
        for number, path in self._segments.items():
            if number > expected:
                missing.append(0)
            expected = number + 1
            for line in self._read(path):
                if set(line) == {LOST_KEY}:
                    missing.append(max(whole(line[LOST_KEY]), 1))
                    continue
                self.gaps += [Gap(before, line, lost) for lost in missing]
                missing.clear()
                before = line
                yield line
        self.gaps += [Gap(before, None, lost) for lost in missing]

    def _read(self, path: AnyPath) -> Iterator[Line]:
        try:
            text, damage = whole_text(path)
        except BrokenFile as error:
            self.caveats.append(f"{path.name} {error.reason}")
            return
        lines = text.splitlines()
        del text
        found, broken = 0, list[int]()
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            content = _decoded(line)
            if content is None:
                broken.append(number)
            else:
                found += 1
                yield content
        if broken == [len(lines) - 1]:
            self.caveats.append(
                f"the last line of {path.name} is damaged, as a killed job leaves it: {found:,} lines were read"
            )
        elif broken:
            self.caveats.append(f"{len(broken):,} of {len(lines):,} lines of {path.name} are damaged and were left out")
        elif damage:
            self.caveats.append(f"{path.name} ends too early: {damage}; {found:,} lines were read")


def _decoded(line: bytes) -> Line | None:
    try:
        content = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        try:
            content = json.loads(line)  # slower, and knows NaN
        except (ValueError, RecursionError):
            return None
    return content if isinstance(content, dict) else None


def missing_steps(stream: Stream) -> list[str]:
    """What is missing of the stream of steps, by their numbers."""
    said = []
    for gap in stream.gaps:
        first = whole(gap.before.get("i")) + 1 if gap.before else 0
        last = whole(gap.after.get("i")) - 1 if gap.after else None
        if not gap.lost and (last is None or last >= first):
            which = f"steps {first:,} to {last:,}" if last is not None else f"steps from {first:,} on"
            said.append(f"{which} were not kept: {_limit(stream.name)}")
    return said + _lost(stream, "")


def missing_lines(
    stream: Stream, what: str, time_of: Callable[[Line], int], steps: tuple[Ints, Ints]
) -> tuple[list[str], Spans]:
    """What is missing of another stream, in words, and when that was.

    `time_of` says when a line was written; `steps` are the numbers and the starts of the steps that were kept, on the same clock.
    """
    stretches = spans([_stretch(gap, time_of) for gap in stream.gaps])
    limited = np.array([not gap.lost for gap in stream.gaps], dtype=np.bool_)
    said = []
    if limited.any():
        during = _during(Spans(stretches.start[limited], stretches.end[limited]), steps)
        said.append(f"a part of the {what}{during} was not kept: {_limit(stream.name)}")
    if not limited.all():
        said += _lost(stream, _during(Spans(stretches.start[~limited], stretches.end[~limited]), steps))
    return said, stretches


def _stretch(gap: Gap, time_of: Callable[[Line], int]) -> tuple[int, int]:
    since = max(time_of(gap.before), 0) if gap.before else 0
    return since, max(time_of(gap.after), since) if gap.after else _NEVER


def _during(stretches: Spans, steps: tuple[Ints, Ints]) -> str:
    """The steps from the first stretch's to the last one's."""
    index, start = steps
    if not len(index):
        return ""
    edges = np.array([stretches.start.min(), stretches.end.max()])
    first, last = index[np.maximum(np.searchsorted(start, edges, side="right") - 1, 0)]
    return f" of steps {first:,} to {last:,}"


def _lost(stream: Stream, during: str) -> list[str]:
    lost = sum(gap.lost for gap in stream.gaps)
    return [f"{lost:,} lines of {stream.name}{during} are missing: they could not be written in time"] if lost else []


def _limit(name: str) -> str:
    return f"{name} is limited to {stream_bytes(name) / 1e6:,.3g} MB"
