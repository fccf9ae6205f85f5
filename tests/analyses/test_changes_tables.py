"""Tables and headlines of a comparison, from rows made by hand."""

from dataclasses import replace

import pytest

from scaleprof.analyses.changes.cause import Tables
from scaleprof.analyses.changes.rows import Answer, Key, Row
from scaleprof.analyses.changes.tables import (
    MOST_BARS,
    MOST_KINDS,
    collectives_section,
    names_section,
    ranks_section,
    table_of,
)
from scaleprof.models.statistics import Interval
from scaleprof.results import Result, Table
from tests.analyses.making_changes import collectives_table, run_of_steps

REDUCE, GATHER, UNKNOWN = (
    ("all_reduce", 2_000_000, "all ranks"),
    ("all_gather", 1_000, "dp"),
    ("barrier", -1, "all ranks"),
)


def row(
    key: Key, base_ms: float | None, new_ms: float | None, answer: Answer = "changed", p: float | None = 0.01
) -> Row:
    change = (new_ms or 0.0) - (base_ms or 0.0)
    return Row(key, base_ms, new_ms, Interval(change, change - 1, change + 1), p, answer)


def test_a_table_says_what_each_row_is_of_the_whole() -> None:
    table = table_of([row(("a",), 10.0, 16.0), row(("b",), 5.0, 3.0, "no change shown", 0.4)], ("class",), 4.0)
    assert {name: list(table[name]) for name in table.columns} == {
        "class": ["a", "b"],
        "base_ms": [10.0, 5.0],
        "new_ms": [16.0, 3.0],
        "change_ms": [6.0, -2.0],
        "change_low_ms": [5.0, -3.0],
        "change_high_ms": [7.0, -1.0],
        "of_change_share": [1.5, -0.5],
        "p": [0.01, 0.4],
        "answer": ["changed", "no change shown"],
    }
    assert list(table_of([row(("a",), 1.0, 2.0)], ("class",), 0.0)["of_change_share"]) == [None]


def test_what_is_less_than_a_ns_is_rounding() -> None:
    dust = replace(row(("a",), 1.0, 1.0), change=Interval(2e-16, -9e-16, 9e-16))
    table = table_of([dust], ("class",), 1.0)
    assert [list(table[f"change{end}_ms"]) for end in ("", "_low", "_high")] == [[0.0], [0.0], [0.0]]


def headline(*rows: Row) -> str:
    section = ranks_section(rows, 1.0)
    assert section is not None
    return section.headline


def test_ranks_in_one_sentence() -> None:
    same = row((0,), 10.0, 30.0, "no change shown")
    one, other = row((1,), 10.0, 14.0), row((2,), 10.0, 5.0)
    assert headline(same) == "No rank is shown to do more or less besides communicating"
    # Rank 0 moves most, but by chance: the one that is named is one of those that changed.
    assert headline(same, one) == "What rank 1 did besides communicating changed; most on rank 1, 4 ms more a step"
    assert (
        headline(same, one, other)
        == "What ranks 1, 2 did besides communicating changed; most on rank 2, 5 ms less a step"
    )
    assert headline(other, one) == "Every rank's own work changed; most on rank 2, 5 ms less a step"
    assert ranks_section([], 1.0) is None


def test_ranks_stand_in_order_and_only_those_of_both_sides_are_drawn() -> None:
    section = ranks_section([row((10,), 1.0, 5.0), row((2,), 1.0, 3.0), row((3,), None, 3.0, "only in NEW", None)], 1.0)
    assert section is not None
    assert list(section.tables["change_by_rank"]["rank"]) == [2, 3, 10]
    [chart] = section.charts
    assert (chart.layers[0].x, chart.layers[0].y) == (["rank 2", "rank 10"], [2.0, 4.0])
    assert section.caveats == ()
    apart = ranks_section([row((3,), None, 3.0, "only in NEW", None)], 1.0)
    assert apart is not None
    assert (apart.charts, apart.caveats) == ((), ("the two sides have no rank in common that was accounted",))


def test_the_ranks_that_are_drawn_are_those_that_change_most() -> None:
    # As `rows_of` gives them: those that change most first.
    section = ranks_section([row((rank,), 0.0, 100.0 - rank) for rank in range(MOST_BARS + 1)], 1.0)
    assert section is not None
    [chart] = section.charts
    assert chart.layers[0].x == [f"rank {rank}" for rank in range(MOST_BARS)]
    assert chart.subtitle.endswith(f"; the {MOST_BARS} ranks that change most.")


