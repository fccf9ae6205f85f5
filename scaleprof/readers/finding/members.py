"""The members of an archive, tar or zip. It is untrusted: what it inflates to is bounded, and so is what a header may ask for."""

import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, BinaryIO, Protocol, Self

from scaleprof.errors import BrokenFile
from scaleprof.readers.json_text.inflate import GZIP_MAGIC, LIMIT_VARIABLE, most_inflated
from scaleprof.remote import AnyPath

_PATIENCE_BYTES = 1 << 30
"""Without any trace so far, it is somebody's data set: it is not inflated to its end."""
_LARGEST_READ, _LARGEST_LIST = 1 << 26, 1 << 23
"""A header, a list of a zip's members, that asks for more is none."""
_CHUNK = 1 << 20
_ENCRYPTED = 1
DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError, OverflowError, RecursionError,
    NotImplementedError,
)  # fmt: skip
"""What hostile headers make the standard library raise, besides its own errors."""


@dataclass(frozen=True)
class Member:
    """What an archive says of one of its members."""

    name: str
    is_file: bool
    """A file with bytes of its own: no link, no device."""
    is_folder: bool
    header: Any


class Members(Protocol):
    """The members of an open archive. Iteration and reading raise one of DAMAGE where it is damaged, BrokenFile where it is beyond bounds."""

    found: bool
    """Whether a trace was found among them, which the caller says."""

    def __enter__(self) -> Self:
        """Opens it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""

    def __iter__(self) -> Iterator[Member]:
        """Each member, in the order of the archive."""

    def opened(self, member: Member) -> IO[bytes]:
        """The bytes of a member."""

    def count(self, read: int) -> None:
        """So many bytes of a member were read."""


def members_of(path: AnyPath) -> Members:
    """The members of an archive, told by its name."""
    return _Zip(path) if path.name.lower().endswith(".zip") else _Tar(path)


def _beyond(path: AnyPath, most: float) -> BrokenFile:
    said = f"inflates to more than {most / 1e9:,.3g} GB, which no archive of its size does: if it is one, set {LIMIT_VARIABLE}"
    return BrokenFile(path, said)


class _Tar:
    """A tar archive, which is read from its beginning to its end."""

    def __init__(self, path: AnyPath) -> None:
        self._stream = _Bounded(path)

    @property
    def found(self) -> bool:
        return self._stream.found

    @found.setter
    def found(self, found: bool) -> None:
        self._stream.found = found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __iter__(self) -> Iterator[Member]:
        with tarfile.TarFile(fileobj=self._stream) as self._archive:
            for one in self._archive:
                yield Member(one.name, one.isreg() and not one.issparse(), one.isdir(), one)

    def opened(self, member: Member) -> IO[bytes]:
        return self._archive.extractfile(member.header) or io.BytesIO()

    def count(self, read: int) -> None:
        """The stream counts for itself."""


class _Zip:
    """A zip archive, whose list of members stands at its end."""

    def __init__(self, path: AnyPath) -> None:
        self.found = False
        self._path = path
        self._most = most_inflated(path)
        self._read = 0

    def __enter__(self) -> Self:
        self._file = self._path.open("rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Member]:
        with zipfile.ZipFile(_SmallReads(self._file)) as self._archive:
            for one in self._archive.infolist():
                # Archives that were made elsewhere than on Unix say nothing of kinds.
                kind = stat.S_IFMT(one.external_attr >> 16)
                yield Member(one.filename, kind in (0, stat.S_IFREG), one.is_dir(), one)

    def opened(self, member: Member) -> IO[bytes]:
        if member.header.flag_bits & _ENCRYPTED:
            raise BrokenFile(self._path, "is locked by a password: unpack it first")
        return self._archive.open(member.header)

    def count(self, read: int) -> None:
        self._read += read
        if self._read > self._most:
            raise _beyond(self._path, self._most)


class _SmallReads:
    """A file of which nobody reads very much at once: the list of members is read as a whole, however long it says that it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """As asked, within bounds."""
        data = self._file.read(size if 0 <= size <= _LARGEST_LIST else _LARGEST_LIST + 1)
        if len(data) > _LARGEST_LIST:
            raise zipfile.BadZipFile("its list of members is longer than that of any archive of traces")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Bounded(io.RawIOBase):
    """The bytes of an archive, inflated; no more than a bound in all, and no more at once than an honest header asks for."""

    def __init__(self, path: AnyPath) -> None:
        file = path.open("rb")
        compressed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        self._file: BinaryIO = gzip.GzipFile(fileobj=file) if compressed else file  # type: ignore[assignment]
        self._raw = file
        self._path = path
        self._most = most_inflated(path) if compressed else float("inf")
        self.found = not compressed
        """Whether a trace was found in it."""

    def read(self, size: int = -1) -> bytes:
        """As asked, within bounds."""
        if size < 0 or size > _LARGEST_READ:
            raise tarfile.ReadError("a header asks for more than any header holds")
        self._check(size)
        return self._file.read(size)

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """As asked, within bounds."""
        if place < self._file.tell() - _CHUNK:
            raise tarfile.ReadError("it leads back to what was read")  # each step back would inflate all anew
        self._check(max(place - self._file.tell(), 0))
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """Where it stands."""
        return self._file.tell()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()
        self._raw.close()

    def _check(self, more: int) -> None:
        if not self.found and self._file.tell() + more > _PATIENCE_BYTES:
            raise BrokenFile(self._path, f"holds no trace in its first {_PATIENCE_BYTES >> 30} GB")
        if self._file.tell() + more > self._most:
            raise _beyond(self._path, self._most)
