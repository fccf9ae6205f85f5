"""Every table of a report as a file: CSV, which a spreadsheet opens and runs nothing of, or Parquet with its types."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from scaleprof.errors import MissingPackage
from scaleprof.export.files import written_whole
from scaleprof.results import Report, Table, plain

TableFormat = Literal["csv", "parquet"]
_FORMULA = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]")  # those of full width too
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.IGNORECASE)
_QUOTED = re.compile(r'[",\n\r]')


def write_tables(report: Report, folder: Path, format: TableFormat) -> list[Path]:
    """One file for each table of the report, called as it is; their paths. MissingPackage where Parquet is wanted and pyarrow is not installed."""
    put: Callable[[Table, IO[bytes]], None] = _parquet() if format == "parquet" else _csv
    paths = []
    for name, table in tables_of(report).items():
        path = folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('.') or 'table'}.{format}"
        with written_whole(path) as file:
            put(table, file)
        paths.append(path)
    return paths


def tables_of(report: Report) -> dict[str, Table]:
    """Every table by name: how files were grouped, those of the comparison, and those of all runs one below the other, with the name and the size of
    the run in front."""
    found = {"grouping": report.grouping}
    for section in report.comparison:
        found.update({name: table for name, table in section.tables.items() if name not in found})
    of_runs: dict[str, list[tuple[Mapping[str, Any], Table]]] = {}
    for run in report.runs:
        about = {"run": run.info.name, "world_size": run.info.world_size}
        for section in run.sections:
            for name, table in section.tables.items():
                of_runs.setdefault(name, []).append((about, table))
    found |= {name: _stacked(parts) for name, parts in of_runs.items() if name not in found}
    return found


def _stacked(parts: Sequence[tuple[Mapping[str, Any], Table]]) -> Table:
    """Tables one below the other; a column that one of them lacks is empty there."""
    front = list(parts[0][0])
    names = list(dict.fromkeys(name for _, table in parts for name in table.columns if name not in front))
    columns: dict[str, list[Any]] = {name: [] for name in (*front, *names)}
    for about, table in parts:
        for name in front:
            columns[name] += [about[name]] * len(table)
        for name in names:
            columns[name] += plain(table.columns[name]) if name in table.columns else [None] * len(table)
    return Table(columns)


def _csv(table: Table, file: IO[bytes]) -> None:
    rows: Iterable[Sequence[Any]] = [list(table.columns), *table.rows()]
    for row in rows:
        file.write((",".join(map(cell, row)) + "\r\n").encode(errors="replace"))


def cell(value: Any) -> str:
    """A value as a cell of CSV. A text that a spreadsheet would run as a formula is made a text by an apostrophe; plain numbers stay numbers."""
    if value is None:
        return ""
    text = _text(value)
    if not _is_number(value) and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parquet() -> Callable[[Table, IO[bytes]], None]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackage("pyarrow", "parquet", "writing Parquet") from error

    def put(table: Table, file: IO[bytes]) -> None:
        columns = {name: pyarrow.array(_alike(plain(column))) for name, column in table.columns.items()}
        pyarrow.parquet.write_table(pyarrow.table(columns), file)

    return put


def _alike(column: Sequence[Any]) -> list[Any]:
    """Values of one type: numbers stay numbers, a column that mixes them with texts becomes text."""
    kinds = {type(value) for value in column if value is not None}
    if kinds <= {int, float}:
        return [float(value) if value is not None and kinds == {int, float} else value for value in column]
    return list(column) if len(kinds) <= 1 else [None if value is None else _text(value) for value in column]