def test_collectives_stand_with_how_often_how_long_and_how_fast() -> None:
    def bus(gbps: float) -> Result:
        # The first row of a key has most time.
        keys = [*REDUCE, gbps], [*REDUCE, 99.0], [*GATHER, None]
        return Result(
            "collectives", "", "", tables={"collectives": Table.of_rows(("op", "bytes", "group", "busbw_gbps"), keys)}
        )

    runs = []
    for gbps in (8.0, 4.0):
        run = run_of_steps(100, collectives=collectives_table({REDUCE: (1.0, 2.0)}))
        runs.append(replace(run, sections=(*run.sections, bus(gbps))))
    waits, transfers = [row(REDUCE, 1.0, 1.5)], [row(REDUCE, 2.0, 5.5)]
    rows = [row(REDUCE, 3.0, 7.0), row(UNKNOWN, 1.0, 1.0, "no change shown", 0.5)]
    section = collectives_section(rows, Tables([], [], [], waits, transfers), runs[:1], runs[1:])
    assert section is not None
    table = section.tables["change_by_collective"]
    first, second = (dict(zip(table.columns, values, strict=True)) for values in table.rows())
    assert first == {
        "op": "all_reduce", "bytes": 2_000_000, "group": "all ranks", "base_count": 1.0, "new_count": 1.0,
        "base_ms": 3.0, "new_ms": 7.0, "change_ms": 4.0, "change_low_ms": 3.0, "change_high_ms": 5.0,
        "base_wait_ms": 1.0, "new_wait_ms": 1.5, "base_transfer_ms": 2.0, "new_transfer_ms": 5.5,
        "base_busbw_gbps": 8.0, "new_busbw_gbps": 4.0, "p": 0.01, "answer": "changed",
    }  # fmt: skip
    assert (second["bytes"], second["base_count"], second["base_wait_ms"], second["base_busbw_gbps"]) == (None,) * 4
    assert section.headline == "1 of 2 kinds of operations changed, most all_reduce (2 MB, all ranks): 4 ms more a step"
    assert collectives_section([], Tables([], [], [], [], []), runs[:1], runs[1:]) is None


def test_names_in_one_sentence() -> None:
    def said(*rows: Row) -> str:
        section = names_section(rows)
        assert section is not None
        return section.headline

    key = ("gemm" * 20, "compute")
    changed, still, few = (
        row(key, 5.0, 2.0),
        row(("b", "c"), 1.0, 2.0, "no change shown"),
        row(("c", "c"), 1.0, 2.0, "too few steps"),
    )
    assert said(changed, still) == f"1 of 2 names changed, most `{'gemm' * 15}`: 3 ms less a step"
    assert said(row(("b", "c"), None, 2.0, "only in NEW"), still).startswith(
        "1 of 2 names changed, most `b`: 2 ms more a step"
    )
    assert said(still, few) == "None of 2 names is shown to change"
    assert (
        said(few, few)
        == "None of 2 names is shown to change: so few steps, or such correlated ones, cannot show it of any"
    )
    assert said(still) == "The only name is not shown to change"
    assert said(row(("b", "c"), 1.0, 2.0)) == "The only name changed, `b`: 1 ms more a step"
    assert names_section([]) is None


def test_shares_of_names_are_of_what_the_names_change() -> None:
    rows = [row((f"k{number}", "compute"), 1.0, 4.0) for number in range(MOST_KINDS + 1)]
    section = names_section(rows)
    assert section is not None
    assert sum(section.tables["change_by_name"]["of_change_share"]) == pytest.approx(1.0)
    [chart] = section.charts
    assert len(chart.layers[0].x) == MOST_KINDS
    assert (
        chart.subtitle == f"ms a step and rank, NEW less BASE; the {MOST_KINDS} that change most of {MOST_KINDS + 1}."
    )
    [chart] = names_section(rows[:MOST_KINDS]).charts  # type: ignore[union-attr]
    assert chart.subtitle == "ms a step and rank, NEW less BASE."


def test_counts_of_repeats_are_averaged_and_no_bytes_are_none() -> None:
    barrier = ("barrier", 0, "all ranks")
    once = collectives_table({barrier: (1.0, 0.0)})
    thrice = Table({**once.columns, "count": [3.0] * len(once["count"])})
    sides = [[run_of_steps(100, collectives=table) for table in (once, thrice)] for _ in range(2)]
    section = collectives_section([row(barrier, 1.0, 3.0)], Tables([], [], [], [], []), *sides)
    assert section is not None
    table = section.tables["change_by_collective"]
    assert (list(table["base_count"]), list(table["new_count"]), list(table["bytes"])) == ([2.0], [2.0], [0])


def test_bars_are_called_by_their_names() -> None:
    section = names_section([row(("gemm", "compute"), 1.0, 4.0), row(("copy", "memory"), 1.0, 0.5)])
    assert section is not None
    assert (section.charts[0].layers[0].x, section.charts[0].layers[0].y) == (["gemm", "copy"], [3.0, -0.5])
    full = ranks_section([row((rank,), 0.0, 100.0 - rank) for rank in range(MOST_BARS)], 1.0)
    assert full is not None
    assert full.charts[0].subtitle == "ms a step that a rank does not communicate, NEW less BASE."
