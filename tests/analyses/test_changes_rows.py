"""Rows of a comparison: what is tested, what chance does to many of them, and what a report keeps of a run."""

import math

import numpy as np
import pytest

from scaleprof.analyses.changes.rows import (
    MOST_TESTED,
    Row,
    classes_in,
    counts_in,
    idle_in,
    is_enough,
    names_in,
    ranks_in,
    rows_of,
    step_times,
    told,
    waits_in,
)
from scaleprof.models.statistics import Interval
from scaleprof.results import Result, RunReport, Table
from tests.analyses.making_changes import INFO, WOBBLE, collectives_table, run_of_steps

KEY, OTHER = ("all_reduce", 100, "all ranks"), ("all_gather", 7, "dp")


def steps(level: float, noise: float = 0.01) -> np.ndarray:
    return level + noise * WOBBLE


def test_rows_come_with_means_change_and_corrected_chance() -> None:
    base = {("a",): steps(10), ("b",): steps(20), ("c",): steps(5)}
    new = {("a",): steps(13)[::-1], ("b",): steps(19)[::-1], ("c",): steps(5)[::-1]}
    first, second, third = rows_of([base], [new], least_ms=1.5)
    assert [row.key for row in (first, second, third)] == [("a",), ("b",), ("c",)], "those that change most first"
    mean = 0.01 * WOBBLE.mean()
    assert (first.base_ms, first.new_ms) == (pytest.approx(10 + mean), pytest.approx(13 + mean))
    assert first.change.value == pytest.approx(3)
    assert second.change.value == pytest.approx(-1)
    # Neither a's nor b's 16 steps overlap: 2 of C(32, 16) divisions, times 3 for the smallest of three, and no less for the next.
    least = 2 / math.comb(32, 16)
    assert first.p == pytest.approx(3 * least)
    assert second.p == pytest.approx(3 * least)
    assert third.p == 1
    assert [row.answer for row in (first, second, third)] == ["changed", "too small to matter", "no change shown"]


def test_the_least_change_itself_counts() -> None:
    [row] = rows_of([{("a",): np.full(16, 10.0)}], [{("a",): np.full(16, 12.0)}], least_ms=2.0)
    assert row.answer == "changed"
    [row] = rows_of([{("a",): np.full(16, 12.0)}], [{("a",): np.full(16, 10.0)}], least_ms=2.01)
    assert row.answer == "too small to matter"


def test_what_one_side_alone_has_is_not_tested() -> None:
    gone, come = rows_of([{("a",): steps(9)}], [{("b",): steps(4)}], least_ms=0.1)
    assert (gone.answer, gone.p, gone.new_ms) == ("only in BASE", None, None)
    assert (gone.change.value, gone.change.low) == (pytest.approx(-9 - 0.01 * WOBBLE.mean()), None)
    assert (come.answer, come.base_ms) == ("only in NEW", None)
    assert come.change.value == pytest.approx(4 + 0.01 * WOBBLE.mean())
    assert rows_of([{("a",): np.zeros(16)}], [{("a",): np.zeros(16)}], least_ms=0.1) == [], (
        "that takes no time anywhere"
    )


def test_too_few_steps_are_said_to_be_that() -> None:
    [row] = rows_of([{("a",): steps(10)[:5]}], [{("a",): steps(20)[:5]}], least_ms=1)
    assert row.answer == "too few steps"
    # The smallest p of 6 steps each is 5 * 2 / C(12, 6) = 0.0108: enough to ask 4 questions, not 5.
    for asked, answer in ((4, "changed"), (5, "too few steps")):
        base, new = ({(name,): steps(level)[:6] for name in range(asked)} for level in (10, 20))
        assert {row.answer for row in rows_of([base], [new], least_ms=1)} == {answer}


def test_only_those_that_change_most_are_asked() -> None:
    count = MOST_TESTED + 3
    base = {(name,): steps(100) for name in range(count)}
    new = {(name,): steps(101 + name) for name in range(count)}
    rows = rows_of([base], [new], least_ms=0.5)
    assert [row.key[0] for row in rows] == list(range(count))[::-1]
    assert [row.answer for row in rows[-4:]] == ["changed", "", "", ""]
    assert [row.p for row in rows[-3:]] == [None] * 3
    assert rows[0].p == pytest.approx(MOST_TESTED * 2 / math.comb(32, 16))


