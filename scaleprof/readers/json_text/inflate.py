"""The bytes of a trace file, inflated where its first bytes say gzip, read into a buffer of the caller's: nothing is held twice.

The fast inflater may lose what it had in hand when it meets damage; then the file is opened again with the careful one, which gives every byte
before the damage, and reading goes on where it had stopped. What a file may inflate to is bounded: a small file can hold terabytes of blanks.
"""

import os
import zlib
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO, Protocol

from scaleprof.errors import BrokenFile
from scaleprof.remote import AnyPath

try:
    from isal import igzip, isal_zlib

    _BAD_DATA: Any = (zlib.error, isal_zlib.error)
    _open_gzip: Any = igzip.open
except ImportError:  # no wheel for this machine: the standard library reads the same, slower
    import gzip

    _BAD_DATA, _open_gzip = (zlib.error,), gzip.open

GZIP_MAGIC = b"\x1f\x8b"
MOST_INFLATED_GB = 64.0
"""What one file may inflate to, unless SCALEPROF_MOST_INFLATED_GB says otherwise."""
LIMIT_VARIABLE = "SCALEPROF_MOST_INFLATED_GB"
_CAREFUL_BYTES = 1 << 14
_GZIP = 31  # what zlib calls a gzip header and trailer
_PIECE_BYTES = 1 << 20
_SUSPICIOUS = 300
"""Times its size: traces shrink to a tenth, the most repetitive ones to a hundredth."""
_HARMLESS_BYTES = 1 << 30


class CutShort(Exception):
    """The compressed data ends or breaks before its end."""


class _Stream(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the buffer, and how much of it."""

    def close(self) -> None:
        """Give the file back."""


class Text:
    """The text of a trace file; reading past damage ends it early, and `damage` says why."""

    def __init__(self, path: AnyPath) -> None:
        self._path = path
        self._read = 0
        self.damage = ""
        try:
            self._file = path.open("rb")
            self._most = most_inflated(path) if starts_compressed(self._file) else None
            self._stream: _Stream = self._file if self._most is None else _open_gzip(self._file, "rb")  # type: ignore[assignment]
        except OSError as error:
            raise BrokenFile(path, f"cannot be read ({error.strerror or error})") from error

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer as far as the text goes; 0 at its end."""
        filled = 0
        while filled < len(buffer) and (got := self._some(buffer[filled:])):
            filled += got
        return filled

    def _some(self, buffer: memoryview) -> int:
        try:
            got = self._stream.readinto(buffer) or 0
        except CutShort as error:
            self.damage = str(error)
            return 0
        except (EOFError, *_BAD_DATA):
            self._stream = _Careful(self._path, skip=self._read)
            return self._some(buffer)
        except OSError as error:
            if self._most is not None and not isinstance(self._stream, _Careful):  # gzip's own words for damage
                self._stream = _Careful(self._path, skip=self._read)
                return self._some(buffer)
            raise BrokenFile(self._path, f"cannot be read ({error.strerror or error})") from error
        self._read += got
        if self._most is not None and self._read > self._most:
            raise BrokenFile(
                self._path,
                f"inflates to more than {self._most / 1e9:,.3g} GB, which no trace of its size does: if it is one, set {LIMIT_VARIABLE}",
            )
        return got

    def close(self) -> None:
        """Give the file back."""
        self._stream.close()
        self._file.close()


def is_compressed(path: AnyPath) -> bool:
    """Whether a file's first bytes say gzip."""
    with path.open("rb") as file:
        return starts_compressed(file)


def starts_compressed(file: BinaryIO) -> bool:
    """Whether a file's first bytes say gzip. It is at its start before and after."""
    found = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    return found


def most_inflated(path: AnyPath) -> float:
    """What a compressed file may inflate to, in bytes."""
    try:
        stated = float(os.environ.get(LIMIT_VARIABLE, "")) * 1e9
    except ValueError:
        stated = 0.0
    if stated > 0:  # else nothing is said, or nothing that could be meant
        return stated
    size = path.stat().st_size or MOST_INFLATED_GB * 1e9  # some web servers do not say
    return min(MOST_INFLATED_GB * 1e9, max(size * _SUSPICIOUS, _HARMLESS_BYTES))


class _Careful:
    """Inflates piece by piece, so that nothing before damage is lost; what was read before is passed over."""

    def __init__(self, path: AnyPath, *, skip: int = 0) -> None:
        self._pieces = _inflated(path)
        self._skip = skip
        self._rest = b""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer; CutShort at damage."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece[self._skip :]
            self._skip -= min(self._skip, len(piece))
        got = min(len(buffer), len(self._rest))
        buffer[:got] = self._rest[:got]
        self._rest = self._rest[got:]
        return got

    def close(self) -> None:
        """Give the file back."""
        self._pieces.close()


def _inflated(path: AnyPath) -> Generator[bytes, None, None]:
    """The text of all members. With the standard library: its inflater can be copied, to go over the last bytes before damage one by one."""
    with path.open("rb") as file:
        inflate, data = zlib.decompressobj(_GZIP), b""
        while True:
            if inflate.eof:
                data += file.read(len(GZIP_MAGIC) - len(data)) if len(data) < len(GZIP_MAGIC) else b""
                if not data.startswith(GZIP_MAGIC):  # padding after the last member
                    return
                inflate = zlib.decompressobj(_GZIP)
            data = data or file.read(_CAREFUL_BYTES)
            if not data:
                raise CutShort("the compressed data ends before its end mark")
            before = inflate.copy()
            try:
                piece = inflate.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                yield from _one_by_one(before, data)
                raise CutShort(f"the compressed data is damaged ({error})") from error
            yield piece
            data = inflate.unconsumed_tail or inflate.unused_data


def _one_by_one(inflate: Any, data: bytes) -> Iterator[bytes]:
    """What the bytes before the damage hold."""
    try:
        for place in range(len(data)):
            yield inflate.decompress(data[place : place + 1])
    except zlib.error:
        return
