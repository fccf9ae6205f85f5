"""The recorded job of TensorFlow has known answers: what an analysis finds in it must agree with them."""

from pathlib import Path

import pytest

from scaleprof.pipeline import Options, analyze
from scaleprof.readers import find_runs, read_rank
from scaleprof.results import RunReport

SAMPLES = Path(__file__).parent.parent / "sample_traces"
GRADIENT_BYTES, LATE_MS, STEPS, PROFILED = 337_920, 80.0, 17, range(3, 15)


@pytest.fixture(scope="module")
def run() -> RunReport:
    """The sample, analyzed."""
    [run] = analyze(sorted(SAMPLES.glob("tensorflow-mwms-n2-*")), options=Options(engine="serial")).runs
    return run


def value(run: RunReport, id: str) -> float:
    metric = run.metric(id)
    assert metric is not None, id
    return float(metric.value)


def test_what_was_trained_is_known(run: RunReport) -> None:
    info = run.info
    assert (info.framework, info.strategy, info.world_size, run.ranks_read) == (
        "tensorflow",
        "multi_worker_mirrored",
        2,
        (0, 1),
    )
    assert (info.parameters, info.local_batch, info.global_batch) == (GRADIENT_BYTES // 4, 16, 32)
    assert value(run, "step.count") >= STEPS - 3, "the first steps warm up"


def test_one_all_reduce_of_the_gradients_in_each_step_on_both_ranks(run: RunReport) -> None:
    assert value(run, "collectives.count") == 1
    assert value(run, "collectives.bytes") == GRADIENT_BYTES
    assert value(run, "collectives.matched_share") == 1.0


def test_the_late_rank_comes_last_in_every_step(run: RunReport) -> None:
    [section] = [section for section in run.sections if section.name == "stragglers"]
    table = section.tables["stragglers"]
    assert dict(zip(table["rank"], table["times_last"], strict=True)) == {1: len(PROFILED)}
    assert value(run, "straggler.rank") == 1


def test_the_other_rank_waits_as_long_as_that_one_sleeps(run: RunReport) -> None:
    waited_ms = 2 * value(run, "time.exposed_wait_share") * value(run, "step.time_ms")
    assert waited_ms == pytest.approx(LATE_MS, rel=0.1)


def test_steps_and_windows_are_those_of_the_job() -> None:
    [run] = find_runs(sorted(SAMPLES.glob("tensorflow-mwms-n2-*")))
    for files in run.ranks.values():
        trace = read_rank(files)
        assert trace.steps.index.tolist() == list(range(STEPS))
        assert trace.steps.index[trace.steps.profiled].tolist() == list(PROFILED)
        assert trace.caveats == ()


def test_the_recording_is_small() -> None:
    files = [path for folder in SAMPLES.glob("tensorflow-*") for path in folder.rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) < 600_000