def test_repeats_are_averaged_and_judged_as_runs() -> None:
    base, new = ([{("a",): steps(level)} for level in levels] for levels in ((9, 10, 11), (19, 20, 21)))
    [row] = rows_of(base, new, least_ms=1)
    assert row.change.value == pytest.approx(10)
    # Pooled variance (2 + 2) / 4 = 1; t(4) = 2.776 for 95 %.
    assert row.change.high == pytest.approx(10 + 2.776445 * math.sqrt(2 / 3), rel=1e-6)
    assert row.answer == "changed"


def row(base_ms: float | None, new_ms: float | None) -> Row:
    return Row((base_ms, new_ms), base_ms, new_ms, Interval((new_ms or 0) - (base_ms or 0), None, None), None, "")


def test_what_may_have_been_left_out_is_not_called_new() -> None:
    kept, rare, large = [row(5.0, 5.0), row(1.0, 1.0)], row(None, 0.5), row(None, 3.0)
    # BASE kept two, the least of 1 ms: what takes 0.5 ms may have been there as well, 3 ms would have been kept.
    assert told([*kept, rare, large], 2) == [*kept, large]
    assert told([*kept, rare, large], 3) == [*kept, rare, large], (
        "BASE had room for more than its two, NEW has all it kept"
    )
    # The other way round.
    assert told([*kept, row(0.5, None), row(3.0, None)], 2) == [*kept, row(3.0, None)]
    assert told([*kept, row(1.0, None)], 2) == kept, "as long as the least that was kept"
    assert told([*kept, row(None, 1.0)], 2) == kept


def test_a_report_gives_what_it_kept() -> None:
    collectives = collectives_table({KEY: (1.0, 3.0), OTHER: (0.0, 2.0)})
    idle = Table({"step": [1, 2], "input_ms": [0.5, 0.7], "gc_ms": [0.0, 0.0]})
    names = Table.of_rows(
        ("name", "kind", "step", "ms"),
        [["gemm", "compute", 1, 2.0], ["copy", "memory", 1, 1.0], ["gemm", "compute", 2, 4.0]],
    )
    run = run_of_steps(
        100, classes={"compute": 80}, ranks={0: 70, 11: 90}, collectives=collectives, idle=idle, names=names
    )
    assert {key: values.tolist() for key, values in idle_in(run).items()} == {("input",): [0.5, 0.7]}
    assert {key: values.tolist() for key, values in names_in(run).items()} == {
        ("gemm", "compute"): [2.0, 4.0],
        ("copy", "memory"): [1.0],
    }
    assert list(ranks_in(run)) == [(0,), (11,)]
    assert ranks_in(run)[11,] == pytest.approx(90 * (1 + WOBBLE / 1000))
    assert waits_in(run)[KEY] == pytest.approx(1 + WOBBLE / 1000)
    assert counts_in(run) == {KEY: 1.0, OTHER: 1.0}
    assert classes_in(run)["idle",].tolist() == [0.0] * 16, "a class without time is one of 0 ms"
    bare = run_of_steps(100)
    assert (classes_in(bare), ranks_in(bare), names_in(bare), counts_in(bare)) == ({}, {}, {}, {})


def test_step_times_are_those_of_the_steady_steps() -> None:
    table = Table({"step": [0, 1, 2, 3], "time_ms": [9.0, 1.0, None, 2.0], "steady": [False, True, True, True]})
    run = RunReport(INFO, (0,), (Result("steps", "Steps", "", (), {"steps": table}),), (), {})
    assert step_times(run).tolist() == [1.0, 2.0]
    assert step_times(RunReport(INFO, (0,), (), (), {})).tolist() == []


def test_six_steps_are_enough() -> None:
    assert is_enough(np.ones(6))
    assert not is_enough(np.ones(5))


def test_a_row_changes_only_where_both_its_chance_and_its_interval_say_so() -> None:
    base, new = 10 + WOBBLE, 10.45 + WOBBLE[::-1]
    [alone] = rows_of([{("a",): base}], [{("a",): new}], least_ms=0.1)
    assert alone.answer == "changed"
    assert alone.p == pytest.approx(0.0468, abs=1e-4)
    # Asked beside one other: p is twice as large, the interval excludes none all the same.
    rows = rows_of([{("a",): base, ("b",): base}], [{("a",): new, ("b",): base}], least_ms=0.1)
    assert rows[0].change.low is not None
    assert rows[0].change.low > 0
    assert (rows[0].p, rows[0].answer) == (pytest.approx(2 * alone.p), "no change shown")
    # Nearly all steps are a little longer, two much shorter: the mean may be either.
    long = steps(101)
    long[[4, 9]] = 60
    [mixed] = rows_of([{("a",): steps(100)}], [{("a",): long}], least_ms=0.1)
    assert mixed.p is not None
    assert mixed.p < 0.001
    assert mixed.answer == "no change shown"
