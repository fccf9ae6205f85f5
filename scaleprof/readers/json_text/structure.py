"""The brackets of JSON text, found exactly: those outside strings, and how deep each lies.

Text is looked at in parts, so that no text, whatever it holds, takes much more memory than itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PART_BYTES = 1 << 20
_BACKSLASH = b"\\"


@dataclass(frozen=True)
class Elements:
    """The whole objects of an open array."""

    first_end: int | None = None
    """Where the first of them ends."""
    last_end: int | None = None
    closed: int | None = None
    """Where the array closes, if it does."""


class Brackets:
    """Follows text part by part: how many brackets are open, and whether it stands inside a string."""

    def __init__(self) -> None:
        self.depth = 0
        self.in_string = False
        self._escape = b""
        """The backslash that the last part ended with, if it escapes what follows."""

    def feed(self, part: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        """Places of the part's brackets outside strings, the depth after each, and which bracket it is."""
        text = self._escape + part
        letters = np.frombuffer(text, dtype=np.uint8)
        quotes = np.flatnonzero(letters == ord('"'))
        if _BACKSLASH in text:
            places = np.arange(len(letters), dtype=np.int32)
            last_other = np.maximum.accumulate(np.where(letters != ord(_BACKSLASH), places, np.int32(-1)))
            before = np.maximum(quotes - 1, 0)
            backslashes = np.where(quotes > 0, before - last_other[before], 0)
            quotes = quotes[backslashes % 2 == 0]
        brackets = np.flatnonzero(((letters & 0xDF) == ord("[")) | ((letters & 0xDF) == ord("]")))
        brackets = brackets[np.searchsorted(quotes, brackets) % 2 == int(self.in_string)]
        which = letters[brackets]
        depth = self.depth + np.cumsum(np.where((which & 0xDF) == ord("["), 1, -1))
        brackets -= len(self._escape)
        self.depth = int(depth[-1]) if len(depth) else self.depth
        self.in_string = bool((len(quotes) + int(self.in_string)) % 2)
        self._escape = _BACKSLASH if (len(text) - len(text.rstrip(_BACKSLASH))) % 2 else b""
        return brackets, depth, which


def depth_of(text: bytes) -> int:
    """How many brackets are open at the end of a text; -1 inside a string."""
    brackets = Brackets()
    for start in range(0, len(text), _PART_BYTES):
        brackets.feed(text[start : start + _PART_BYTES])
    return -1 if brackets.in_string else brackets.depth


def elements_of(text: bytes) -> Elements:
    """Where the first and the last whole object of an open array end, and where the array closes if it does."""
    brackets = Brackets()
    first = last = None
    for start in range(0, len(text), _PART_BYTES):
        places, depth, which = brackets.feed(text[start : start + _PART_BYTES])
        closing = np.flatnonzero(depth < 0)
        stop = int(closing[0]) if len(closing) else len(places)
        ends = places[:stop][(depth[:stop] == 0) & (which[:stop] == ord("}"))]
        if len(ends):
            last = start + int(ends[-1]) + 1
            first = start + int(ends[0]) + 1 if first is None else first
        if len(closing):
            return Elements(first, last, start + int(places[stop]))
    return Elements(first, last)
