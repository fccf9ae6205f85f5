"""A recorded job ends as it would have ended without us, and what was recorded until then can be read and says what is missing."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import scaleprof
from tests.collect.harm import CASES, Ended, place_of, readable, results
from tests.collect.training import lines, loop, network

NOTHING = (None, None)
KILLED = "the recording was not finished"
NO_FILE = "the profiler's file is missing for "

READABLE: dict[str, tuple[tuple[int | None, int | None], tuple[str, ...]]] = {
    "the disk is full from step 12 on": ((20, 69), ("File too large",)),
    "the disk is full and has room again": ((70, 70), ("File too large",)),
    "no space left on a small file system": ((20, 299), (KILLED, NO_FILE)),
    "the folder lies below a file": (NOTHING, ("holds no trace",)),
    "the folder is read-only": (NOTHING, ("holds no trace",)),
    "the folder is removed in mid-job": (NOTHING, ("holds no trace",)),
    "a profiler of the user's runs before": ((20, 20), ("a window was skipped",)),
    "a profiler of the user's starts in a window": ((20, 20), ("a window was cut short",)),
    "a profiler starts behind everybody's back": ((20, 20), ("a window was lost", NO_FILE)),
    "SIGTERM in a step": ((9, 9), (KILLED, NO_FILE)),
    "SIGTERM with a handler that exits": ((9, 9), ("SystemExit: 143",)),
    "SIGKILL in a step": ((9, 9), (KILLED, NO_FILE)),
    "os._exit(7) in a step": ((9, 9), (KILLED, NO_FILE)),
    "sys.exit(3) in a step": ((9, 9), ("SystemExit: 3",)),
    "an exception in a step": ((9, 9), ("ValueError: boom",)),
    "an exception without words": ((9, 9), ("_Unspeakable",)),
    "a forked child trains and exits": ((20, 20), ()),
    "a forked child goes through to the end": ((20, 20), ()),
    "workers of a DataLoader in a window": ((12, 12), ()),
    "a second process group": ((6, 6), ()),
    "init_process_group twice": ((4, 4), ("twice",)),
    "a peer is killed in an all-reduce": ((9, 9), ("rank 0: the training function ended with RuntimeError", f"rank 1: {KILLED}", NO_FILE)),
}  # fmt: skip
"""Of each case: the fewest and the most steps that are readable, and what the analysis says."""


@pytest.fixture(scope="module")
def harm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[Ended, Ended] | None]]:
    """Where the cases ran, and how they ended."""
    folder = tmp_path_factory.mktemp("harm")
    return folder, results(folder)


def ended(harm: Any, name: str) -> tuple[Ended, Ended]:
    pair: tuple[Ended, Ended] | None = harm[1][name]
    if pair is None:
        pytest.skip("this machine permits no mount of a small file system")
    return pair


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_job_ends_as_it_would_have_ended(name: str, harm: Any) -> None:
    without, recorded = ended(harm, name)
    assert recorded.alike == without.alike


@pytest.mark.parametrize("name", CASES)
def test_what_was_recorded_until_then_says_what_is_missing(name: str, harm: Any) -> None:
    ended(harm, name)
    steps, said = readable(place_of(harm[0], name) / "recorded")
    (fewest, most), words = READABLE[name]
    assert (steps is None) == (fewest is None)
    if steps is not None:
        assert fewest <= steps <= most
    assert [word for word in words if word not in said] == []
    if not words:
        assert said == ""


def test_the_survivor_of_a_killed_peer_gets_torchs_own_error(harm: Any) -> None:
    _, recorded = ended(harm, "a peer is killed in an all-reduce")
    assert "rank 0 ended with exit code 1\nrank 1 ended with signal SIGKILL\n" in recorded.output
    assert recorded.last_words.startswith("RuntimeError")
    assert "gloo" in recorded.last_words


@pytest.mark.parametrize("name", [name for name in CASES if "child" in name or "workers" in name])
def test_forked_children_leave_no_files(name: str, harm: Any) -> None:
    (rank,) = (place_of(harm[0], name) / "recorded").glob("*/rank-*")
    assert [path.name for path in rank.parent.iterdir() if path != rank] == ["run.json"]
    assert not [path.name for path in rank.iterdir() if path.name.startswith(".")]


def test_collectives_of_both_process_groups_are_kept(harm: Any) -> None:
    (rank,) = (place_of(harm[0], "a second process group") / "recorded").glob("*/rank-*")
    sizes = [entry["input_sizes"] for entry in lines(rank / "collectives.jsonl.gz")]
    assert [size for size in sizes if size in ([[3]], [[5]])] == [[[3]], [[5]]]
    assert len(sizes) == 2 + 6 * 4  # four parameters a step


# ---- in this process: every part of the recorder fails


def train(steps: int = 12) -> list[torch.Tensor]:
    """A training that goes through every hook; its weights at the end."""
    torch.manual_seed(1)
    data = torch.utils.data.TensorDataset(torch.randn(4 * steps, 16))
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for (batch,) in torch.utils.data.DataLoader(data, batch_size=4):
        with torch.profiler.record_function("forward"):
            loss = model(batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.distributed.all_reduce(next(model.parameters()).grad)
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.fixture(scope="module")
def as_ever() -> list[torch.Tensor]:
    """What the training gives when nobody records it."""
    with one_rank():
        return train()


class one_rank:  # noqa: N801
    """A process group of this process alone."""

    def __enter__(self) -> None:
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)

    def __exit__(self, *_: object) -> None:
        torch.distributed.destroy_process_group()


PARTS = [
    "written.about.Records.rank", "written.about.Records.run",
    "watching.device.DeviceWaits.begin", "watching.device.DeviceWaits.begin_step",
    "watching.device.DeviceWaits.finished",
    "watching.counters.RunQueue.ns", "watching.counters.StepCounters.begin_step",
    "watching.counters.StepCounters.line", "watching.counters.StepCounters.seen",
    "watching.flight.FlightRecorder.available", "watching.flight.FlightRecorder.is_due", "watching.flight.FlightRecorder.issued",
    "watching.flight.FlightRecorder.new_entries",
    "written.folder.RankFolder.flush", "written.folder.RankFolder.line", "written.folder.RankFolder.open",
    "written.folder.RankFolder.write_rank",
    "watching.inputs.InputPoints.install",
    "profiling.kineto.Profiler.available", "profiling.kineto.Profiler.export", "profiling.kineto.Profiler.others_active",
    "profiling.kineto.Profiler.start",
    "profiling.kineto.Profiler.stop",
    "profiling.rolling.RollingWindows.close", "profiling.rolling.RollingWindows.install", "profiling.rolling.RollingWindows.turn",
    "machine.sampler.Sampler._sample", "machine.sampler.Sampler.start",
    "session.Session._between_steps", "session.Session._install", "session.Session._look_at_job",
    "session.Session._on_optimizer", "session.Session._save_window",
    "session.Session._write_line", "session.Session.on_backward", "session.Session.on_wait", "session.Session.runq_ns",
    "session.Session.span",
    "watching.steps.LeaderRule.ends_step", "watching.steps.OptimizerHooks._depth",
    "watching.spans.NamedSpans.install", "watching.peers.PointToPoint.install",
    "watching.waits.WaitPoints._arm", "watching.waits.WaitPoints._begin", "watching.waits.WaitPoints._end",
    "watching.waits.WaitPoints.install",
]  # fmt: skip
"""What the recorder consists of, as folder and module, class and function."""
FUNCTIONS = [
    ("written.identity", "from_process_group"), ("written.identity", "run_id_from_environment"),
    ("session", "find_out"), ("session", "trace_file_name"), ("machine.sampler", "process_counters"),
    ("written.output", "claim_rank_folder"), ("written.output", "process_groups"),
]  # fmt: skip


def broken(*_: object, **__: object) -> Any:
    raise RuntimeError("the recorder is broken")


def owners() -> Iterator[tuple[str, Callable[[], tuple[Any, str]]]]:
    import importlib

    def module(name: str) -> Any:
        return importlib.import_module(f"scaleprof.collect.{name}")

    for part in PARTS:
        where, kind, name = part.rsplit(".", 2)
        yield part, lambda where=where, kind=kind, name=name: (getattr(module(where), kind), name)
    for where, name in FUNCTIONS:
        yield f"{where}.{name}", lambda where=where, name=name: (module(where), name)


OWNERS = dict(owners())


@pytest.mark.parametrize("part", OWNERS)
def test_a_part_that_fails_changes_nothing_in_the_training(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_ever: list[torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    owner, name = OWNERS[part]()
    with one_rank():
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, broken)
            recorded = scaleprof.profile(tmp_path, windows=scaleprof.Windows(skip=2), sample_hz=50)
            weights = recorded(train)()
        if part in (
            "profiling.kineto.Profiler.stop",
            "profiling.rolling.RollingWindows.close",
        ):  # the window is still open
            torch._C._autograd._disable_profiler()
    assert all(torch.equal(a, b) for a, b in zip(weights, as_ever, strict=True))
    assert "the recorder is broken" in caplog.text


@pytest.mark.parametrize("name", ["_prepare_profiler", "_enable_profiler", "_disable_profiler"])
def test_a_profiler_that_refuses_costs_its_window(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_ever: list[torch.Tensor]
) -> None:
    with one_rank():
        with monkeypatch.context() as patched:
            patched.setattr(torch._C._autograd, name, broken)
            weights = scaleprof.profile(tmp_path, windows=scaleprof.Windows(skip=2), sample_hz=0)(train)()
        if name == "_disable_profiler":
            torch._C._autograd._disable_profiler()
    assert all(torch.equal(a, b) for a, b in zip(weights, as_ever, strict=True))
    steps, said = readable(tmp_path)
    assert steps == 12
    assert "the recorder is broken" in said
    assert not list(tmp_path.rglob("trace-*"))


def test_a_watchdog_of_the_trainings_bites_in_the_middle_of_the_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaleprof.collect.written.folder import RankFolder

    flush = RankFolder.flush

    def slow(folder: RankFolder, *streams: str) -> None:
        flush(folder, *streams)
        time.sleep(0.2)

    def bite(*_: object) -> None:
        raise TimeoutError("the step took too long")

    monkeypatch.setattr(RankFolder, "flush", slow)
    before = signal.signal(signal.SIGALRM, bite)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(TimeoutError, match="took too long"):
            scaleprof.profile(tmp_path, sample_hz=0)(loop)(1000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert "TimeoutError: the step took too long" in readable(tmp_path)[1]
