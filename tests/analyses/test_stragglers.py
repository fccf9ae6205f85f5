"""Stragglers of synthetic jobs: the right rank, the right cause, the right cost, and nobody where nobody is late."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scaleprof import analyze
from scaleprof.analyses.stragglers import lateness as lateness_of
from scaleprof.models.blame import Blame
from scaleprof.pipeline import Options
from scaleprof.results import Result
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import simulate
from scaleprof.synth.writing import write_job

LATE, LATE_MS = 5, 4.0
BASE: dict[str, Any] = {
    "ranks": 8, "ranks_per_host": 4, "steps": 12, "layers": 6, "buckets": 3, "jitter": 0.01, "exit_us": 2.0,
    "clock_offset_ms": (0.0, 3.0), "clock_drift_ppm": (0.0, 30.0),
}  # fmt: skip
STRATEGIES: dict[str, dict[str, Any]] = {
    "ddp": {},
    "fsdp": {"strategy": "fsdp"},
    "ddp+tp": {"tensor": 2},
    "ddp+pp": {"pipeline": 2, "micro_batches": 4},
    "fsdp+tp": {"strategy": "fsdp", "tensor": 2},
}
CAUSES = {
    "compute": "more work in its kernels",
    "throttle": "the same kernels run slower",
    "input": "it waits for its input",
}


def section(tmp_path: Path, **fields: Any) -> Result:
    report = analyze([write_job(Spec(**{**BASE, **fields}), tmp_path)], options=Options(engine="serial"))
    [run] = report.runs
    assert not [caveat for caveat in run.caveats if "missing" in caveat or "measured" in caveat]
    return next(section for section in run.sections if section.name == "stragglers")


def metrics(result: Result) -> dict[str, Any]:
    return {metric.id: metric.value for metric in result.metrics}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_where_nobody_is_late_nobody_is_named(tmp_path: Path, strategy: str) -> None:
    result = section(tmp_path, **STRATEGIES[strategy])
    assert "straggler.rank" not in metrics(result)
    assert not result.findings
    assert metrics(result)["straggler.wait_share"] < 0.03
    # Whoever is slow in a step makes each of its groups wait: that is one sample, not several.
    assert {*result.tables["stragglers"]["chance"]} <= {None}


# Input is taken by the first stage of a pipeline only, and the late rank is of the second.
LATENESS = [
    (strategy, cause) for strategy in STRATEGIES for cause in CAUSES if (strategy, cause) != ("ddp+pp", "input")
]


@pytest.mark.parametrize(("strategy", "cause"), LATENESS)
def test_the_late_rank_and_its_cause_are_found(tmp_path: Path, strategy: str, cause: str) -> None:
    result = section(tmp_path, late_rank=LATE, late_ms=LATE_MS, late_cause=cause, **STRATEGIES[strategy])
    found = metrics(result)
    assert found["straggler.rank"] == LATE
    assert found["straggler.cause"] == CAUSES[cause]
    [finding] = result.findings
    assert (finding.id, finding.gain_kind) == ("straggler", "replayed")
    assert finding.remedy and f"rank {LATE}" in finding.evidence


def test_its_cost_and_gain_are_those_of_the_delay(tmp_path: Path) -> None:
    """Each of the seven others is put off by 4 ms a step, and the step would be as much shorter."""
    found = metrics(section(tmp_path, late_rank=LATE, late_ms=LATE_MS, jitter=0.0, exit_us=0.0))
    report = analyze([tmp_path], options=Options(engine="serial"))
    step_ms = float(report.metric("step.time_ms").value)
    assert found["straggler.cost_share"] == pytest.approx(7 / 8 * LATE_MS / step_ms, rel=0.01)
    assert found["straggler.gain_share"] == pytest.approx(LATE_MS / step_ms, rel=0.01)


def test_what_a_cure_saves_is_bounded_by_what_the_others_wait(tmp_path: Path) -> None:
    """One rank is 4 ms late over 100 collectives: it is last in many of them, but the step has these 4 ms once."""
    many: dict[str, Any] = {
        "layers": 100, "buckets": 100, "kernels_per_layer": 1, "jitter": 0.02, "compute_ms": 40.0, "gradient_bytes": 2_000_000_000,
        "bandwidth_gbps": 400.0, "alpha_us": 1.0,
    }  # fmt: skip
    found = metrics(section(tmp_path, late_rank=LATE, late_ms=LATE_MS, **many))
    assert found["straggler.rank"] == LATE
    step_ns = [
        simulate(Spec(**{**BASE, **many, "late_rank": LATE, "late_ms": late})).host_start_ns for late in (LATE_MS, 0.0)
    ]
    late_ns, cured_ns = (float(np.diff(np.asarray(starts), axis=1).mean()) for starts in step_ns)
    assert 1 - cured_ns / late_ns <= found["straggler.gain_share"] <= 8 / 7 * found["straggler.wait_share"] + 1e-9


def test_a_pause_that_the_device_does_not_notice_costs_nothing(tmp_path: Path) -> None:
    result = section(tmp_path, late_rank=LATE, late_ms=LATE_MS, late_cause="pause", run_ahead=1)
    assert "straggler.rank" not in metrics(result)


def test_a_rank_that_is_late_in_some_steps_only_is_still_the_one(tmp_path: Path) -> None:
    found = metrics(section(tmp_path, late_rank=LATE, late_ms=12.0, late_every=2, steps=24))
    assert found["straggler.rank"] == LATE


def test_a_rank_that_is_late_in_each_third_step_is_named_for_what_it_then_costs(tmp_path: Path) -> None:
    """It comes last in hardly more steps than chance has it, but nearly all waiting is for it."""
    found = metrics(section(tmp_path, late_rank=LATE, late_ms=8.0, late_every=3, steps=30))
    assert (found["straggler.rank"], found["straggler.cause"]) == (LATE, CAUSES["compute"])


def test_a_pause_under_a_gather_is_a_pause(tmp_path: Path) -> None:
    """The device of the paused rank is in communication that nobody awaits: that is not what holds it up."""
    found = metrics(section(tmp_path, late_rank=LATE, late_ms=14.0, late_cause="pause", **STRATEGIES["fsdp"]))
    assert (found["straggler.rank"], found["straggler.cause"]) == (LATE, "garbage collection")


def test_files_that_lost_events_still_tell_the_cause(tmp_path: Path) -> None:
    found = metrics(section(tmp_path, late_rank=LATE, late_ms=LATE_MS, drop=0.02, **STRATEGIES["fsdp"]))
    assert (found["straggler.rank"], found["straggler.cause"]) == (LATE, CAUSES["compute"])


def test_who_is_kept_waiting_is_not_to_blame(tmp_path: Path) -> None:
    """Rank 4 shares tensors with rank 5, so that its data-parallel group waits for it: the blame goes back to rank 5."""
    result = section(tmp_path, late_rank=LATE, late_ms=LATE_MS, **STRATEGIES["ddp+tp"])
    cost = dict(zip(result.tables["stragglers"]["rank"], result.tables["stragglers"]["cost_share"], strict=True))
    assert cost[LATE] > 8 * cost.get(LATE - 1, 0.0)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_of_few_ranks_one_is_named_as_well(tmp_path: Path, ranks: int) -> None:
    """Of two ranks nobody can cost more than two fair shares."""
    found = metrics(section(tmp_path, ranks=ranks, late_rank=1, late_ms=LATE_MS, late_cause="input"))
    assert (found["straggler.rank"], found["straggler.cause"]) == (1, CAUSES["input"])


def lateness(shares: dict[str, float]) -> lateness_of.Lateness:
    """Why rank 1 is late, whose one delay of 100 ns consists of these."""
    blame = Blame(np.array([1]), np.array([100]), np.array([100]))
    delays: Any = SimpleNamespace(ranks_in=lambda _: (0, 1), shares=lambda _: shares)
    view: Any = SimpleNamespace()
    seen: Any = SimpleNamespace(step=np.array([0]))
    return lateness_of.causes_of(view, seen, blame, delays, 1)


def test_what_keeps_a_host_is_one_cause_where_no_part_of_it_explains_enough() -> None:
    found = lateness({"idle": 0.6, "sync": 0.3, "memory": 0.1})
    assert (found.cause, found.share) == ("host", pytest.approx(0.9))
    assert found.words == "its host is late (60.0 % without a reason that was recorded, 30.0 % waiting for the device)"
    assert lateness({"idle": 0.9, "memory": 0.1}).words == "its host is late"
    assert lateness({"idle": 0.5, "sync": 0.2, "memory": 0.3}).cause == "idle", "together they explain too little"


def test_of_two_ranks_that_are_alike_none_is_named(tmp_path: Path) -> None:
    for seed in range(8):
        assert "straggler.rank" not in metrics(section(tmp_path / str(seed), ranks=2, seed=seed))


def test_one_rank_has_nobody_to_wait_for(tmp_path: Path) -> None:
    report = analyze([write_job(Spec(**{**BASE, "ranks": 1}), tmp_path)], options=Options(engine="serial"))
    assert not [section for section in report.runs[0].sections if section.name == "stragglers"]
