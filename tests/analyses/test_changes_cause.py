"""Where a change lies, from rows whose sums are on paper."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from scaleprof.analyses.changes.cause import Cause, Tables, cause_of, kind_words
from scaleprof.analyses.changes.rows import Key, Row
from scaleprof.models.statistics import Interval
from scaleprof.results import Result, RunReport, Table
from tests.analyses.making_changes import run_of_steps

REDUCE, GATHER = ("all_reduce", 26_200_000, "all ranks"), ("all_gather", 1_000, "dp")


def rows(changes: Mapping[Key, float], base_ms: float | None = 10.0) -> list[Row]:
    return [
        Row(key, base_ms, 10.0 + ms, Interval(ms, None, None), None, "")
        for key, ms in changes.items()
    ]  # fmt: skip


def cause(
    classes: Mapping[str, float],
    ranks: Mapping[int, float] | None = None,
    runs: tuple[RunReport, RunReport] | None = None,
    idle: Mapping[str, float] | None = None,
    waits: Mapping[Key, float] | None = None,
    transfers: Mapping[Key, float] | None = None,
) -> Cause | None:
    base, new = runs or (run_of_steps(100), run_of_steps(100))
    tables = Tables(
        rows({(leaf,): ms for leaf, ms in classes.items()}),
        rows({(name,): ms for name, ms in (idle or {}).items()}),
        rows({(rank,): ms for rank, ms in (ranks or {}).items()}),
        rows(waits or {}),
        rows(transfers or {}),
    )
    return cause_of(tables, [base], [new])


def test_the_class_that_changes_most_in_the_direction_of_the_step() -> None:
    # 8 + 3 - 1 = 10 ms more: compute is 80 %.
    found = cause({"compute": 8.0, "idle": 3.0, "exposed_wait": -1.0})
    assert found == Cause("80.0 % of it is compute", "compute", pytest.approx(0.8), None)
    # 12 ms less in all, of which idle is 9; what grows is no reason for a faster step.
    found = cause({"compute": 5.0, "idle": -9.0, "exposed_transfer": -8.0})
    assert found == Cause("75.0 % of it is less idle time", "idle", pytest.approx(0.75), None)


@pytest.mark.parametrize(
    ("compute", "idle", "words"),
    [
        (9.4, 0.6, "94.0 % of it is compute"),
        (9.5, 0.5, "nearly all of it is compute"),
        (10.5, -0.5, "nearly all of it is compute"),
        (10.6, -0.6, "more than all of it is compute, for which other things make up in part"),
    ],
)
def test_how_much_of_it_in_words(compute: float, idle: float, words: str) -> None:
    found = cause({"compute": compute, "idle": idle})
    assert found is not None
    assert found.words == words


def test_without_an_account_or_a_change_there_is_no_cause() -> None:
    assert cause({}) is None
    assert cause({"compute": 3.0, "idle": -3.0}) is None


def test_the_operation_behind_it_is_the_one_that_changes_most_the_same_way() -> None:
    found = cause({"exposed_transfer": 10.0}, transfers={REDUCE: 4.0, GATHER: 6.0}, waits={REDUCE: 99.0})
    assert found is not None
    assert found.words == "nearly all of it is exposed transfer in all_gather (1 kB, dp)"
    found = cause({"exposed_wait": -10.0}, transfers={REDUCE: -99.0}, waits={REDUCE: 4.0, GATHER: -6.0})
    assert found is not None
    assert found.words == "nearly all of it is less waiting for slow ranks in all_gather (1 kB, dp)"
    found = cause({"exposed_wait": 10.0}, waits={REDUCE: -4.0, GATHER: 0.0})
    assert found is not None
    assert found.words == "nearly all of it is waiting for slow ranks", "none of them waits longer"


def test_idle_time_has_a_cause_of_its_own() -> None:
    found = cause({"idle": 10.0}, idle={"input": 7.0, "sync": 3.0})
    assert found is not None
    assert found.words == "nearly all of it is idle time, mostly waiting for input"
    found = cause({"idle": 10.0}, idle={"other": 7.0, "sync": 3.0})
    assert found is not None
    assert found.words == "nearly all of it is idle time", "what is not known has no name"


def runs_of(before: Mapping[int, float], after: Mapping[int, float]) -> tuple[RunReport, RunReport]:
    return run_of_steps(100, ranks=before), run_of_steps(100, ranks=after)


def test_a_rank_stands_out_by_more_than_half_of_the_change_above_the_others() -> None:
    runs = runs_of({0: 10, 1: 10, 2: 10}, {0: 10, 1: 11, 2: 16.1})
    classes = {"compute": 4.0, "exposed_wait": 6.0}
    # Of 10 ms rank 2 has 6.1 and the median of the others 0.5: 56 %.
    found = cause(classes, {0: 0.0, 1: 1.0, 2: 6.1}, runs, waits={REDUCE: 4.0})
    assert found is not None
    assert (found.rank, found.leaf, found.share) == (2, "compute", pytest.approx(0.56))
    assert found.words == (
        "56.0 % of it is the doing of rank 2: its compute takes 6.1 ms longer a step, and the others wait for it in all_reduce (26.2 MB, all ranks)"
    )
    found = cause(classes, {0: 0.0, 1: 1.0, 2: 5.5}, runs)
    assert found is not None
    assert found.rank is None, "half of the change is not more than half"
    assert found.leaf == "exposed_wait"


def test_a_rank_that_does_less_makes_the_step_shorter() -> None:
    runs = runs_of({0: 10, 1: 30}, {0: 10, 1: 10})
    found = cause({"compute": -10.0, "exposed_wait": -10.0}, {0: 0.0, 1: -20.0}, runs, waits={REDUCE: -10.0})
    assert found is not None
    assert found.words == (
        "nearly all of it is the doing of rank 1: its compute takes 20 ms less a step, "
        "and the others wait less for it in all_reduce (26.2 MB, all ranks)"
    )
    assert (found.rank, found.share) == (1, pytest.approx(1.0))


def test_a_rank_needs_another_to_stand_out_from() -> None:
    found = cause({"compute": 10.0}, {0: 10.0})
    assert found is not None
    assert found.rank is None
    base, new = run_of_steps(100), run_of_steps(100)
    come = [Row((1,), None, 30.0, Interval(30.0, None, None), None, "only in NEW")]
    tables = Tables(rows({("compute",): 10.0}), [], [*rows({(0,): 10.0}), *come], [], [])
    found = cause_of(tables, [base], [new])
    assert found is not None
    assert found.rank is None, "a rank that one side has not read says nothing"


def test_a_rank_without_an_account_of_its_own_is_still_named() -> None:
    found = cause({"compute": 10.0}, {0: 0.0, 1: 10.0})
    assert found is not None
    assert (found.words, found.rank, found.leaf) == ("nearly all of it is the doing of rank 1", 1, "exposed_wait")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (REDUCE, "all_reduce (26.2 MB, all ranks)"),
        (("barrier", 0, ""), "barrier"),
        (("send", None, "stages"), "send (stages)"),
        (("send", -1, ""), "send"),
    ],
)
def test_operations_in_words(key: Key, words: str) -> None:
    assert kind_words(key) == words


def test_a_rank_that_idles_says_why_it_does() -> None:
    def of(idle_ms: float) -> RunReport:
        times = Table(
            {"rank": [0, 1], "compute_ms": [10.0, 10.0], "exposed_memory_ms": [0.0, 0.0], "idle_ms": [1.0, idle_ms]}
        )
        run = run_of_steps(100)
        return replace(run, sections=(*run.sections, Result("time", "Time", "", tables={"time": times})))

    found = cause({"idle": 10.0}, {0: 0.0, 1: 20.0}, (of(1.0), of(21.0)), idle={"input": 9.0, "gc": 1.0})
    assert found is not None
    assert found.words == (
        "nearly all of it is the doing of rank 1: its idle time, mostly waiting for input, takes 20 ms longer a step"
    )


def test_a_class_that_one_side_does_not_have_is_not_compared() -> None:
    base, new = runs_of({0: 10, 1: 10}, {0: 10, 1: 15})
    bare = Table({"rank": [0, 1], "compute_ms": [10.0, 10.0]})
    base = replace(base, sections=(*base.sections[:1], Result("time", "Time", "", tables={"time": bare})))
    found = cause({"compute": 5.0}, {0: 0.0, 1: 5.0}, (base, new))
    assert found is not None
    assert found.words == "nearly all of it is the doing of rank 1: its compute takes 5 ms longer a step"
