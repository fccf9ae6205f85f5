"""Tables as files: a spreadsheet runs nothing of them, and Parquet has every value with its type."""

import csv
import io
from pathlib import Path

import pytest

from scaleprof.export.tables import cell, tables_of, write_tables
from scaleprof.results import Report, Result, RunReport, Table
from scaleprof.run import RunInfo


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=1+1", "'=1+1"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"), ("-2+3", "'-2+3"), ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "'\t=1"),
        ("-12.5", "-12.5"), (-3, "-3"), (-1.5e-7, "-1.5e-07"), (True, "true"), (None, ""), (float("inf"), "inf"), ([1, 2], '"1, 2"'),
        ('say "no", twice', '"say ""no"", twice"'), ("two\nlines", '"two\nlines"'), ("=a,b", '"\'=a,b"'),
        ("\n=1", '"\'\n=1"'), ("\r=1", '"\'\r=1"'), ("\uff1d1+1", "'\uff1d1+1"), (["=1", 2], '"\'=1, 2"'), ("-1\n", '"\'-1\n"'), ("+1e5", "+1e5"),
        ("-1e5x", "'-1e5x"), ("a=1", "a=1"), (["a", True, None], '"a, true, "'),
    ],
)  # fmt: skip
def test_a_cell_is_never_a_formula(value: object, text: str) -> None:
    assert cell(value) == text


def made() -> Report:
    def run(name: str, size: int, table: Table) -> RunReport:
        return RunReport(
            RunInfo(name, size), tuple(range(size)), (Result("steps", "Steps", "", tables={"steps": table}),)
        )

    return Report(
        "made",
        "",
        (
            run("=evil", 1, Table({"step": [0, 1], "time_ms": [1.5, float("nan")]})),
            run("good", 2, Table({"step": [0], "note": ["é"]})),
        ),
        comparison=(
            Result("scaling", "Scaling", "", tables={"scaling": Table({"ranks": [1, 2], "mixed": [1, "two"]})}),
        ),
        grouping=Table({"run": ["=evil"], "files": ["a, b"]}),
    )


def test_runs_stand_one_below_the_other() -> None:
    tables = tables_of(made())
    assert list(tables) == ["grouping", "scaling", "steps"]
    assert tables["steps"].rows() == [
        ["=evil", 1, 0, 1.5, None],
        ["=evil", 1, 1, None, None],
        ["good", 2, 0, None, "é"],
    ]


def test_csv_is_read_back(tmp_path: Path) -> None:
    assert [path.name for path in write_tables(made(), tmp_path, "csv")] == ["grouping.csv", "scaling.csv", "steps.csv"]
    rows = list(csv.reader(io.StringIO((tmp_path / "steps.csv").read_text(encoding="utf-8"), newline="")))
    assert rows == [
        ["run", "world_size", "step", "time_ms", "note"],
        ["'=evil", "1", "0", "1.5", ""],
        ["'=evil", "1", "1", "", ""],
        ["good", "2", "0", "", "é"],
    ]


def test_parquet_is_read_back_with_its_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_tables(made(), tmp_path, "parquet")
    steps = parquet.read_table(tmp_path / "steps.parquet")
    assert steps.column("step").to_pylist() == [0, 1, 0] and steps.column("time_ms").to_pylist() == [1.5, None, None]
    assert steps.column("run").to_pylist() == ["=evil", "=evil", "good"]
    assert [str(kind) for kind in steps.schema.types] == ["string", "int64", "int64", "double", "string"]
    assert parquet.read_table(tmp_path / "scaling.parquet").column("mixed").to_pylist() == ["1", "two"]
