"""Exposed communication in its parts, on paper."""

from typing import Any

import numpy as np

from scaleprof.clock import RankClock
from scaleprof.matching import match
from scaleprof.results import Table
from scaleprof.run import ProcessGroup
from scaleprof.waiting import Exchange, exchange_of, exposed_parts

WORLD = (ProcessGroup("0", (0, 1)),)
SAME = {rank: RankClock("node", 0, 0) for rank in range(2)}


def columns(*rows: dict[str, Any]) -> Table:
    names = {
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
    table: dict[str, Any] = {}
    for name, absent in names.items():
        values = [row.get(name, absent) for row in rows]
        table[name] = values if isinstance(absent, str) else np.array(values, dtype=np.int64)
    return Table(table)


def numbers(**values: list[int]) -> Table:
    return Table({name: np.array(column, dtype=np.int64) for name, column in values.items()})


def exchange(tables: dict[int, Table], clocks: dict[int, RankClock] = SAME) -> Exchange:
    return exchange_of(tables, match(tables, dict.fromkeys(tables, WORLD)), clocks)


def told(
    tables: dict[int, Table], exposed: int, segments: Table, waits: Table | None = None, clocks: Any = SAME
) -> list[int]:
    account = numbers(step=[0], exposed_comm_ns=[exposed])
    parts = exposed_parts(0, account, segments, waits, tables[0], exchange(tables, clocks))
    return [int(parts[name][0]) for name in ("exposed_transfer", "bubble", "exposed_wait", "exposed_untold")]


REDUCED = {0: columns({"start_ns": 100, "dur_ns": 100}), 1: columns({"start_ns": 170, "dur_ns": 30})}
"""Rank 1 comes last: 30 ns are transfer, and rank 0 has waited for 70."""


def test_of_a_stretch_the_end_is_transfer_and_the_rest_was_waiting() -> None:
    segments = numbers(segment=[0, 1], step=[0, 0], start_ns=[110, 160], end_ns=[130, 190], comm=[0, 0])
    assert told(REDUCED, 50, segments) == [20, 0, 30, 0]


def test_what_no_operation_explains_stays_untold() -> None:
    segments = numbers(segment=[0], step=[0], start_ns=[190], end_ns=[240], comm=[0])
    assert told(REDUCED, 50, segments) == [10, 0, 0, 40]


def test_of_several_devices_the_mean_counts_also_where_one_exposes_nothing() -> None:
    segments = numbers(segment=[0], step=[0], start_ns=[110], end_ns=[190], comm=[0])
    assert told(REDUCED, 40, segments) == [10, 0, 30, 0]  # 80 ns on one device, none on the other


PAIR = {
    0: columns({"op": "recv", "peer": 1, "issued_ns": 100, "start_ns": 100}),
    1: columns({"op": "send", "peer": 0, "issued_ns": 160, "start_ns": 160}),
}


def test_a_receive_waits_until_it_is_sent() -> None:
    segments = numbers(segment=[0], step=[0], start_ns=[120], end_ns=[200], comm=[0])
    waits = numbers(collective=[0], start_ns=[120], dur_ns=[80])
    assert told(PAIR, 80, segments, waits) == [40, 40, 0, 0]
    ahead = {0: RankClock("a", 0, 0), 1: RankClock("b", 10, 0)}
    assert told(PAIR, 80, segments, waits, ahead) == [50, 30, 0, 0]


def test_without_comparable_clocks_a_transfer_stays_untold() -> None:
    segments = numbers(segment=[0], step=[0], start_ns=[120], end_ns=[200], comm=[0])
    waits = numbers(collective=[0], start_ns=[120], dur_ns=[80])
    assert told(PAIR, 80, segments, waits, {0: SAME[0], 1: RankClock("b", None, None)}) == [0, 0, 0, 80]
