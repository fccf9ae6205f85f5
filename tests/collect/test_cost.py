"""What recording costs, measured by the recording."""

import json
from pathlib import Path

import pytest

import scaleprof
from scaleprof.collect.cost import BLOCK, FIRST, PAIRS, OwnCost
from tests.collect.training import info_of, loop, only_rank, steps_of

LAST = FIRST + 2 * PAIRS * BLOCK
MS = 1_000_000


def test_blocks_take_turns_by_the_number_of_the_step() -> None:
    bare = [step for step in range(LAST + 100) if OwnCost.is_bare(step)]
    assert bare[:BLOCK] == list(range(FIRST + BLOCK, FIRST + 2 * BLOCK))
    assert len(bare) == PAIRS * BLOCK
    assert bare[-1] == LAST - 1


def test_the_cost_is_the_mean_gap_of_the_pairs_with_its_interval() -> None:
    cost = OwnCost()
    for step in range(LAST):
        pair = (step - FIRST) // (2 * BLOCK)
        recorded_ms = 21 + (pair % 2) if not OwnCost.is_bare(step) else 20  # gaps of 1, 2, 1, 2, ... ms
        wrong_ms = 500 if (step - FIRST) % BLOCK == 0 else recorded_ms  # the first of a block does not count
        cost.add(step, wrong_ms * MS, 10 * MS)
    found = cost.overhead()
    spread = 2.365 * (0.5 * (8 / 7) ** 0.5) / 8**0.5
    assert found["step_ms"] == pytest.approx(1.5)
    assert found["step_low_ms"] == pytest.approx(1.5 - spread)
    assert found["step_high_ms"] == pytest.approx(1.5 + spread)
    assert found["step_share"] == pytest.approx(1.5 / 20)
    assert (found["cpu_ms"], found["cpu_low_ms"]) == (0, 0)


def test_a_short_training_is_recorded_whole_and_says_nothing(tmp_path: Path) -> None:
    scaleprof.profile(tmp_path, sample_hz=0)(loop)(FIRST)
    assert "step_ms" not in info_of(tmp_path).overhead
    assert all("wait" in step for step in steps_of(tmp_path))


def test_bare_steps_hold_their_length_alone_and_the_report_prints_the_cost(tmp_path: Path) -> None:
    scaleprof.profile(tmp_path, sample_hz=0)(loop)(LAST + 10)
    steps = steps_of(tmp_path)
    bare = [step for step in steps if OwnCost.is_bare(step["i"])]
    assert {frozenset(step) for step in bare} == {frozenset({"i", "t0", "t1", "cpu", "runq", "profiled", "perturbed"})}
    assert not any(step["profiled"] for step in bare)
    assert all(step["perturbed"] for step in bare)
    assert all("wait" in step for step in steps if step not in bare)
    overhead = info_of(tmp_path).overhead
    assert overhead["step_low_ms"] < overhead["step_ms"] < overhead["step_high_ms"]
    metric = scaleprof.analyze([tmp_path]).metric("step.recording_share")
    assert metric.value == pytest.approx(overhead["step_share"], abs=1e-3)
    windows = sorted(path.name for path in only_rank(tmp_path).glob("trace-*"))
    assert all(json.loads(name[6:12].lstrip("0") or "0") < LAST + 10 for name in windows)


@pytest.mark.parametrize("how", ["option", "environment"])
def test_it_can_be_switched_off(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "environment":
        monkeypatch.setenv("SCALEPROF_COST", "0")
    scaleprof.profile(tmp_path, sample_hz=0, measure_cost=how != "option")(loop)(LAST)
    assert "step_ms" not in info_of(tmp_path).overhead
    assert sum(step["perturbed"] for step in steps_of(tmp_path)) < 15
