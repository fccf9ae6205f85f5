"""Tables as they lie on disk: narrow, side by side, each column read when somebody asks for it.

The facts of thousands of ranks do not fit in memory as arrays and lists, so this keeps them in a file: whole numbers in as few bytes as their
range needs, texts as numbers of distinct texts, a column that says the same in every row as nothing at all. What comes back is what was put in, to
the type.

A file is `MAGIC`, the length of its head (8 bytes, little end first), the head (JSON) and the columns. No pickle; a length that does not fit the file
is an error and no allocation.
"""

import json
import os
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np

from scaleprof.errors import BrokenFile
from scaleprof.results import Table

MAGIC = b"scaleprof facts 1\n"
MOST_HEAD_BYTES = 1 << 28
MOST_ROWS = 1 << 26
"""Of one table of one rank: a column that lies on disk as nothing could else be of any length."""
_NARROW = (np.dtype("u1"), np.dtype("u2"), np.dtype("u4"))
_KINDS = "biuf"


class Source(Protocol):
    """Where columns are read from."""

    def read(self, at: int, size: int) -> bytes:
        """So many bytes from a place; an error where there are fewer."""


@dataclass(frozen=True)
class FileSource:
    """Columns in a file, which is open only while it is read: thousands of ranks are more files than a process may have open."""

    path: Path
    begin: int
    """Where its columns begin."""

    def read(self, at: int, size: int) -> bytes:
        """So many bytes from a place behind the head."""
        with self.path.open("rb", buffering=0) as file:
            return _read(file.fileno(), self.begin + at, size, self.path)


class Spill:
    """A file without a name, to write columns into and read them from; it is gone with the last who holds it."""

    def __init__(self, folder: Path | None) -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            self.number = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.number)
        self._end = 0

    def append(self, parts: Sequence[bytes]) -> int:
        """Where these parts lie, one behind the other."""
        begin = self._end
        for part in parts:
            left = memoryview(part)
            while left:
                written = os.pwrite(self.number, left, self._end)
                left, self._end = left[written:], self._end + written
        return begin


@dataclass(frozen=True)
class SpillSource:
    """Columns in a file without a name."""

    file: Spill
    begin: int

    def read(self, at: int, size: int) -> bytes:
        """So many bytes from a place behind its beginning."""
        return _read(self.file.number, self.begin + at, size, Path("temporary file"))


def _read(number: int, at: int, size: int, path: Path) -> bytes:
    if at + size > os.fstat(number).st_size:
        raise BrokenFile(path, "holds less than its head says")
    content = os.pread(number, size, at)
    while len(content) < size:  # large reads may come in parts
        part = os.pread(number, size - len(content), at + len(content))
        if not part:
            raise BrokenFile(path, "became shorter while it was read")
        content += part
    return content


@dataclass(frozen=True)
class Column:
    """Where a column lies, and what it becomes again."""

    dtype: str
    """In memory; `text` for texts, `list` for any other list, whose values stand in `values`."""
    stored: str = ""
    """On disk; empty where nothing lies there: every row is `base`."""
    at: int = 0
    base: int = 0
    """To be added to whole numbers."""
    values: tuple[Any, ...] = ()
    """The distinct texts, or all values of a list."""

    def read(self, source: Source, first: int, count: int) -> Any:
        """So many rows from one on."""
        if self.dtype == "list":
            return list(self.values[first : first + count])
        numbers = self.numbers(source, first, count)
        if self.dtype == "text":
            return np.array(self.values, dtype=object)[numbers].tolist() if count else []
        wanted = np.dtype(self.dtype)
        if numbers.dtype == wanted:
            return numbers.copy()
        return numbers.astype(wanted) + wanted.type(self.base)

    def numbers(self, source: Source, first: int, count: int) -> np.ndarray:
        """The same as they lie on disk."""
        if not self.stored:
            return np.zeros(count, dtype=np.uint8)
        stored = np.dtype(self.stored)
        content = source.read(self.at + first * stored.itemsize, count * stored.itemsize)
        return np.frombuffer(content, dtype=stored)


