"""A trace file as a stream of events: one JSON array of objects, in blocks, so that memory does not grow with the file.

A block is cut in front of an event that begins with its `ph`: in valid JSON the text `{"ph"` with its quotes stands in no string. Where events
begin otherwise, a block is cut at a likely boundary (`}` , `{`) and the decoder is the judge: text from the start of one event that parses as whole
events ends between two events. Where that fails (the end of the array, nested lists, broken text) the boundaries are looked for exactly.

What is held at once is bounded: text that goes on without an event is left there, as is a file in which most events cannot be decoded.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from scaleprof.errors import BrokenFile
from scaleprof.readers.json_text.broken import BAD_TEXT, MOST_LOST, Events, decode_each
from scaleprof.readers.json_text.inflate import GZIP_MAGIC, Text
from scaleprof.readers.json_text.scan import Block, Scanned
from scaleprof.readers.json_text.structure import Brackets, elements_of
from scaleprof.readers.json_text.swar import MARGIN, Buffer
from scaleprof.remote import AnyPath

BLOCK_BYTES = 1 << 22
LARGEST_GAP_BYTES = 1 << 26
"""More text than this without an event in it is no trace."""
MOST_METADATA_BYTES = 1 << 24
"""Of more text behind the events, the rest is left unread."""
LARGEST_FILE_BYTES = 1 << 28
"""What is read of a small file at once."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EVENTS_KEY = re.compile(rb'"traceEvents"\s*:\s*\[')
_BACK = 256  # how far before a `{` its comma and `}` may stand, for the guess
_TRIES = 16
_KEY_TRIES = 100  # further down in a head that says `traceEvents` more often, nobody means it
_PH_TRIES = 64
_SEARCHED_BYTES = 1 << 14
_PH = b'"ph"'
_OPENS_ANOTHER = re.compile(rb"\}\s*,\s*\{\s*\Z")


class Decode(Protocol):
    """A msgspec decoder."""

    def decode(self, text: bytes, /) -> Any:
        """The objects in the text."""


@dataclass(frozen=True)
class Piece:
    """A part of a trace file: events, or at its end what stands beside them."""

    events: list[Any]
    scanned: Scanned | None = None
    """The complete events as columns, where the scan could read the block; `events` is empty then."""
    lost: int = 0
    """Events that could not be decoded."""
    lost_at: int | None = None
    """The byte of the JSON text where the first of them begins."""
    metadata: tuple[bytes, ...] = ()
    """The other keys of the top-level object, as JSON objects; only on the last piece."""
    cut_off_at: int | None = None
    """The byte of the JSON text after which the file ends too early; only on the last piece."""
    damage: str = ""
    """What is wrong with the compressed data, if something is; only on the last piece."""


def pieces(
    path: AnyPath, many: Decode, one: Decode, scan: Callable[[Block], Scanned | None] | None = None
) -> Iterator[Piece]:
    """The events of a trace file in order, then the metadata. `many` decodes a JSON list of events, `one` a single event.

    A scanned piece is valid until the next one is asked for: its buffer is filled anew.
    """
    window = _Window(path)
    read = lost = 0
    try:
        for piece in _pieces(path, window, many, one, scan):
            read += len(piece.events) if piece.scanned is None else len(piece.scanned.start_ns)
            lost += piece.lost
            yield piece
            if lost > max(MOST_LOST, read):
                raise BrokenFile(path, f"holds {lost:,} events that cannot be decoded, beside {read:,} that can")
    finally:
        window.close()


def _pieces(
    path: AnyPath,
    window: "_Window",
    many: Decode,
    one: Decode,
    scan: Callable[[Block], Scanned | None] | None,
) -> Iterator[Piece]:
    head = _find_events(path, window)
    start, exactly = window.done, False
    while True:
        closed, looked = None, False
        cut = window.sure_cut() if scan is not None else 0
        found = _scanned_or_decoded(window, cut, scan, many, one) if scan is not None and cut else None
        if found is not None:
            piece, cut = found
            yield piece
        else:
            text = window.text()
            cut = 0 if exactly else _likely_cut(text)
            events = _decoded(many, text[:cut]) if cut else None
            if events is None:
                looked = True
                each = _exactly(text, many, one, at_end=window.ended or len(text) >= LARGEST_GAP_BYTES)
                events, cut, closed = each.events, each.end, each.closed
                yield Piece(events, lost=each.lost, lost_at=_moved(each.lost_at, window.done))
            else:
                yield Piece(events)
        if closed is not None:
            rest = text[closed + 1 :] + window.rest()
            yield Piece([], metadata=(_closed_object(head), _opened_object(head, rest)), damage=window.damage)
            return
        window.take(cut)
        endless = len(window) >= LARGEST_GAP_BYTES and not cut
        if endless and window.done == start:
            raise BrokenFile(path, f"has no complete event in the {len(window):,} bytes after byte {window.done:,}")
        more = not endless and window.fill()
        if not more and looked:
            yield Piece([], metadata=(_closed_object(head),), cut_off_at=window.done, damage=window.damage)
            return
        exactly = not more


