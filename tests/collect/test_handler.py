"""`trace_handler`: what a torch.profiler of the training's leaves, on two real ranks and in this process."""

import gzip
import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scaleprof
from scaleprof.errors import OptionError
from scaleprof.pipeline import Options
from scaleprof.readers import find_runs, read_rank
from scaleprof.run import read_rank_info, read_run_info
from scaleprof.trace import Trace
from tests.collect.handler_jobs import PAUSE_S, SLEEP_S
from tests.collect.training import network

ROOT = Path(__file__).parent.parent.parent
MS = 1_000_000
WANTED = {"step.count", "step.time_ms", "step.throughput", "time.compute_share"}


def run_job(name: str, folder: Path) -> Path:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SCALEPROF")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.collect.handler_jobs", name, str(folder)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def traces_of(folder: Path) -> dict[str, list[Trace]]:
    """The ranks of each run, by its name."""
    return {run.info.name: [read_rank(files) for _, files in sorted(run.ranks.items())] for run in find_runs([folder])}


def durations_ms(trace: Trace) -> list[float]:
    return ((trace.steps.end_ns - trace.steps.start_ns) / MS).tolist()


def test_two_ranks_and_two_windows_are_one_run(tmp_path: Path) -> None:
    [run_folder] = run_job("windows", tmp_path).iterdir()
    run = read_run_info(run_folder / "run.json")
    assert (run.world_size, run.run_id, run.level) == (2, "test-run", None)
    for rank in (0, 1):
        info = read_rank_info(run_folder / f"rank-0000{rank}" / "rank.json")
        assert (info.rank, info.world_size, info.strategy, info.backend, info.finished, info.level) == (
            rank, 2, "ddp", "gloo", True, None,
        )  # fmt: skip
        assert info.process_groups[0].ranks == (0, 1)
        assert (info.model, info.local_batch, len(info.anchors), info.warnings) == ("Linear", 8, 2, ())
        assert info.versions["torch"] == torch.__version__
        files = sorted(path.name for path in (run_folder / f"rank-0000{rank}").glob("*.gz"))
        assert files == ["trace-000003-000005.full.json.gz", "trace-000009-000011.full.json.gz"]


def test_the_steps_of_every_window_are_those_of_the_profiler(tmp_path: Path) -> None:
    [ranks] = traces_of(run_job("windows", tmp_path)).values()
    for trace in ranks:
        assert trace.steps.index.tolist() == [3, 4, 5, 9, 10, 11]
        # Between the windows lies a long pause: it is part of no step.
        assert all(SLEEP_S * 1000 <= took < PAUSE_S * 1000 for took in durations_ms(trace))
        assert trace.steps.samples.tolist() == [8] * 6
        assert trace.step_source == "annotations"
        rows = trace.comm.row[trace.comm.row >= 0]
        assert sorted(trace.events.step[rows].tolist()) == list(range(6)), "one all-reduce in each step"
    assert abs(ranks[0].steps.start_ns - ranks[1].steps.start_ns).max() < PAUSE_S * 1e9


def test_accumulated_batches_are_joined_to_steps_of_the_optimizer(tmp_path: Path) -> None:
    [ranks] = traces_of(run_job("accumulating", tmp_path)).values()
    for trace in ranks:
        # The window holds batches 2 to 17, the optimizer steps in 3, 7, 11, 15: the first and the last step are not whole.
        assert trace.steps.index.tolist() == [7, 11, 15]
        assert all(took >= 4 * SLEEP_S * 1000 for took in durations_ms(trace))
        assert "4 to a step of the optimizer" in " ".join(trace.caveats)


def test_beside_a_recording_of_the_same_job_there_are_two_runs(tmp_path: Path) -> None:
    ranks = traces_of(run_job("both", tmp_path))
    assert sorted(ranks) == ["handler_jobs", "handler_jobs-profiler"]
    assert [trace.steps.index.tolist() for trace in ranks["handler_jobs-profiler"]] == [[8, 9, 10]] * 2
    for trace in ranks["handler_jobs"]:
        assert len(trace.steps) == 14
        assert np.flatnonzero(trace.steps.profiled).tolist() == [5, 6, 12, 13]
        assert max(durations_ms(trace)[1:]) < PAUSE_S * 1000, "writing the other trace is part of no step"


