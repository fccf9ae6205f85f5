"""A trace file as a stream of decoded events: gzip or plain, one JSON array of objects, in blocks, so that memory does not grow with the file.

A block is cut at a likely boundary between two events (`}` , `{`), and the decoder is the judge: text from the start of one event that parses
as whole events ends between two events, because a cut inside a string or an object leaves it open. Where the guess fails (the end of the
array, nested lists, broken text) an exact scan of quotes and brackets finds the boundaries.
"""

import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from scaleprof.errors import BrokenFile

try:
    from isal import isal_zlib

    _inflate: Any = isal_zlib.decompressobj
    _BAD_DATA: Any = (zlib.error, isal_zlib.error)
except ImportError:  # no wheel for this machine: the standard library reads the same, slower
    _inflate, _BAD_DATA = zlib.decompressobj, (zlib.error,)

BLOCK_BYTES = 1 << 20
LARGEST_GAP_BYTES = 1 << 28  # more text than this without an event in it is no trace
_COMPRESSED_BYTES = 1 << 17
_GZIP = 31  # what zlib calls a gzip header and trailer
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EVENTS_KEY = re.compile(rb'"traceEvents"\s*:\s*\[')
_BACK = 64  # how far before a `{` its comma and `}` may stand, for the guess
_TRIES = 16
_BAD_TEXT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Decode(Protocol):
    """A msgspec decoder."""

    def decode(self, text: bytes, /) -> Any:
        """The objects in the text."""


@dataclass(frozen=True)
class Piece:
    """A part of a trace file: events, or at its end what stands beside them."""

    events: list[Any]
    lost: int = 0
    """Events that could not be decoded."""
    metadata: tuple[bytes, ...] = ()
    """The other keys of the top-level object, as JSON objects; only on the last piece."""
    cut_off_at: int | None = None
    """The byte of the JSON text after which the file ends too early; only on the last piece."""


class _CutShort(Exception):
    """The compressed data ends or breaks before its end."""


def pieces(path: Path, many: Decode, one: Decode) -> Iterator[Piece]:
    """The events of a trace file in order, then the metadata. `many` decodes a JSON list of events, `one` a single event."""
    blocks = _Blocks(path)
    text, start = _find_events(path, blocks)
    head = text[:start]
    done, text = len(head), text[start:]
    exactly = False
    while True:
        events, lost, closed = None, 0, None
        if not exactly and (cut := _likely_cut(text)):
            events = _decoded(many, text[:cut])
        if events is None:
            exactly = True
            ends, closed = _element_ends(text)
            cut = ends[-1] if ends else 0
            events, lost = _decode_each(text, ends, many, one)
        yield Piece(events, lost)
        if closed is not None:
            rest = text[closed + 1 :] + blocks.read(LARGEST_GAP_BYTES)
            yield Piece([], metadata=(_closed_object(head), _opened_object(rest)))
            return
        done, text = done + cut, text[cut:]
        if len(text) > LARGEST_GAP_BYTES:
            raise BrokenFile(path, f"has no complete event in the {len(text) >> 20} MB after byte {done:,}")
        more = blocks.read(max(BLOCK_BYTES, len(text)))
        if not more and exactly:
            yield Piece([], metadata=(_closed_object(head),), cut_off_at=done)
            return
        text, exactly = text + more, not more


def head_of(path: Path, most: int) -> bytes:
    """The first bytes of the JSON text, without a byte order mark."""
    return _Blocks(path).read(most)[:most].removeprefix(_BYTE_ORDER_MARK)


def tail_of(path: Path, most: int) -> bytes:
    """The last bytes of the JSON text. A compressed file is inflated to its end for it, in bounded memory."""
    with path.open("rb") as file:
        if file.read(2) != _GZIP_MAGIC:
            file.seek(max(0, path.stat().st_size - most))
            return file.read()
    blocks, tail = _Blocks(path), b""
    while block := blocks.read(BLOCK_BYTES):
        tail = (tail + block)[-most:]
    return tail


def whole_text(path: Path) -> tuple[bytes, str]:
    """All text of a small file, as far as it can be inflated, and what is wrong with its end, if something is."""
    blocks = _Blocks(path)
    return blocks.read(LARGEST_GAP_BYTES), blocks.damage


