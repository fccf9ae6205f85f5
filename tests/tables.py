"""Tables of operations made by hand, as the facts of ranks hold them."""

from typing import Any

import numpy as np

from scaleprof.results import Table

_ABSENT = {
    "op": "all_reduce",
    "bytes": 8,
    "dtype": "float",
    "group": "0",
    "seq": 1,
    "step": 0,
    "peer": -1,
    "issued_ns": 0,
    "start_ns": 0,
    "dur_ns": 0,
}


def operations(*rows: dict[str, Any]) -> Table:
    """One row for each operation, what is not said filled in."""
    table: dict[str, Any] = {}
    for name, absent in _ABSENT.items():
        values = [row.get(name, absent) for row in rows]
        table[name] = values if isinstance(absent, str) else np.array(values, dtype=np.int64)
    return Table(table)


def numbers(**values: list[int]) -> Table:
    """Columns of whole numbers."""
    return Table({name: np.array(column, dtype=np.int64) for name, column in values.items()})