def _scanned_or_decoded(
    window: "_Window", cut: int, scan: Callable[[Block], Scanned | None], many: Decode, one: Decode
) -> tuple[Piece, int] | None:
    """The events before a sure cut, in the fastest way that can read them, and where the last of them ends; None where there is none."""
    block = window.block(cut)
    scanned = scan(block)
    if scanned is not None:
        return Piece([], scanned), cut
    text = block.text()
    events = _decoded(many, text)
    if events is not None:
        return Piece(events), cut
    found = decode_each(
        text + b",{", one, at_end=False
    )  # the cut may lie within an event that has others in its arguments
    return (
        (Piece(found.events, lost=found.lost, lost_at=_moved(found.lost_at, window.done)), found.end)
        if found.end
        else None
    )


def _exactly(text: bytes, many: Decode, one: Decode, *, at_end: bool) -> Events:
    """The whole events of a text, and where the array of events closes."""
    elements = elements_of(text)
    if elements.last_end is not None or elements.closed is not None:
        events = _decoded(many, text[: elements.last_end]) if elements.last_end else []
        if events is not None:
            return Events(events, elements.last_end or 0, elements.closed)
    return decode_each(text, one, at_end=at_end)


def _moved(place: int | None, by: int) -> int | None:
    return None if place is None else place + by


def head_of(path: AnyPath, most: int) -> bytes:
    """The first bytes of the JSON text, without a byte order mark."""
    text = Text(path)
    try:
        return _read(text, most).removeprefix(_BYTE_ORDER_MARK)
    finally:
        text.close()


def tail_of(path: AnyPath, most: int) -> bytes:
    """The last bytes of the JSON text. A compressed file is inflated to its end for it, in bounded memory."""
    with path.open("rb") as file:
        if file.read(2) != GZIP_MAGIC:
            file.seek(max(0, path.stat().st_size - most))
            return file.read()
    text, tail = Text(path), b""
    try:
        while block := _read(text, max(most, BLOCK_BYTES)):
            tail = (tail + block)[-most:]
    finally:
        text.close()
    return tail


def whole_text(path: AnyPath) -> tuple[bytes, str]:
    """All text of a small file, as far as it can be inflated, and what is wrong with its end, if something is."""
    text = Text(path)
    try:
        parts = []
        size = 0
        while size < LARGEST_FILE_BYTES and (part := _read(text, BLOCK_BYTES)):
            parts.append(part)
            size += len(part)
        return b"".join(parts), text.damage
    finally:
        text.close()


def _read(text: Text, most: int) -> bytes:
    part = bytearray(most)
    return bytes(part[: text.readinto(memoryview(part))])


