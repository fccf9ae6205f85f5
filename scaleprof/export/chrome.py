"""Chrome's trace format as Perfetto reads it: complete events that nest on their track, arrows by `bind_id`, counters.

Times are us with three decimals, made from whole ns without any float: what reads them as decimals has every ns again.
"""

import json
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from scaleprof.export.about import AboutRank, AboutRun
from scaleprof.export.series import Series
from scaleprof.export.shard import Shard
from scaleprof.export.tracks import Track

_PIECE = 20_000
"""Slices that are text at a time."""


class ChromeWriter:
    """Writes ranks one after the other."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._separator = "\n"
        self._written = 0

    def begin(self, about: AboutRun) -> None:
        """Before the first rank."""
        self._put('{"displayTimeUnit":"ns","traceEvents":[')

    def rank(self, about: AboutRank, shard: Shard) -> int:
        """All of one rank; how many bytes that are."""
        before = self._written
        lines = [
            _named(about.pid, "process_name", "name", about.name),
            _named(about.pid, "process_labels", "labels", about.labels),
            _named(about.pid, "process_sort_index", "sort_index", about.rank),
        ]
        for place, track in enumerate(shard.tracks):
            tid = about.pid + 1 + place
            lines.append(_named(about.pid, "thread_name", "name", track.label, tid))
            lines.append(_named(about.pid, "thread_sort_index", "sort_index", place, tid))
        self._lines(lines)
        for place, track in enumerate(shard.tracks):
            head = f'{{"ph":"X","pid":{about.pid},"tid":{about.pid + 1 + place},"ts":'
            for lines in _slices(track, head):
                self._lines(lines)
        for series in shard.series:
            self._lines(_points(series, about.pid))
        return self._written - before

    def end(self, about: AboutRun) -> None:
        """After the last rank."""
        self._put(f'\n],"otherData":{_text(about.told())}}}\n')

    def _lines(self, lines: list[str]) -> None:
        if lines:
            self._put(self._separator + ",\n".join(lines))
            self._separator = ",\n"

    def _put(self, text: str) -> None:
        self._written += self._file.write(text.encode(errors="replace"))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # viewers do not decode \\u in every place


def _us(ns: int) -> str:
    return f"{ns // 1000}.{ns % 1000:03d}"


def _named(pid: int, what: str, key: str, value: str | int, tid: int | None = None) -> str:
    thread = "" if tid is None else f'"tid":{tid},'
    return f'{{"ph":"M","pid":{pid},{thread}"name":"{what}","args":{{"{key}":{_text(value)}}}}}'


def _slices(track: Track, head: str) -> Iterator[list[str]]:
    """One line of text for each slice, some thousand at a time."""
    # Of the names of a rank, those on this track: a rank may have thousands of both.
    called = {
        of: f',"name":{_text(track.texts[of][0])},"cat":{_text(track.texts[of][1])}'
        for of in np.unique(track.name).tolist()
    }
    beside = _beside(track)
    for since in range(0, len(track), _PIECE):
        start, end, name = (column[since : since + _PIECE] for column in (track.start, track.end, track.name))
        yield [
            f'{head}{begin // 1000}.{begin % 1000:03d},"dur":{dur // 1000}.{dur % 1000:03d}{called[of]}{beside.get(place, "")}}}'
            for place, (begin, dur, of) in enumerate(
                zip(start.tolist(), (end - start).tolist(), name.tolist(), strict=True), since
            )
        ]


def _beside(track: Track) -> dict[int, str]:
    """By place, what an event has besides its time and name."""
    found = {place: f',"args":{_text(said)}' for place, said in track.args.items()}
    for place, tie in track.ties.items():
        sides = (',"flow_in":true' if tie.comes else "") + (',"flow_out":true' if tie.goes else "")
        found[place] = f'{found.get(place, "")},"bind_id":"0x{tie.operation + 1:x}"{sides}'
    return found


def _points(series: Series, pid: int) -> list[str]:
    name, unit = _text(series.name), _text(series.unit or "value")
    return [
        f'{{"ph":"C","pid":{pid},"name":{name},"ts":{_us(time)},"args":{{{unit}:{value:.9g}}}}}'
        for time, value in zip(series.time_ns.tolist(), series.values.tolist(), strict=True)
    ]
