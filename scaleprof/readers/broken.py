"""Events out of text that is not valid JSON: what can be read is read, what cannot is counted, and one bad event costs only itself.

Real files hold `nan`, names with quotes that nobody escaped, half characters, raw line breaks, and ends that never came. Boundaries between
events are guessed from the text and confirmed by the decoder; an event that does not decode is mended in the ways that have been met.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from scaleprof.readers.structure import element_ends

BAD_TEXT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BOUNDARY = re.compile(rb"\}\s*(?=,\s*\{|\])")
_MOST_JOINED = 64
"""Guessed boundaries that may lie inside one event, in lists of its arguments."""
_FIRST_KEY = re.compile(rb'[\s,]*\{\s*("[^"]*"\s*:)')
_UNFINISHED = "truncated"  # msgspec's word for text that ends too early
_NOT_FINITE = re.compile(rb"(?<=[:,\[\s])[-+]?(?:nan|inf|infinity)(?=[\s,\]}])", re.IGNORECASE)
_ESCAPE = re.compile(rb'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_CONTROL = re.compile(rb"[\x00-\x1f]")
_QUOTE = re.compile(rb'"')
_BLANKS = b" \n\r\t"


class One(Protocol):
    """A decoder of single events."""

    def decode(self, text: bytes, /) -> Any:
        """The event in the text."""


@dataclass(frozen=True)
class Events:
    """The events of a text."""

    events: list[Any]
    end: int
    """Where the last of them ends: what follows is not used up."""
    closed: int | None = None
    """Where the array of events closes, if it does."""
    lost: int = 0
    lost_at: int | None = None
    """Where the first lost event begins."""


def decode_each(text: bytes, one: One, *, at_end: bool) -> Events:
    """The events of a text that begins between two events; `at_end` if no more text will come."""
    boundaries = [found.end() for found in _BOUNDARY.finditer(text)]
    events: list[Any] = []
    start = lost = place = 0
    lost_at: int | None = None
    while place < len(boundaries):
        event, used = _joined(text, start, boundaries[place : place + _MOST_JOINED], one)
        more_to_come = not at_end and place + _MOST_JOINED > len(boundaries)
        if event is None:
            if used is None and more_to_come:
                break
            used = _used_by_broken(text, start, boundaries[place : place + _MOST_JOINED], more_to_come)
            if used is None:
                break
            event = mended(_bare(text[start : boundaries[place + used - 1]]), one)
        if event is not None:
            events.append(event)
        else:
            lost += 1
            lost_at = start if lost_at is None else lost_at
        place += used or 1
        start = boundaries[place - 1]
        if text[start : start + 1] == b"]":
            return Events(events, start, start, lost, lost_at)
    return Events(events, start, None, lost, lost_at)


def _used_by_broken(text: bytes, start: int, ends: list[int], more_to_come: bool) -> int | None:
    """How many of the guessed ends a broken event reaches over: to where the next event begins as this one did, or names a thread.

    Of the last one, to where its brackets close; they may be what is broken, so that is believed only where nothing else is known. None where
    the text to come will tell.
    """
    begin = _FIRST_KEY.match(text, start)
    if begin is None:
        return 1
    another = re.compile(rb"\s*,\s*\{\s*(?:" + re.escape(begin[1]) + rb'|"name"\s*:\s*"(?:thread|process)_)')
    found = next((count for count, end in enumerate(ends, 1) if another.match(text, end)), None)
    if found is not None or more_to_come:
        return found
    opens = text.index(b"{", start)
    closing, _ = element_ends(text[opens : ends[-1]])
    return next(count for count, end in enumerate(ends, 1) if end >= opens + closing[0]) if closing else len(ends)


def _joined(text: bytes, start: int, ends: list[int], one: One) -> tuple[Any | None, int | None]:
    """The event that begins at `start` and ends at one of `ends`, and at which; (None, None) where it seems to go on behind them all."""
    for count, end in enumerate(ends, 1):
        try:
            return one.decode(_bare(text[start:end])), count
        except BAD_TEXT as error:
            if _UNFINISHED not in str(error):
                return None, count
    return None, None


def _bare(text: bytes) -> bytes:
    return text.strip(_BLANKS).removeprefix(b",").lstrip(_BLANKS)


def decode_event(text: bytes, one: One) -> Any | None:
    """The event that a text begins with, whatever follows it; None where nothing mends it."""
    bare = _bare(text).removesuffix(b",")
    try:
        return one.decode(bare)
    except BAD_TEXT:
        pass
    for found in _BOUNDARY.finditer(bare):  # the text of the next event has begun
        try:
            return one.decode(bare[: found.end()])
        except BAD_TEXT:
            continue
    last = bare.rstrip(_BLANKS + b",]")
    return mended(last, one)


def mended(text: bytes, one: One) -> Any | None:
    """The event in a text once it is valid JSON; None where it does not become that."""
    for attempt in _mendings(text):
        try:
            return one.decode(attempt)
        except BAD_TEXT:
            continue
    return None


def _mendings(text: bytes) -> Iterator[bytes]:
    """The text, mended in one more way each time."""
    text = text.decode("utf-8", "replace").encode()
    yield text
    text = _NOT_FINITE.sub(b"null", text)
    yield text
    text = _ESCAPE.sub(lambda found: found[0] if found[1] else rb"\\", _CONTROL.sub(b" ", text))
    yield text
    yield _QUOTE.sub(lambda found: _escaped(text, found), text)


def _escaped(text: bytes, found: re.Match[bytes]) -> bytes:
    """A quote that neither opens nor closes a string, judged by its neighbours, as the character that it is."""
    at = found.start()
    if at and text[at - 1 : at] == b"\\":
        return b'"'
    opens = text[:at].rstrip(_BLANKS)[-1:] in (b"{", b"[", b",", b":")
    closes = text[at + 1 :].lstrip(_BLANKS)[:1] in (b",", b":", b"}", b"]", b"")
    return b'"' if opens or closes else rb"\""
