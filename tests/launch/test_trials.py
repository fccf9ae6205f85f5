"""The order of a sweep, and the file that says what is done."""

from collections import Counter
from pathlib import Path

import pytest

from scaleprof.errors import LaunchError, OptionError
from scaleprof.launch.trials import Ledger, Trial, trials_of, world_sizes


def test_sizes_come_in_order_and_once() -> None:
    assert world_sizes("4,1,2,2") == (1, 2, 4)


@pytest.mark.parametrize("text", ["", "two", "1;2", "0,1", "-1"])
def test_sizes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--ranks"):
        world_sizes(text)


def test_without_a_seed_the_sizes_come_in_order_again_and_again() -> None:
    assert [(one.ranks, one.repeat) for one in trials_of([1, 2], repeats=2)] == [(1, 0), (2, 0), (1, 1), (2, 1)]


def test_a_seed_draws_an_order_of_the_same_runs() -> None:
    plain, drawn = trials_of([1, 2, 4, 8], repeats=5), trials_of([1, 2, 4, 8], repeats=5, seed=7)
    assert drawn == trials_of([1, 2, 4, 8], repeats=5, seed=7) != trials_of([1, 2, 4, 8], repeats=5, seed=8)
    assert Counter(drawn) == Counter(plain) and drawn != plain
    # Of 3! orders of three sizes each comes about as often.
    firsts = Counter(tuple(one.ranks for one in trials_of([1, 2, 4], seed=seed)) for seed in range(600))
    assert len(firsts) == 6 and min(firsts.values()) > 60


@pytest.mark.parametrize("repeats", [0, -1, 10**6])
def test_repeats_are_counted(repeats: int) -> None:
    with pytest.raises(OptionError, match="--repeats"):
        trials_of([1], repeats=repeats)


def test_a_run_is_said_in_words() -> None:
    assert [Trial(1, 0).words, Trial(4, 0).words, Trial(4, 2).words] == ["1 rank", "4 ranks", "4 ranks, repeat 2"]


def test_a_file_that_was_cut_off_loses_its_last_line_only(tmp_path: Path) -> None:
    ledger = Ledger.of(tmp_path / "new", "study")
    ledger.begin(["train.py"])
    ledger.add(Trial(1, 0), "a")
    ledger.add_job(Trial(2, 0), "17")
    ledger.add_job(Trial(2, 0), "18")
    with ledger.path.open("a") as file:
        file.write('[1]\n{"ranks": "x", "repeat": 0, "run_id": "b"}\n{"ranks": 4, "rep')
    assert ledger.done(["train.py"]) == {Trial(1, 0): "a"}
    assert ledger.jobs() == {Trial(2, 0): "18"}
    ledger.begin(["other.py"])
    assert ledger.done(["other.py"]) == {}


def test_a_file_without_a_beginning_is_nobodys(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "sweep-x.jsonl")
    ledger.path.write_text('{"ranks": 1, "repeat": 0, "run_id": "a"}\n')
    with pytest.raises(LaunchError, match="an unknown command"):
        ledger.done(["train.py"])
