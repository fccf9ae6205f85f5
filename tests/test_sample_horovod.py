"""The recorded Horovod jobs have known answers: bytes, compute, who comes late."""

from pathlib import Path

import pytest

from scaleprof import Report, analyze
from scaleprof.readers import find_runs, read_rank
from scaleprof.readers.horovod.timeline import read_timeline
from scaleprof.results import RunReport
from scaleprof.run import horovod_timeline_of

SAMPLES = Path(__file__).parent.parent / "sample_traces"
FP32, FP16, STEPS = 1_597_480, 798_740, 12
JOBS = [("horovod-strong", 1), ("horovod-strong", 2), ("horovod-strong", 4), ("horovod-fp16", 2), ("horovod-late", 4)]
SEVERAL = [job for job in JOBS if job[1] > 1]


@pytest.fixture(scope="module")
def report() -> Report:
    """All of them in one report."""
    return analyze(sorted(SAMPLES.glob("horovod-*")))


@pytest.fixture(scope="module")
def runs(report: Report) -> dict[tuple[str, int], RunReport]:
    """By name and ranks."""
    return {(run.info.name, run.info.world_size): run for run in report.runs}


def value(run: RunReport, id: str) -> float:
    metric = run.metric(id)
    assert metric is not None, f"{run.label} has no {id}"
    return float(metric.value)


def test_all_of_them_are_there_and_small(runs: dict[tuple[str, int], RunReport]) -> None:
    assert sorted(runs) == sorted(JOBS)
    files = [path for folder in SAMPLES.glob("horovod-*") for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 600_000


@pytest.mark.parametrize("job", SEVERAL)
def test_every_step_sends_what_the_model_has(runs: dict[tuple[str, int], RunReport], job: tuple[str, int]) -> None:
    run = runs[job]
    assert run.ranks_read == tuple(range(job[1]))
    assert value(run, "collectives.bytes") == (FP16 if job[0] == "horovod-fp16" else FP32)
    assert value(run, "collectives.matched_share") == 1.0
    assert (run.info.framework, run.info.backend) == ("horovod", "gloo")
    assert run.info.strategy == ("horovod+fp16" if job[0] == "horovod-fp16" else "horovod")


@pytest.mark.parametrize("job", JOBS)
def test_compute_is_what_was_emulated(runs: dict[tuple[str, int], RunReport], job: tuple[str, int]) -> None:
    run = runs[job]
    assert run.info.emulated is not None and run.info.emulated.compute_ms_per_step == 800.0 / job[1]
    found_ms = value(run, "step.time_ms") * value(run, "time.compute_share")
    assert found_ms == pytest.approx(800.0 / job[1], rel=0.03)


def test_the_late_rank_is_named(runs: dict[tuple[str, int], RunReport]) -> None:
    late = runs["horovod-late", 4]
    assert value(late, "straggler.rank") == 2
    assert value(late, "straggler.cost_share") > 0.1
    assert runs["horovod-strong", 2].metric("straggler.rank") is None


def test_scaling_is_found(report: Report) -> None:
    metric = report.metric("scaling.horovod-strong.efficiency")
    assert metric is not None and 0.3 < float(metric.value) < 1.0


@pytest.mark.parametrize("folder", sorted(SAMPLES.glob("horovod-*")), ids=lambda folder: str(folder.name))
def test_recordings_are_whole(folder: Path) -> None:
    (run,) = find_runs([folder])
    path = horovod_timeline_of(folder / "rank-00000")
    assert path is not None
    timeline = read_timeline(path)
    assert not timeline.operations.open.any() and not timeline.negotiations.open.any()
    for files in run.ranks.values():
        trace = read_rank(files)
        assert len(trace.steps) == STEPS and trace.info.finished and not trace.info.warnings
