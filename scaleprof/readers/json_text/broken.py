"""Events out of text that is not valid JSON: what can be read is read, what cannot is counted, and one bad event costs only itself.

Real files hold `nan`, names with quotes that nobody escaped, half characters, raw line breaks, and ends that never came. Boundaries between
events are guessed from the text and confirmed by the decoder; an event that does not decode is mended in the ways that have been met. Each
step looks at a byte a few times at most: hostile text costs as much time as its length, and no more.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import msgspec

from scaleprof.readers.json_text.structure import elements_of

BAD_TEXT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
MOST_LOST = 1 << 17
"""A file of which more events than this are lost, and more than are read, is given up."""
MOST_MENDED_BYTES = 1 << 23
"""A broken event of more is lost as it is."""
_INNER_QUOTE = re.compile(rb'(\\.|[{\[,:][ \n\r\t]*")|"(?![ \n\r\t]*(?:[,:}\]]|\Z))', re.DOTALL)
"""A quote that neither opens nor closes a string, judged by its neighbours. What is to be kept is the group."""
_MOST_QUOTES = 100_000  # each is looked at
_BOUNDARY = re.compile(rb"\}\s*(?=,\s*[{\]]|\])")
_MOST_JOINED = 64
"""Guessed boundaries that may lie inside a broken event, in lists of its arguments."""
_BLANKS_AND_COMMAS = re.compile(rb"[\s,]*")
_FIRST_KEY = re.compile(rb'\{\s*("[^"]{0,64}")\s*:')
_SURE_KEY = b'"ph"'  # hardly any object but an event begins with it
_SURE_BOUNDARY = re.compile(rb'\}\s*(?=,\s*\{\s*(?:"ph"\s*:|"name"\s*:\s*"(?:thread|process)_))')
_HOLE = bytes(8)  # a part of the file that was never written: what is mended over it is two events in one
_NEXT_THING = re.compile(rb"[,{\]]")
_UNFINISHED = "truncated"  # msgspec's word for text that ends too early
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")  # and for more text behind the event
_NOT_FINITE = re.compile(rb"(?<=[:,\[\s])[-+]?(?:nan|inf|infinity)(?=[\s,\]}])", re.IGNORECASE)
_ESCAPE = re.compile(
    rb'\\(?:(["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})'
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2}))?"
)
"""Escapes: those of JSON, and halves of a character whose other half is missing."""
_CONTROL = re.compile(rb"[\x00-\x1f]")
_BLANKS = b" \n\r\t"
_BLANKS_OR_COMMA = _BLANKS + b","


class One(Protocol):
    """A decoder of single events."""

    def decode(self, text: bytes, /) -> Any:
        """The event in the text."""


class _Anything:
    """Decodes any JSON value to None: only where it ends is of interest."""

    _decoder = msgspec.json.Decoder(msgspec.Raw)

    def decode(self, text: bytes, /) -> None:
        self._decoder.decode(text)


_ANYTHING = _Anything()


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
    events: list[Any] = []
    start = lost = 0
    lost_at: int | None = None
    while lost <= max(MOST_LOST, len(events)):
        opens = _BLANKS_AND_COMMAS.match(text, start).end()  # type: ignore[union-attr]
        if text[opens : opens + 1] == b"]":
            return Events(events, start, opens, lost, lost_at)
        found = _next(text, opens, one, at_end=at_end)
        if found is None:
            break
        event, start = found
        if event is not None:
            events.append(event)
        else:
            lost += 1
            lost_at = opens if lost_at is None else lost_at
    return Events(events, start, None, lost, lost_at)


@dataclass(frozen=True)
class _Read:
    """What a decoder made of the text behind a place."""

    event: Any = None
    end: int | None = None
    """Where it ends; None where it is broken, or unfinished."""
    unfinished: bool = False
    invalid: bool = False
    """It is JSON, as far as it was read, but no event."""


def _next(text: bytes, opens: int, one: One, *, at_end: bool) -> tuple[Any | None, int] | None:
    """The event at a place (None if it is lost) and its end; None where there is none, or the text to come will tell."""
    found = _BOUNDARY.search(text, opens)
    if found is None and not at_end:
        return None
    read = _read(text, opens, found.end() if found else len(text), one)
    if read.invalid and found:
        end = _read(text, opens, found.end(), _ANYTHING).end
        if end is not None:
            return None, end
    if read.end is not None:
        return read.event, read.end
    if found is None or (read.unfinished and not at_end):
        return None
    end = _end_of_broken(text, opens, at_end=at_end)
    return None if end is None else (mended(text[opens:end], one), end)


def _read(text: bytes, opens: int, end: int, one: One) -> _Read:
    """The event at `opens`. Where it reaches over its guessed end, twice as much text is looked at: the decoder says where an event has ended."""
    while True:
        try:
            return _Read(one.decode(text[opens:end]), end)
        except BAD_TEXT as error:
            said = str(error)
            if trailing := _TRAILING.search(said):
                return _ended(text, opens, opens + int(trailing[1]) - 1, one)
            if _UNFINISHED not in said:
                return _Read(invalid=isinstance(error, msgspec.ValidationError))
        if end == len(text):
            return _Read(unfinished=True)
        further = _BOUNDARY.search(text, end + (end - opens))
        end = further.end() if further else len(text)


def _ended(text: bytes, opens: int, after: int, one: One) -> _Read:
    """The event that ends in front of some other sign; what does not belong between events is passed over."""
    try:
        event = one.decode(text[opens:after])
    except BAD_TEXT:
        return _Read()
    following = _NEXT_THING.search(text, after)
    return _Read(event, following.start() if following else len(text))


def _end_of_broken(text: bytes, opens: int, *, at_end: bool) -> int | None:
    """Where a broken event ends: where the next one begins as this one did, or names a thread.

    Of the last one, where its brackets close; they may be what is broken, so that is believed only where nothing else is known. None where
    the text to come will tell.
    """
    begin = _FIRST_KEY.match(text, opens)
    sure = begin is not None and begin[1] == _SURE_KEY
    if sure and (found := _SURE_BOUNDARY.search(text, opens)):
        return found.end()
    if sure and not at_end:
        return None
    ends = [found.end() for found in islice(_BOUNDARY.finditer(text, opens), _MOST_JOINED)]
    if begin is None:
        return ends[0]
    another = re.compile(rb"\s*,\s*\{\s*(?:" + re.escape(begin[1]) + rb'\s*:|"name"\s*:\s*"(?:thread|process)_)')
    end = next((end for end in ends if another.match(text, end)), None)
    if end is not None:
        return end
    if not at_end and len(ends) < _MOST_JOINED:
        return None
    first_end = elements_of(text[opens : ends[-1]]).first_end
    return next((end for end in ends if first_end is not None and end >= opens + first_end), ends[-1])


def decode_event(text: bytes, one: One) -> Any | None:
    """The event that a text begins with, if nothing follows it but a comma and perhaps a part of the next; None where nothing mends it."""
    bare = text.rstrip(_BLANKS_OR_COMMA).lstrip(_BLANKS).removeprefix(b",").lstrip(_BLANKS)

    def first(attempt: bytes) -> Any:
        try:
            return one.decode(attempt)
        except msgspec.DecodeError as error:
            trailing = _TRAILING.search(str(error))
            after = int(trailing[1]) - 1 if trailing else 0
            if attempt[after : after + 1] != b",":
                raise
            return one.decode(attempt[:after])

    try:
        return first(bare)
    except BAD_TEXT:
        return _mended(bare, first)


def is_one_object(text: bytes) -> bool:
    """Whether an event's text holds one object, by its brackets, and then at most a comma and the next one."""
    end = elements_of(text).first_end
    return end is not None and text[end:].lstrip()[:1] in (b"", b",")