class _Window:
    """The part of a file's text that is in memory: filled at the end, taken from the start."""

    def __init__(self, path: AnyPath) -> None:
        self._text = Text(path)
        self._buffer = Buffer.of_size(2 * BLOCK_BYTES)
        self._start = self._end = MARGIN
        self.done = 0
        """Bytes of the text before the window."""
        self.ended = False
        """Whether the text ends with the window."""

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def damage(self) -> str:
        """Why the text ends where it does, if not because it is whole."""
        return self._text.damage

    def fill(self) -> bool:
        """Read on, at least as much as there is already; whether anything came."""
        letters, held = self._buffer.letters, len(self)
        wanted = max(BLOCK_BYTES, min(held, LARGEST_GAP_BYTES - held))
        if held + wanted + 2 * MARGIN > len(letters):
            larger = Buffer.of_size(held + wanted)
            larger.letters[MARGIN : MARGIN + held] = letters[self._start : self._end]
            self._buffer = larger
        elif self._start > MARGIN:
            part = letters[self._start : self._end]
            letters[MARGIN : MARGIN + held] = part.copy() if self._start - MARGIN < held else part
        self._start, self._end = MARGIN, MARGIN + held
        got = self._text.readinto(self._buffer.view[self._end : self._end + wanted])
        self._end += got
        self._buffer.letters[self._end : self._end + MARGIN] = ord(" ")
        self.ended = got < wanted
        return got > 0

    def text(self) -> bytes:
        """All of the window."""
        return self._buffer.letters[self._start : self._end].tobytes()

    def rest(self) -> bytes:
        """The text after the window, to a bound."""
        return _read(self._text, MOST_METADATA_BYTES) if not self.ended else b""

    def block(self, size: int) -> Block:
        """The first so many bytes of the window."""
        return Block(self._buffer, self._start, self._start + size, self.done)

    def take(self, size: int) -> None:
        """Leave the first so many bytes behind."""
        self._start += size
        self.done += size

    def sure_cut(self) -> int:
        """Where the last event ends that another one with its `ph` first follows; 0 where there is none."""
        view, end = self._buffer.view, self._end
        size = _SEARCHED_BYTES
        while True:
            start = max(self._start, self._end - size)
            tail = bytes(view[start:end])
            place = len(tail)
            for _ in range(_PH_TRIES):
                place = tail.rfind(_PH, 0, place)
                if place < 0:
                    break
                before = tail[max(0, place - _BACK) : place]
                closes = before.rstrip()[:-1].rstrip()[:-1].rstrip() if _OPENS_ANOTHER.search(before) else b""
                if closes:
                    return start - self._start + max(0, place - _BACK) + len(closes)
            if start == self._start:
                return 0
            size *= 8

    def close(self) -> None:
        """Give the file back."""
        self._text.close()


def _find_events(path: AnyPath, window: _Window) -> bytes:
    """The text before the array of events, of which the window then begins with the first."""
    window.fill()
    text = window.text()
    if text.startswith(_BYTE_ORDER_MARK):
        window.take(len(_BYTE_ORDER_MARK))
        text = text[len(_BYTE_ORDER_MARK) :]
    first = text.lstrip()[:1]
    if not first:
        raise BrokenFile(path, window.damage or "is empty")
    if first == b"[":
        start = text.index(b"[") + 1
        window.take(start)
        return text[:start]
    if first != b"{":
        raise BrokenFile(path, f"is not JSON: it starts with {text[:20]!r}")
    searched = followed = tries = 0
    brackets = Brackets()
    while True:
        for found in _EVENTS_KEY.finditer(text, searched):
            brackets.feed(text[followed : found.start()])
            followed = found.start()
            if brackets.depth == 1 and not brackets.in_string:
                window.take(found.end())
                return text[: found.end()]
            tries += 1
            if tries == _KEY_TRIES:
                break
        if tries == _KEY_TRIES or len(text) >= LARGEST_GAP_BYTES or not window.fill():
            reason = window.damage or "it is no trace, or it was cut off before its events"
            raise BrokenFile(path, f"holds no list of traceEvents: {reason}")
        searched = max(followed + 1, len(text) - _BACK)
        text = window.text()


def _likely_cut(text: bytes) -> int:
    """Where the last event but one of the text probably ends; 0 where nothing looks like it."""
    place = len(text)
    for _ in range(_TRIES):
        place = text.rfind(b"{", 0, place)
        if place <= 0:
            return 0
        window = max(0, place - _BACK)
        before = text[window:place].rstrip()
        if before.endswith(b",") and before[:-1].rstrip().endswith(b"}"):
            return window + len(before[:-1].rstrip())
    return 0


def _decoded(many: Decode, text: bytes) -> list[Any] | None:
    try:
        events: list[Any] = many.decode(b"[" + text.lstrip().removeprefix(b",") + b"]")
    except BAD_TEXT:
        return None
    return events


def _closed_object(head: bytes) -> bytes:
    """`{"a": 1, "traceEvents": [` as `{"a": 1}`"""
    places = [found.start() for found in _EVENTS_KEY.finditer(head)]
    # The last one is the array's own: the head ends right behind it.
    return head[: places[-1]].rstrip().rstrip(b",") + b"}" if places else b"{}"


def _opened_object(head: bytes, rest: bytes) -> bytes:
    """`, "a": 1}` as `{"a": 1}`; behind a bare array, nothing."""
    return b"{" + rest.strip(b"\0 \n\r\t").removeprefix(b",") if head.lstrip().startswith(b"{") else b"{}"