class _Blocks:
    """The text of a file, inflated where its first bytes say gzip; reading past damage ends the text early."""

    def __init__(self, path: Path) -> None:
        self._text = _inflated(path)
        self.damage = ""

    def read(self, least: int) -> bytes:
        """At least so many bytes, fewer only at the end."""
        parts: list[bytes] = []
        size = 0
        try:
            while size < least and (part := next(self._text, None)) is not None:
                parts.append(part)
                size += len(part)
        except _CutShort as error:
            self.damage = str(error)
        return b"".join(parts)


def _inflated(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            first = file.read(_COMPRESSED_BYTES)
            if not first.startswith(_GZIP_MAGIC):
                while first:
                    yield first
                    first = file.read(BLOCK_BYTES)
                return
            inflate, data = _inflate(_GZIP), first
            while data:
                yield inflate.decompress(data, BLOCK_BYTES)
                data = inflate.unconsumed_tail or inflate.unused_data
                if inflate.eof:
                    data = data or file.read(_COMPRESSED_BYTES)
                    inflate = _inflate(_GZIP) if data.startswith(_GZIP_MAGIC) else inflate
                    if inflate.eof:  # padding after the last member
                        return
                data = data or file.read(_COMPRESSED_BYTES)
            yield inflate.flush()
            if not inflate.eof:
                raise _CutShort("the compressed data ends before its end mark")
    except _BAD_DATA as error:
        raise _CutShort(f"the compressed data is damaged ({error})") from error
    except OSError as error:
        raise BrokenFile(path, f"cannot be read ({error.strerror or error})") from error


def _find_events(path: Path, blocks: _Blocks) -> tuple[bytes, int]:
    """The text read so far, without a byte order mark, and where the first event of the array may start."""
    text = blocks.read(BLOCK_BYTES).removeprefix(_BYTE_ORDER_MARK)
    first = text.lstrip()[:1]
    if not first:
        raise BrokenFile(path, blocks.damage or "is empty")
    if first == b"[":
        return text, text.index(b"[") + 1
    if first != b"{":
        raise BrokenFile(path, f"is not JSON: it starts with {text[:20]!r}")
    searched = 0
    while True:
        for found in _EVENTS_KEY.finditer(text, searched):
            if _depth(text[: found.start()]) == 1:
                return text, found.end()
        more = blocks.read(max(BLOCK_BYTES, len(text)))
        if not more or len(text) > LARGEST_GAP_BYTES:
            reason = blocks.damage or "it is no trace, or it was cut off before its events"
            raise BrokenFile(path, f"holds no list of traceEvents: {reason}")
        searched = max(0, len(text) - _BACK)
        text += more


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
    except _BAD_TEXT:
        return None
    return events


def _decode_each(text: bytes, ends: list[int], many: Decode, one: Decode) -> tuple[list[Any], int]:
    """The events that end at `ends`, and how many of them are no event."""
    if not ends:
        return [], 0
    events = _decoded(many, text[: ends[-1]])
    if events is not None:
        return events, 0
    events, start = [], 0
    for end in ends:  # one by one: only to find out which of them are broken
        with suppress(*_BAD_TEXT):
            events.append(one.decode(text[start:end].lstrip().removeprefix(b",").lstrip()))
        start = end
    return events, len(ends) - len(events)


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


def _depth(text: bytes) -> int:
    """How many brackets are open at the end of a text; -1 inside a string."""
    marker = text + b"["
    places, depth, _ = _structure(marker)
    return int(depth[-1]) - 1 if len(places) and places[-1] == len(text) else -1


def _element_ends(text: bytes) -> tuple[list[int], int | None]:
    """Where each whole object of an open array ends, and where the array closes if it does."""
    places, depth, which = _structure(text)
    closing = np.flatnonzero(depth < 0)
    stop = closing[0] if len(closing) else len(places)
    ends = places[:stop][(depth[:stop] == 0) & (which[:stop] == ord("}"))] + 1
    return ends.tolist(), int(places[closing[0]]) if len(closing) else None


def _closed_object(head: bytes) -> bytes:
    """`{"a": 1, "traceEvents": [` as `{"a": 1}`"""
    places = [found.start() for found in _EVENTS_KEY.finditer(head)]
    # The last one is the array's own: the head ends right behind it.
    return head[: places[-1]].rstrip().rstrip(b",") + b"}" if places else b"{}"


def _opened_object(rest: bytes) -> bytes:
    """`, "a": 1}` as `{"a": 1}`"""
    rest = rest.strip().removeprefix(b",")
    return b"{" + rest if rest.rstrip(b"\0 ").endswith(b"}") else b"{}"