class StoredTable(Table):
    """A table whose columns are read when they are asked for, and kept as long as the table itself is."""

    def __init__(self, source: Source, rows: int, where: Mapping[str, Column]) -> None:
        object.__setattr__(self, "columns", cast(dict[str, Any], _Columns(source, rows, where)))
        object.__setattr__(self, "_rows", rows)

    def __len__(self) -> int:
        rows: int = self._rows  # type: ignore[attr-defined]
        return rows

    def part(self, name: str, first: int, end: int) -> Any:
        """Rows of one column, without reading the others."""
        return cast(_Columns, self.columns).part(name, first, end)

    def coded(self, name: str) -> tuple[list[str], np.ndarray]:
        """What `coded` says of a column of texts, as it lies on disk."""
        return cast(_Columns, self.columns).coded(name)


class _Columns(Mapping[str, Any]):
    def __init__(self, source: Source, rows: int, where: Mapping[str, Column]) -> None:
        self._source, self._rows, self._where = source, rows, where
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._where[name].read(self._source, 0, self._rows)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)

    def part(self, name: str, first: int, end: int) -> Any:
        if name in self._known:
            return self._known[name][first:end]
        return self._where[name].read(self._source, first, end - first)

    def coded(self, name: str) -> tuple[list[str], np.ndarray]:
        column = self._where[name]
        if column.dtype != "text":
            return coded(self[name])
        return list(column.values), column.numbers(self._source, 0, self._rows)


def part_of(table: Table, name: str, first: int, end: int) -> Any:
    """Rows of one column of any table."""
    return table.part(name, first, end) if isinstance(table, StoredTable) else table[name][first:end]


def coded_of(table: Table, name: str) -> tuple[list[str], np.ndarray]:
    """The distinct texts of a column of any table, and for each row the number of its text."""
    return table.coded(name) if isinstance(table, StoredTable) else coded(table[name])


def is_one_of(table: Table, texts: Sequence[str], name: str = "op") -> np.ndarray:
    """By row: whether a column of any table says one of these."""
    distinct, codes = coded_of(table, name)
    found: np.ndarray = np.array([text in texts for text in distinct], dtype=np.bool_)[codes]
    return found


