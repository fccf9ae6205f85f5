"""The text of one step, made once and filled in for every step: writing a file costs a format per block of events, not objects per event.

An event holds *marks* where a value changes from step to step: `start(row)` and `duration(row)` are the times of a row of the step's table,
`number(n)` is n in the first step and grows by a fixed stride, `STEP` is the step's number, `sequence(n, stride)` counts operations of a group.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints, Spans
from scaleprof.synth.dialects import Dialect, Event, rendered

_EVENTS_PER_BLOCK = 1000  # a block's text and numbers stay in the processor's cache
_MARK = re.compile(r'"@([sdn])(\d+)@"|"@(q)(\d+):(\d+)@"|@(p)0@')
_NS_PER_US = 1000

STEP = "@p0@"
"""Inside a text: the number of the step."""


def start(row: int) -> str:
    """Where the start of a row of the step's table will stand."""
    return f"@s{row}@"


def duration(row: int) -> str:
    """Where its duration will stand."""
    return f"@d{row}@"


def number(first: int) -> str:
    """A number that is new in every step."""
    return f"@n{first}@"


def sequence(first: int, stride: int) -> str:
    """The sequence number of an operation, of which its group has `stride` in a step."""
    return f"@q{first}:{stride}@"


@dataclass(frozen=True)
class _Block:
    """Text with a `%` place for each value, and what goes into the places."""

    text: bytes
    places: int
    start_at: Ints
    start_row: Ints
    duration_at: Ints
    duration_row: Ints
    number_at: Ints
    first: Ints
    stride: Ints


@dataclass(frozen=True)
class Template:
    """Events as text, to be filled with the times and the number of a step."""

    blocks: tuple[_Block, ...]
    decimals: NDArray[Any] | None
    """The text of every remainder below a us; None where times are whole us."""

    def filled(self, times: Spans, step: int) -> Iterator[bytes]:
        """The text in parts, to be joined by what stands between events. Times are ns since the dialect's origin."""
        for block in self.blocks:
            values = np.empty(block.places, dtype=object)
            lengths = times.end[block.duration_row] - times.start[block.duration_row]
            for at, ns in ((block.start_at, times.start[block.start_row]), (block.duration_at, lengths)):
                whole, rest = np.divmod(ns, _NS_PER_US)
                values[at] = whole
                if self.decimals is not None:
                    values[at + 1] = self.decimals[rest]
            values[block.number_at] = block.first + step * block.stride
            yield block.text % tuple(values.tolist())


def template_of(events: Sequence[Event], dialect: Dialect, stride: int) -> Template:
    """The events as the dialect writes them, those left out that it does not know; `stride` is by how much numbers grow from step to step."""
    decimals = _DECIMALS[dialect.decimals]
    texts = [text for event in events if (text := rendered(event, dialect))]
    parts = [texts[place : place + _EVENTS_PER_BLOCK] for place in range(0, len(texts), _EVENTS_PER_BLOCK)]
    blocks = [_block(dialect.between.join(part), stride, two=decimals is not None) for part in parts]
    return Template(tuple(blocks), decimals)


def _block(text: str, stride: int, *, two: bool) -> _Block:
    """Marks become places: `%d.%s` or, without decimals, `%d` for a time, `%d` for a number."""
    time, per_time = ("%d.%s", 2) if two else ("%d", 1)
    found: dict[str, list[tuple[int, int, int]]] = {"s": [], "d": [], "n": []}
    place = 0

    def replace(mark: re.Match[str]) -> str:
        nonlocal place
        kind, value = mark[1] or mark[3] or mark[6], int(mark[2] or mark[4] or 0)
        at = place
        place += per_time if kind in "sd" else 1
        if kind in "sd":
            found[kind].append((at, value, 0))
            return time
        found["n"].append((at, value, {"n": stride, "q": int(mark[5] or 0), "p": 1}[kind]))
        return "%d"

    filled = _MARK.sub(replace, text.replace("%", "%%")).encode()
    columns = {kind: np.array(rows, dtype=np.int64).reshape(-1, 3).T for kind, rows in found.items()}
    return _Block(
        text=filled,
        places=place,
        start_at=columns["s"][0],
        start_row=columns["s"][1],
        duration_at=columns["d"][0],
        duration_row=columns["d"][1],
        number_at=columns["n"][0],
        first=columns["n"][1],
        stride=columns["n"][2],
    )


def _fractions(decimals: str) -> NDArray[Any]:
    texts = [b"%03d" % rest for rest in range(_NS_PER_US)]
    if decimals == "fewest":
        texts = [text.rstrip(b"0") or b"0" for text in texts]
    return np.array(texts, dtype=object)


_DECIMALS: dict[str, NDArray[Any] | None] = {
    "three": _fractions("three"),
    "fewest": _fractions("fewest"),
    "none": None,
}
"""For each number form the text of every possible remainder below a us."""
