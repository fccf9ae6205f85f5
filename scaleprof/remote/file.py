"""Reads a file that is elsewhere, piece by piece. Where the connection breaks, reading goes on from there; a piece is all that is ever in memory."""

import io
import re
from contextlib import suppress
from typing import Any, Protocol

from scaleprof.remote.path import RemotePath
from scaleprof.remote.store import Entry, connected, failures, tried
from scaleprof.remote.words import Changed

_FIRST_BYTES, _MOST_BYTES = 1 << 20, 8 << 20
"""A piece at first, for it may be the last, and at most."""
_AT_ONCE = 1 << 20
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class _Source(Protocol):
    def read(self, place: int, size: int) -> bytes:
        """Some bytes from a place on, at most so many; none at the end."""

    def close(self) -> None:
        """Let go of the connection."""


class RemoteFile(io.RawIOBase):
    """The bytes of a file that is elsewhere. Raises OSError, in words, where they cannot be had."""

    def __init__(self, path: RemotePath) -> None:
        self._path = path
        system, where = connected(path.url, str(path))
        self._source: _Source = _Stream(system, where) if path.scheme in ("http", "https") else _Ranges(system, where)
        self._piece, self._start, self._place = b"", 0, 0
        self._size = _FIRST_BYTES

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes, but it costs what lies between where a server sends whole files only."""
        return True

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._place

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere, from the start, from here, or from the end."""
        if whence == io.SEEK_END:
            place += self._path.stat().st_size
        self._place = place + (self._place if whence == io.SEEK_CUR else 0)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Fill some of the buffer; 0 at the end."""
        at = self._place - self._start
        if not 0 <= at < len(self._piece):
            self._fetch(goes_on=at == len(self._piece))
            at = 0
        part = memoryview(self._piece)[at : at + len(buffer)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)

    def _fetch(self, *, goes_on: bool) -> None:
        self._size = min(2 * self._size, _MOST_BYTES) if goes_on and self._piece else _FIRST_BYTES
        self._piece = b""
        self._piece = tried(lambda: self._source.read(self._place, self._size))
        self._start = self._place

    def close(self) -> None:
        """Let go of the connection."""
        if not self.closed:
            self._source.close()
        super().close()


class _Ranges:
    """A store that gives any part of a file."""

    def __init__(self, system: Any, where: str) -> None:
        self._system, self._where = system, where
        self._file: Any = None
        self._known: Entry | None = None

    def read(self, place: int, size: int) -> bytes:
        if self._file is None:
            self._file = self._system.open(self._where, "rb", cache_type="none")
            entry = Entry.of(getattr(self._file, "details", None) or {})
            if self._known not in (None, entry):
                raise Changed
            self._known = entry
        try:
            self._file.seek(place)
            data: bytes = self._file.read(size)
        except BaseException:
            self.close()
            raise
        return data

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


class _Stream:
    """A web server, which sends a file from a place on, if it can; one that cannot sends all again, and what is known is passed over."""

    def __init__(self, system: Any, where: str) -> None:
        self._system, self._where = system, where
        self._file: Any = None
        self._place = 0
        self._end: int | None = None
        self._known: tuple[str, int | None] | None = None

    def read(self, place: int, size: int) -> bytes:
        parts: list[bytes] = []
        try:
            if self._file is None or self._place != place:
                self._open(place)
            while size > 0 and (part := self._some(min(size, _AT_ONCE))):
                parts.append(part)
                size -= len(part)
        except failures():
            self.close()
            if not parts:  # else what came is of use, and the next piece finds out whether it goes on
                raise
        return b"".join(parts)

    def _some(self, most: int) -> bytes:
        data: bytes = self._file.read(most)
        self._place += len(data)
        if not data and self._end is not None and self._place < self._end:
            raise ConnectionError(f"the connection ended after {self._place:,} of {self._end:,} bytes")
        return data

    def _open(self, place: int) -> None:
        self.close()
        if self._end is not None and place >= self._end:
            self._file, self._place = io.BytesIO(), place
            return
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={place}-"} if place else {})}
        # Without a size that is stated fsspec would ask for it, and with blocks it would ask for each of them.
        self._file = self._system.open(self._where, "rb", block_size=0, size=1, headers=headers)
        answer = self._file.r
        found = _RANGE.match(answer.headers.get("Content-Range", "")) if answer.status == 206 else None
        coded = answer.headers.get("Content-Encoding", "identity") not in ("", "identity")
        if found and int(found[1]) == place and not coded:
            self._place, total = place, None if found[2] == "*" else int(found[2])
        else:
            self._place, length = 0, answer.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() and not coded and answer.status == 200 else None
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        if self._known not in (None, (tag, total)):
            raise Changed
        self._known, self._end = (tag, total), total
        while self._place < place and self._some(min(place - self._place, _AT_ONCE)):
            pass

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