def coded(values: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The distinct texts in the order in which they come, and for each row the number of its text."""
    numbers: dict[str, int] = {}
    codes = np.fromiter((numbers.setdefault(text, len(numbers)) for text in values), dtype=np.int64, count=len(values))
    return list(numbers), codes


def numbered(values: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The distinct texts, ascending, and for each row the number of its text. NumPy's own way makes all texts as long as the longest."""
    texts, codes = coded(values)
    order = sorted(range(len(texts)), key=texts.__getitem__)
    new = np.zeros(len(order), dtype=np.int64)
    new[order] = np.arange(len(order))
    return [texts[place] for place in order], new[codes]


def distinct(*columns: np.ndarray) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """The different rows of several columns of small whole numbers, none of them negative, ascending; and by row which of them it is."""
    radix = [int(column.max(initial=0)) + 1 for column in columns]
    keys = np.zeros(len(columns[0]), dtype=np.int64)
    for column, wide in zip(columns, radix, strict=True):
        keys = keys * wide + column
    found, place = np.unique(keys, return_inverse=True)
    rows = []
    for wide in reversed(radix):
        found, digit = found // wide, found % wide
        rows.append(digit.tolist())
    return list(zip(*reversed(rows), strict=True)), place


# ---- packing


def packed(table: Table, at: int) -> tuple[dict[str, Any], list[bytes]]:
    """What the head says of a table whose columns begin at a place, and their bytes; each begins at a multiple of 8."""
    said, parts = dict[str, Any](), list[bytes]()
    for name, values in table.columns.items():
        column, content = _packed(values, at)
        said[name] = column
        if content:
            content += bytes(-len(content) % 8)
            parts.append(content)
            at += len(content)
    return {"rows": len(table), "columns": said}, parts


def _packed(values: Any, at: int) -> tuple[dict[str, Any], bytes]:
    if not isinstance(values, np.ndarray) or values.dtype == object:
        values = list(values)
        if not all(type(value) is str for value in values):
            return {"dtype": "list", "values": values}, b""
        texts, codes = coded(values)
        stored, content, _ = _narrow(codes)
        return {"dtype": "text", "stored": stored, "at": at, "values": texts}, content
    if values.dtype.kind not in _KINDS or values.ndim != 1:
        raise TypeError(f"a column of {values.dtype} is not kept")
    if values.dtype.kind not in "iu":
        return {"dtype": values.dtype.str, "stored": values.dtype.str, "at": at}, np.ascontiguousarray(values).tobytes()
    stored, content, base = _narrow(values)
    return {"dtype": values.dtype.str, "stored": stored, "at": at, "base": base}, content


def _narrow(values: np.ndarray) -> tuple[str, bytes, int]:
    """Whole numbers as what they are above the least one, in as few bytes as that needs: type, bytes and the least."""
    if not len(values):
        return "", b"", 0
    low, high = int(values.min()), int(values.max())
    if low == high:
        return "", b"", low
    for dtype in _NARROW:
        if high - low <= np.iinfo(dtype).max and dtype.itemsize < values.dtype.itemsize:
            return dtype.str, (values - values.dtype.type(low)).astype(dtype).tobytes(), low
    return values.dtype.str, np.ascontiguousarray(values).tobytes(), 0


def write(file: IO[bytes], head: Mapping[str, Any], tables: Mapping[str, Table]) -> None:
    """A whole file: what `head` says, and the tables."""
    said, parts, at = dict[str, Any](), list[bytes](), 0
    for name, table in tables.items():
        said[name], of_table = packed(table, at)
        parts += of_table
        at += sum(map(len, of_table))
    text = json.dumps({**head, "tables": said, "bytes": at}, default=_plain).encode()
    file.write(MAGIC + len(text).to_bytes(8, "little") + text)
    file.writelines(parts)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not kept")


# ---- unpacking


@dataclass(frozen=True)
class Head:
    """What a file says of itself, and where its columns begin."""

    said: Mapping[str, Any]
    begin: int
    bytes: int
    """Of all columns."""


def head_of(file: IO[bytes], path: Path) -> Head:
    """The head of a file that `write` wrote; BrokenFile for any other."""
    number = file.fileno()
    start = os.pread(number, len(MAGIC) + 8, 0)
    if len(start) < len(MAGIC) + 8 or not start.startswith(MAGIC):
        raise BrokenFile(path, "holds no facts, or those of another version")
    size, begin = int.from_bytes(start[len(MAGIC) :], "little"), len(MAGIC) + 8
    left = os.fstat(number).st_size - begin
    if size > min(left, MOST_HEAD_BYTES):
        raise BrokenFile(path, "holds less than its head says")
    try:
        said = json.loads(_read(number, begin, size, path))
        count = int(said["bytes"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BrokenFile(path, f"has no readable head ({error})") from error
    if count != left - size:
        raise BrokenFile(path, "holds less or more than its head says")
    return Head(said, begin + size, count)


def tables_of(said: Mapping[str, Any], path: Path) -> dict[str, tuple[int, dict[str, Column]]]:
    """By table its rows, and where its columns lie; BrokenFile for what cannot be."""
    try:
        return {
            name: (
                _rows(table["rows"]),
                {column: _column(**of, rows=table["rows"]) for column, of in table["columns"].items()},
            )
            for name, table in said["tables"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BrokenFile(path, f"says of its tables what cannot be ({error})") from error


def _rows(count: int) -> int:
    if type(count) is not int or not 0 <= count <= MOST_ROWS:
        raise ValueError(f"{count} rows")
    return count


def _column(
    dtype: str, rows: int, stored: str = "", at: int = 0, base: int = 0, values: Sequence[Any] = ()
) -> Column:  # fmt: skip
    if dtype not in ("text", "list"):
        dtype = np.dtype(dtype).str
        if np.dtype(dtype).kind not in _KINDS:
            raise ValueError(f"a column of {dtype}")
    elif dtype == "list" and len(values) != rows:
        raise ValueError(f"a list of {len(values)} for {rows} rows")
    if (stored and np.dtype(stored).kind not in _KINDS) or at < 0:
        raise ValueError(f"a column of {stored} at {at}")
    return Column(dtype, stored, at, base, tuple(values))