def test_the_report_has_the_step_times(tmp_path: Path) -> None:
    report = scaleprof.analyze([run_job("windows", tmp_path)], options=Options(engine="serial"))
    [run] = report.runs
    values = {name: metric.value for name in WANTED if (metric := run.metric(name)) is not None}
    counted = run.metric("step.count")
    # How many of the first are warm-up is the machine's affair: a busy one had two slow steps.
    assert counted is not None and counted.note == "of 6 seen on every rank"
    assert SLEEP_S * 1000 <= float(values["step.time_ms"]) < PAUSE_S * 1000
    assert values.keys() == WANTED


# ---- in this process


def profiled(handler: Any, steps: int = 8, *, schedule: bool = True, **options: Any) -> None:
    """A training with a profiler."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    cycle = torch.profiler.schedule(wait=1, warmup=1, active=2, repeat=2) if schedule else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that events of the cycle before are cleared
        with torch.profiler.profile(schedule=cycle, on_trace_ready=handler, **options) as profiler:
            for _ in range(steps):
                optimizer.zero_grad()
                model(torch.randn(4, 16)).mean().backward()
                optimizer.step()
                profiler.step()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("trace-*"))


def test_a_window_that_ends_with_the_training_is_kept(tmp_path: Path) -> None:
    profiled(scaleprof.trace_handler(tmp_path, name="job"), steps=7)
    [trace] = traces_of(tmp_path)["job"]
    assert trace.steps.index.tolist() == [2, 3, 6], "torch marks a step 7, in which nothing but the profiler ended"


def test_without_a_schedule_the_trace_is_one_window(tmp_path: Path) -> None:
    profiled(scaleprof.trace_handler(tmp_path, name="job"), schedule=False)
    assert [Path(name).name for name in files(tmp_path)] == ["trace-000008-000008.full.json.gz"]
    [trace] = traces_of(tmp_path)["job"]
    assert len(trace.steps) == 1
    assert "marks no steps" in " ".join(trace.caveats)


def test_each_profiler_has_a_run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEPROF_RUN_ID", "one")
    handler = scaleprof.trace_handler(tmp_path, name="job")
    profiled(handler)
    profiled(handler)
    profiled(scaleprof.trace_handler(tmp_path, name="job"))
    runs = sorted(path.name for path in tmp_path.iterdir())
    assert runs == [f"{runs[0]}{more}" for more in ("", "-2", "-3")]
    assert len(files(tmp_path)) == 6


def test_a_profiler_that_is_started_again_goes_on_counting(tmp_path: Path) -> None:
    profiler = torch.profiler.profile(on_trace_ready=scaleprof.trace_handler(tmp_path))
    for _ in range(2):
        with profiler:
            network()(torch.randn(4, 16))
    assert [Path(name).name for name in files(tmp_path)] == [
        "trace-000000-000000.full.json.gz",
        "trace-000001-000001.full.json.gz",
    ]


def test_nothing_that_fails_reaches_the_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    with caplog.at_level(logging.WARNING, logger="scaleprof"):
        profiled(scaleprof.trace_handler(tmp_path / "file"))
        scaleprof.trace_handler(tmp_path)("no profiler")
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        "scaleprof: a trace of torch.profiler was not kept"
    ] * 2


def test_a_trace_that_cannot_be_saved_is_said_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **keywords: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch.profiler.profile, "export_chrome_trace", fails)
    profiled(scaleprof.trace_handler(tmp_path))
    [record] = tmp_path.rglob("rank.json")
    assert read_rank_info(record).warnings == ("a trace of torch.profiler was not kept (OSError: disk full), 2 times",)
    assert [path.name for path in record.parent.iterdir()] == ["rank.json"]


def test_the_environment_switches_it_off_and_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEPROF", "0")
    profiled(scaleprof.trace_handler(tmp_path / "here"))
    monkeypatch.setenv("SCALEPROF", "1")
    monkeypatch.setenv("SCALEPROF_DIR", str(tmp_path / "there"))
    profiled(scaleprof.trace_handler(tmp_path / "here"))
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_redacted_traces_name_no_path(tmp_path: Path) -> None:
    profiled(scaleprof.trace_handler(tmp_path, redact=True), with_stack=True)
    for path in tmp_path.rglob("trace-*"):
        text = gzip.decompress(path.read_bytes()).decode()
        json.loads(text)
        assert str(ROOT) not in text


def test_a_wrong_option_is_said_at_once() -> None:
    with pytest.raises(OptionError, match="samples_per_step must be more than 0"):
        scaleprof.trace_handler("traces/", samples_per_step=0)
