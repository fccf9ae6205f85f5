"""What is kept of each step: means over ranks that add up, ranks apart, steady and accounted steps only, and never too much."""

from dataclasses import replace

import numpy as np
import pytest

from scaleprof.analyses.account.kernels import MOST_COLUMNS, MOST_NAMES, name_steps
from scaleprof.analyses.changes import by_step
from scaleprof.analyses.changes.by_step import by_step_of
from scaleprof.trace import Kind
from tests.making import HOST, Event, Made, Step, make_trace, make_view, regular_job

MS = 1_000_000


def job(steps: int = 12) -> list[Made]:
    fast, slow = regular_job(2, step=100 * MS, compute=60 * MS, blocked=30 * MS, samples=8, steps=steps)
    longer = [replace(event, dur=80 * MS) for event in slow.events]
    waits = slow.waits._replace(start=slow.waits.start + 20 * MS, end=slow.waits.end)
    return [fast, replace(slow, events=longer, waits=waits)]


def test_classes_are_means_over_ranks_and_add_up_to_the_step() -> None:
    table = by_step_of(make_view(job()))["classes"]
    assert table["step"].tolist() == list(range(12))
    assert np.allclose(table["window_ms"], 100)
    assert np.allclose(table["compute_ms"], 70), "60 on one rank, 80 on the other"
    leaves = [name for name in table.columns if name not in ("step", "window_ms")]
    assert np.allclose(np.sum([table[name] for name in leaves], axis=0), table["window_ms"])


def test_ranks_stand_apart_with_what_they_do_themselves() -> None:
    table = by_step_of(make_view(job()))["ranks"]
    assert list(table.columns) == ["step", "0", "1"]
    assert np.allclose(table["0"], 70), "the step less the 30 ms in which it was blocked"
    assert np.allclose(table["1"], 90)


def test_idle_time_is_that_of_the_account() -> None:
    tables = by_step_of(make_view(job()))
    causes = [name for name in tables["idle"].columns if name != "step"]
    assert np.allclose(np.sum([tables["idle"][name] for name in causes], axis=0), tables["classes"]["idle_ms"])


def test_many_steps_share_rows_without_a_change_of_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_step, "MOST_ROWS", 5)
    table = by_step_of(make_view(job()))["classes"]
    assert table["step"].tolist() == [0, 2, 4, 7, 9]
    assert np.allclose(table["compute_ms"], 70)


def test_so_many_ranks_that_nothing_is_left_of_them_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_step, "MOST_CELLS", 10)
    assert "ranks" not in by_step_of(make_view(job()))


def test_a_run_without_an_account_keeps_nothing() -> None:
    assert by_step_of(make_view([Made(steps=[Step(0, 10), Step(10, 20)])])) == {}


def test_names_are_kept_by_step_the_longest_of_them() -> None:
    steps = [Step(100 * at, 100 * at + 100) for at in range(3)]
    events = [
        Event(HOST, Kind.COMPUTE, 100 * at + place * 2, 1, f"name {place:02}", at)
        for at in range(3)
        for place in range(45)
    ]
    events += [Event(HOST, Kind.COMPUTE, 195, 4, "name 44", 1)]
    table = name_steps(make_trace(Made(events=events, steps=steps)))
    assert list(table.columns) == ["name", "kind", "0", "1", "2"]
    assert len(table) == MOST_NAMES
    assert table["name"][0] == "name 44"
    assert [int(table[step][0]) for step in ("0", "1", "2")] == [1, 5, 1]


def test_names_of_a_long_trace_share_columns() -> None:
    count = 2 * MOST_COLUMNS + 2
    steps = [Step(10 * at, 10 * at + 10) for at in range(count)]
    events = [Event(HOST, Kind.COMPUTE, 10 * at, 5, "work", at) for at in range(count)]
    table = name_steps(make_trace(Made(events=events, steps=steps)))
    columns = [name for name in table.columns if name not in ("name", "kind")]
    assert len(columns) == MOST_COLUMNS
    assert columns[0] == "0-2"
    assert sum(int(table[name][0]) for name in columns) == 5 * count
