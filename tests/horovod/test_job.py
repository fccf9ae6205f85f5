"""Real Horovod jobs are recorded, and the analysis finds what is known of them. `make test-horovod` runs these."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from scaleprof.readers.horovod.horovod import rank_lags, read_horovod
from scaleprof.results import RunReport
from scaleprof.run import RankFiles, horovod_timeline_of, read_rank_info
from tests.horovod.running import bytes_by_step, horovodrun, recorded, report_on, train
from tests.test_readme import snippet

pytestmark = [
    pytest.mark.horovod,
    pytest.mark.skipif(find_spec("horovod") is None, reason="Horovod is not here: `make test-horovod` builds it"),
]
STEPS = 8
FP32, FP16 = 1_597_480, 798_740


def values(run: RunReport) -> dict[str, float | str]:
    return {metric.id: metric.value for section in run.sections for metric in section.metrics}


@pytest.mark.parametrize("ranks", [2, 4])
def test_every_step_sends_what_the_model_has(tmp_path: Path, ranks: int) -> None:
    train(tmp_path, ranks, "--shut-down")
    run, traces = recorded(tmp_path)
    assert (run.info.world_size, run.info.framework, run.info.backend, run.info.strategy) == (
        ranks, "horovod", "gloo", "horovod",
    )  # fmt: skip
    for trace in traces:
        assert len(trace.steps) == STEPS
        assert bytes_by_step(trace) == [FP32] * STEPS
        assert not trace.info.warnings and trace.info.finished
        assert trace.steps.blocked_ns.min() > 0
        assert not [caveat for caveat in trace.caveats if "open" in caveat or "nobody wrote down" in caveat]
    assert horovod_timeline_of(tmp_path / run.path.name / "rank-00000") is not None
    (read,) = report_on(tmp_path).runs
    found = values(read)
    assert found["collectives.bytes"] == FP32
    assert found["collectives.matched_share"] == 1.0
    assert found["time.compute_share"] == pytest.approx(160 / ranks / float(found["step.time_ms"]), rel=0.1)
    assert 1 <= float(found["collectives.count"]) <= 6


def test_half_precision_sends_half_and_says_so(tmp_path: Path) -> None:
    train(tmp_path, 2, "--fp16")
    run, traces = recorded(tmp_path)
    assert run.info.strategy == "horovod+fp16"
    for trace in traces:
        assert bytes_by_step(trace) == [FP16] * STEPS
        assert trace.info.details["compression"]["fp16"]["ratio"] == 2.0
        spans = {text for text in trace.names.text if text.startswith("scaleprof::")}
        assert {"scaleprof::encode fp16", "scaleprof::decode fp16"} <= spans


def test_the_late_rank_is_named(tmp_path: Path) -> None:
    train(tmp_path, 4, "--late-rank", "2", "--late-ms", "150", "--steps", "12")
    (run,) = report_on(tmp_path).runs
    found = values(run)
    assert found["straggler.rank"] == 2
    assert float(found["straggler.cost_share"]) > 0.2
    assert found["collectives.matched_share"] == 1.0


def test_ticks_of_ranks_say_the_same_as_their_notes(tmp_path: Path) -> None:
    train(tmp_path, 2, "--late-rank", "1", "--rank-ticks")
    run, traces = recorded(tmp_path)
    timeline = horovod_timeline_of(run.path / "rank-00000")
    assert timeline is not None
    lags = {row[1]: row[2:] for row in rank_lags(read_horovod(RankFiles(0, "horovod", (timeline,)))).rows()
            if row[0] == "all_reduce"}  # fmt: skip
    assert lags[0][0] == lags[1][0] == 6 * STEPS
    assert [len(trace.steps) for trace in traces] == [STEPS, STEPS]


def test_a_light_recording_has_sizes_and_waits_and_no_timeline(tmp_path: Path) -> None:
    train(tmp_path, 2, "--level", "light")
    run, traces = recorded(tmp_path)
    assert horovod_timeline_of(run.path / "rank-00000") is None
    for trace in traces:
        assert bytes_by_step(trace) == [FP32] * STEPS
        assert (trace.comm.row == -1).all()
    found = values(report_on(tmp_path).runs[0])
    assert found["collectives.matched_share"] == 1.0
    assert "time.exposed_comm_share" in found


def test_one_rank_is_a_job_too(tmp_path: Path) -> None:
    train(tmp_path, 1)
    _, (trace,) = recorded(tmp_path)
    assert len(trace.steps) == STEPS and not trace.info.warnings


def test_a_job_that_is_not_recorded_leaves_nothing(tmp_path: Path) -> None:
    train(tmp_path / "traces", 2, environment={"SCALEPROF": "0"})
    assert not (tmp_path / "traces").exists()


def test_clocks_are_compared_where_that_is_asked_for(tmp_path: Path) -> None:
    train(tmp_path, 2, environment={"SCALEPROF_CLOCK_SYNC": "always"})
    _, traces = recorded(tmp_path)
    for trace in traces:
        assert trace.info.clock is not None and trace.info.clock.reference == trace.info.clock.id
        assert 0 < trace.info.overhead["clock_sync_ms"] < 1000
        assert bytes_by_step(trace) == [FP32] * STEPS
        assert not trace.info.warnings


def test_a_killed_job_leaves_what_it_had(tmp_path: Path) -> None:
    train(tmp_path, 2, "--killed", check=False)
    run, traces = recorded(tmp_path)
    assert sorted(run.ranks) == [0, 1]
    for trace in traces:
        assert len(trace.steps) == STEPS - 2
        assert not read_rank_info(run.path / f"rank-0000{trace.rank}" / "rank.json").finished
        assert any("was not finished" in caveat for caveat in trace.caveats)
    (read,) = report_on(tmp_path).runs
    assert values(read)["step.count"]


def test_the_script_of_the_docs_runs_as_printed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(snippet("@scaleprof.horovod.profile("))
    horovodrun(2, "train.py", folder=tmp_path)
    run, traces = recorded(tmp_path / "traces")
    assert (run.info.world_size, run.info.local_batch, [len(trace.steps) for trace in traces]) == (2, 64, [20, 20])