def lies_inside(text: bytes) -> bool:
    """Whether what was taken for an event is an argument of another one: more closes behind it than it has opened."""
    more = text.count(b"}") + text.count(b"]") - text.count(b"{") - text.count(b"[")
    return more > 0 and elements_of(text).closed is not None


def mended(text: bytes, one: One) -> Any | None:
    """The event in a text once it is valid JSON; None where it does not become that."""
    return _mended(text, one.decode)


def _mended(text: bytes, decode: Callable[[bytes], Any]) -> Any | None:
    if len(text) > MOST_MENDED_BYTES or _HOLE in text:
        return None
    tried = b""
    for attempt in _mendings(text):
        if attempt == tried:
            continue
        try:
            return decode(attempt)
        except BAD_TEXT:
            tried = attempt
    return None


def _mendings(text: bytes) -> Iterator[bytes]:
    """The text, mended in one more way each time."""
    text = text.decode("utf-8", "replace").encode()
    yield text
    text = _NOT_FINITE.sub(b"null", text)
    yield text
    text = _ESCAPE.sub(_as_escape, _CONTROL.sub(b" ", text))
    yield text
    if text.count(b'"') <= _MOST_QUOTES:
        yield _INNER_QUOTE.sub(lambda found: found[1] or rb"\"", text)


def _as_escape(found: re.Match[bytes]) -> bytes:
    """An escape that JSON knows: as it is, the sign of half a character, or a backslash that is meant as one."""
    if found[1]:
        return found[0]
    return rb"\ufffd" if found[2] else rb"\\"
