"""Tables as people read them: words in the heads, numbers of a column alike, an interval beside its value, empty columns left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scaleprof.render.words import ABSENT, digits_of, heading, measure, number
from scaleprof.results import Table

LONG_TEXT = 32
LEFT_OUT_WHERE_ZERO = frozenset(
    f"{leaf}{growth}_ms"
    for leaf in ("exposed_transfer", "bubble", "exposed_wait", "exposed_untold", "exposed_memory")
    for growth in ("", "_growth")
) | {"launched_before_count", "launched_before_ms", "under_compute_share"}
"""Columns that say nothing where no row has any of it: a job without a pipeline has no bubbles. The CSV file keeps them."""
CODE_COLUMNS = ("name", "files", "group", "dtype", "stream", "reader", "counter")


@dataclass(frozen=True)
class Head:
    """The head of a column."""

    column: str
    text: str
    unit: str
    """As shown behind the text; empty where every cell carries its own."""
    is_number: bool
    is_code: bool = False
    is_long: bool = False
    """Whether some text of the column is long enough to be broken into lines."""


@dataclass(frozen=True)
class Cell:
    """One value as text."""

    text: str
    interval: str = ""
    share: float | None = None
    """0..1 where the cell is a share, for a bar behind it."""

    @property
    def whole(self) -> str:
        """The text with its interval."""
        return f"{self.text} {self.interval}".strip()


@dataclass(frozen=True)
class Readable:
    """A table ready to be shown."""

    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int
    """Rows beyond the most that are shown."""


def readable(table: Table, *, most: int = 200) -> Readable:
    """The first rows of a table in words and numbers."""
    rows = table.rows()
    values = {name: [row[place] for row in rows] for place, name in enumerate(table.columns)}
    ends = {name: _ends(name, values) for name in values}
    hidden = {end for pair in ends.values() if pair for end in pair}
    shown = [name for name in values if name not in hidden and _says_something(name, values[name])]
    heads, columns = [], []
    for name in shown:
        words, unit = heading(name)
        is_number = any(isinstance(value, int | float) for value in values[name])
        column = _cells(name, values[name][:most], unit)
        pair = ends[name]
        if pair:
            column = _with_intervals(column, values[pair[0]], values[pair[1]], unit, _decimals(values[name]))
        is_long = max(len(cell.text) for cell in column) > LONG_TEXT
        shown_unit = unit if unit not in ("share", "bytes") else ""
        heads.append(Head(name, words, shown_unit, is_number, name in CODE_COLUMNS, is_long))
        columns.append(column)
    return Readable(tuple(heads), tuple(zip(*columns, strict=True)), max(len(rows) - most, 0))


def _absent(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and not math.isfinite(value))


def _says_something(name: str, column: Sequence[Any]) -> bool:
    known = [value for value in column if not _absent(value)]
    return any(known) if name in LEFT_OUT_WHERE_ZERO else bool(known)


def _ends(name: str, values: dict[str, list[Any]]) -> tuple[str, str] | None:
    """The columns with the lower and upper ends that belong to a column: `step_low_ms` to `step_ms`, `x_low` to `x`."""
    base, _, unit = name.rpartition("_")
    for low, high in ((f"{name}_low", f"{name}_high"), (f"{base}_low_{unit}", f"{base}_high_{unit}")):
        if low in values and high in values:
            return low, high
    return None


def _decimals(column: Sequence[Any]) -> int:
    """Decimals that show four significant digits of the largest value, so that a column lines up."""
    known = [abs(value) for value in column if isinstance(value, float) and math.isfinite(value)]
    whole = all(
        isinstance(value, int) or _absent(value) or value == int(value)
        for value in column
        if not isinstance(value, str)
    )
    if not known or whole:
        return 0
    return min(digits_of(max(known), significant=4), 6)


def _cells(name: str, column: Sequence[Any], unit: str) -> list[Cell]:
    decimals = _decimals(column)
    cells = []
    for value in column:
        share = (
            min(max(float(value), 0.0), 1.0)
            if name == "share" and isinstance(value, int | float) and not _absent(value)
            else None
        )
        cells.append(Cell(_text(value, unit, decimals), share=share))
    return cells


def _text(value: Any, unit: str, decimals: int) -> str:
    if _absent(value):
        return ABSENT if value is None or isinstance(value, float) else ""
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return number(value)
    if unit in ("share", "bytes"):
        amount, sign = measure(value, unit)
        return f"{amount} {sign}"
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    if value != int(value) and abs(value) < 5 * 10.0**-decimals:
        return f"{value:.{digits_of(value, significant=2)}f}" if abs(value) >= 1e-4 else f"{value:.1e}"
    return f"{value:,.{decimals}f}"


def _with_intervals(
    cells: list[Cell], lows: Sequence[Any], highs: Sequence[Any], unit: str, decimals: int
) -> list[Cell]:
    return [
        cell
        if _absent(low) or _absent(high)
        else Cell(cell.text, f"[{_bare(low, unit, decimals)}, {_bare(high, unit, decimals)}]", cell.share)
        for cell, low, high in zip(cells, lows, highs, strict=False)
    ]


def _bare(value: float, unit: str, decimals: int) -> str:
    return measure(value, unit)[0] if unit == "share" else _text(value, unit, decimals)
