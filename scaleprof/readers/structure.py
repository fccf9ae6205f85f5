"""The brackets of JSON text, found exactly: those outside strings, and how deep each lies."""

import numpy as np
from numpy.typing import NDArray


def _structure(text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Places of the brackets outside strings, the depth after each (from 0), and which bracket it is."""
    letters = np.frombuffer(text, dtype=np.uint8)
    quotes = np.flatnonzero(letters == ord('"'))
    if b"\\" in text:
        places = np.arange(len(letters), dtype=np.int64)
        last_other = np.maximum.accumulate(np.where(letters != ord("\\"), places, -1))
        before = np.maximum(quotes - 1, 0)
        backslashes = np.where(quotes > 0, before - last_other[before], 0)
        quotes = quotes[backslashes % 2 == 0]
    brackets = np.flatnonzero(((letters & 0xDF) == ord("[")) | ((letters & 0xDF) == ord("]")))
    brackets = brackets[np.searchsorted(quotes, brackets) % 2 == 0]
    which = letters[brackets]
    depth = np.cumsum(np.where((which & 0xDF) == ord("["), 1, -1))
    return brackets, depth, which


def depth_of(text: bytes) -> int:
    """How many brackets are open at the end of a text; -1 inside a string."""
    marker = text + b"["
    places, depth, _ = _structure(marker)
    return int(depth[-1]) - 1 if len(places) and places[-1] == len(text) else -1


def element_ends(text: bytes) -> tuple[list[int], int | None]:
    """Where each whole object of an open array ends, and where the array closes if it does."""
    places, depth, which = _structure(text)
    closing = np.flatnonzero(depth < 0)
    stop = closing[0] if len(closing) else len(places)
    ends = places[:stop][(depth[:stop] == 0) & (which[:stop] == ord("}"))] + 1
    return ends.tolist(), int(places[closing[0]]) if len(closing) else None
