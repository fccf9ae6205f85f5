"""The wire format of protocol buffers, as far as it is needed to take a large message apart without decoding what lies in it."""

from collections.abc import Iterator
from typing import NamedTuple

from scaleprof.errors import BrokenFile
from scaleprof.remote import AnyPath

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10
MOST_FIELD = 1 << 29
"""The format knows no field numbers from here on."""


class Field(NamedTuple):
    """One field of a message."""

    number: int
    start: int
    """Where its bytes stand; for a number, where it begins."""
    end: int
    is_bytes: bool
    """Text, bytes or a message, and no number."""


class Damaged(Exception):
    """The bytes are no message, from this place on."""

    def __init__(self, place: int, *, cut_off: bool) -> None:
        super().__init__(place)
        self.place = place
        self.cut_off = cut_off

    def of(self, path: AnyPath) -> BrokenFile:
        """What is to be said of the file."""
        how = "is cut off" if self.cut_off else "is damaged, or no XPlane file:"
        return BrokenFile(path, f"{how} at byte {self.place:,}")


def fields(data: bytes, start: int, end: int) -> Iterator[Field]:
    """The fields of the message between two places. Damaged where it is none, or reaches over its end."""
    place = start
    while place < end:
        at = place
        key, place = _varint(data, place, end)
        number, kind = key >> 3, key & 7
        if not 0 < number < MOST_FIELD:
            raise Damaged(at, cut_off=False)
        if kind == _VARINT:
            begin = place
            _, place = _varint(data, place, end)
            yield Field(number, begin, place, is_bytes=False)
            continue
        if kind == _BYTES:
            width, place = _varint(data, place, end)
        elif kind in _WIDTHS:
            width = _WIDTHS[kind]
        else:
            raise Damaged(at, cut_off=False)
        if place + width > end:
            raise Damaged(at, cut_off=True)
        yield Field(number, place, place + width, is_bytes=kind == _BYTES)
        place += width


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for at in range(place, min(place + _LONGEST_VARINT, end)):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    raise Damaged(place, cut_off=end - place < _LONGEST_VARINT)
