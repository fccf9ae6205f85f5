"""Tables on disk come back as they were, to the type; files that lie are refused without reading what is not there."""

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from scaleprof.columns import (
    MAGIC,
    FileSource,
    StoredTable,
    coded,
    coded_of,
    distinct,
    head_of,
    is_one_of,
    numbered,
    part_of,
    tables_of,
    write,
)
from scaleprof.errors import BrokenFile
from scaleprof.results import Table

TABLE = Table(
    {
        "time_ns": np.array([1_800_000_000_000_000_000, 1_800_000_000_000_000_300, 1_800_000_000_000_000_100]),
        "far": np.array([-(2**62), 0, 2**62]),
        "same": np.full(3, -1, dtype=np.int64),
        "small": np.array([-100, 100, 27], dtype=np.int8),
        "wide": np.array([7, 70_000, 8], dtype=np.int32),
        "share": np.array([0.5, np.nan, 1.0]),
        "is_bound": np.array([True, False, True]),
        "op": ["send", "recv", "send"],
        "odd": [None, "x", 3],
    }
)
EMPTY = Table({"step": np.zeros(0, dtype=np.int64), "share": np.zeros(0), "op": [], "on": np.zeros(0, dtype=bool)})


def stored(path: Path, **tables: Table) -> dict[str, StoredTable]:
    with path.open("wb") as file:
        write(file, {"said": 1}, tables)
    with path.open("rb") as file:
        head = head_of(file, path)
    assert head.said["said"] == 1
    source = FileSource(path, head.begin)
    return {name: StoredTable(source, rows, columns) for name, (rows, columns) in tables_of(head.said, path).items()}


@pytest.fixture
def one(tmp_path: Path) -> StoredTable:
    return stored(tmp_path / "facts", before=EMPTY, one=TABLE)["one"]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return type(a) is type(b) and a == b


def test_what_comes_back_is_what_was_put_in(tmp_path: Path) -> None:
    for name, table in stored(tmp_path / "facts", one=TABLE, empty=EMPTY).items():
        was = {"one": TABLE, "empty": EMPTY}[name]
        assert (len(table), list(table.columns)) == (len(was), list(was.columns))
        assert all(same(was[column], table[column]) for column in was.columns), name


def test_parts_and_codes_are_read_without_the_rest(one: StoredTable) -> None:
    for name in TABLE.columns:
        assert same(TABLE[name][1:3], one.part(name, 1, 3)), name
        assert same(TABLE[name][1:3], part_of(TABLE, name, 1, 3))
    for table in (one, TABLE):
        texts, codes = coded_of(table, "op")
        assert [texts[code] for code in codes] == TABLE["op"]
        assert is_one_of(table, ("recv", "all_reduce")).tolist() == [False, True, False]


def test_numbers_take_as_few_bytes_as_their_range_needs(tmp_path: Path) -> None:
    rows = 10_000
    narrow = Table({"time_ns": 2**60 + np.arange(rows), "same": np.full(rows, 5), "op": ["all_reduce"] * rows})
    stored(tmp_path / "facts", narrow=narrow)
    assert (tmp_path / "facts").stat().st_size < 2 * rows + 1000


def _broken() -> Iterator[tuple[str, bytes]]:
    whole = io.BytesIO()
    write(whole, {}, {"one": TABLE})
    content = whole.getvalue()
    begin = len(MAGIC) + 8
    yield "empty", b""
    yield "something else", b"PK\x03\x04" + content
    yield "cut off in its head", content[: begin + 20]
    yield "cut off in its columns", content[:-8]
    yield "a head that never ends", MAGIC + (1 << 60).to_bytes(8, "little") + content[begin:]
    yield "no JSON", MAGIC + (4).to_bytes(8, "little") + b"{{{{"
    yield "no object", MAGIC + (2).to_bytes(8, "little") + b"[]"


BROKEN = dict(_broken())


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_is_none_says_so(what: str, tmp_path: Path) -> None:
    path = tmp_path / "facts"
    path.write_bytes(BROKEN[what])
    with path.open("rb") as file, pytest.raises(BrokenFile, match=r"facts"):
        head_of(file, path)


@pytest.mark.parametrize(
    "column",
    [
        {"dtype": "object", "stored": "|O"},
        {"dtype": "<i8", "stored": "|O"},
        {"dtype": "<i8", "stored": "<i8", "at": -8},
        {"dtype": "list", "values": [1]},
        {"dtype": "<i8", "stored": "no type"},
        {"unheard": 1},
        [],
    ],
)
def test_a_column_that_cannot_be_is_refused(column: Any, tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match="cannot be"):
        tables_of({"tables": {"one": {"rows": 3, "columns": {"x": column}}}}, tmp_path)


@pytest.mark.parametrize("rows", [-1, 1 << 50, "3", None, 2.5])
def test_so_is_a_count_that_cannot_be(rows: Any, tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match="cannot be"):
        tables_of({"tables": {"one": {"rows": rows, "columns": {}}}}, tmp_path)


def test_a_column_beyond_the_end_of_the_file_is_an_error_and_no_zeros(tmp_path: Path) -> None:
    path = tmp_path / "facts"
    path.write_bytes(b"12345678")
    said = {"tables": {"one": {"rows": 2, "columns": {"x": {"dtype": "<i8", "stored": "<i8"}}}}}
    [(rows, columns)] = tables_of(json.loads(json.dumps(said)), path).values()
    with pytest.raises(BrokenFile, match="less than its head says"):
        StoredTable(FileSource(path, 0), rows, columns)["x"]


def test_a_table_that_no_file_can_hold_is_a_type_error() -> None:
    with tempfile.TemporaryFile() as file, pytest.raises(TypeError):
        write(_written(file), {}, {"one": Table({"x": np.array([1j])})})


def _written(file: IO[bytes]) -> IO[bytes]:
    return file


def test_texts_are_numbered_as_they_come_or_in_their_order() -> None:
    texts, codes = coded(["b", "a", "b"])
    assert (texts, codes.tolist()) == (["b", "a"], [0, 1, 0])
    texts, codes = numbered(["b", "a", "b"])
    assert (texts, codes.tolist()) == (["a", "b"], [1, 0, 1])


def test_different_rows_of_several_columns() -> None:
    rows, place = distinct(np.array([1, 0, 1, 1]), np.array([5, 9, 5, 0]))
    assert rows == [(0, 9), (1, 0), (1, 5)]
    assert place.tolist() == [2, 0, 2, 1]
    assert distinct(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))[0] == []
