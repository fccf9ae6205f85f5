"""The training function stays what it was, however it is called and however it ends."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import scaleprof
from scaleprof.errors import OptionError
from tests.collect.training import info_of, loop, network, only_rank, run_of, runs, spans, steps_of


@pytest.fixture
def recorded(tmp_path: Path) -> object:
    return scaleprof.profile(tmp_path, sample_hz=0)


def test_a_function_returns_what_it_returned(recorded, tmp_path: Path) -> None:
    assert recorded(loop)(5) == "done"
    assert len(steps_of(tmp_path)) == 5
    info = info_of(tmp_path)
    assert (info.finished, info.exception, info.strategy, info.model) == (True, None, "single", "Sequential")
    assert (info.parameters, info.precision) == (16 * 16 + 16 + 17, "float32")


def test_name_and_documentation_stay(recorded) -> None:
    @recorded
    def train() -> None:
        """Trains."""

    assert (train.__name__, train.__doc__) == ("train", "Trains.")


def test_an_early_return_ends_the_recording(recorded, tmp_path: Path) -> None:
    assert recorded(loop)(5, stop=3) == "early"
    assert len(steps_of(tmp_path)) == 3


def test_an_exception_passes_through_and_is_noted(recorded, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boom"):
        recorded(loop)(5, fail=2)
    assert len(steps_of(tmp_path)) == 2
    assert info_of(tmp_path).exception == "ValueError: boom"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler: a shell starts what runs in its background with interruptions ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_passes_through(recorded, tmp_path: Path, interruptible: None) -> None:
    @recorded
    def train() -> None:
        loop(2)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        train()
    assert len(steps_of(tmp_path)) == 2
    assert "KeyboardInterrupt" in (info_of(tmp_path).exception or "")


def test_an_exit_passes_through_with_its_code(recorded, tmp_path: Path) -> None:
    @recorded
    def train() -> None:
        loop(2)
        sys.exit(3)

    with pytest.raises(SystemExit) as ended:
        train()
    assert ended.value.code == 3
    assert len(steps_of(tmp_path)) == 2


def test_methods_of_all_kinds(tmp_path: Path) -> None:
    class Trainer:
        steps = 4

        @scaleprof.profile(tmp_path / "method", sample_hz=0)
        def fit(self) -> str:
            return loop(self.steps)

        @staticmethod
        @scaleprof.profile(tmp_path / "static", sample_hz=0)
        def fit_static() -> str:
            return loop(3)

        @classmethod
        @scaleprof.profile(tmp_path / "class", sample_hz=0)
        def fit_class(cls) -> str:
            return loop(cls.steps)

    assert (Trainer().fit(), Trainer.fit_static(), Trainer.fit_class()) == ("done", "done", "done")
    assert [len(steps_of(tmp_path / kind)) for kind in ("method", "static", "class")] == [4, 3, 4]


def numbered(steps: int) -> object:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in range(steps):
        model(torch.randn(4, 16)).mean().backward()
        optimizer.step()
        yield number


def test_a_generator_to_its_end(recorded, tmp_path: Path) -> None:
    assert sum(recorded(numbered)(5)) == 10
    assert len(steps_of(tmp_path)) == 5


def test_a_generator_closed_early_ends_normally(recorded, tmp_path: Path) -> None:
    generator = recorded(numbered)(5)
    assert (next(generator), next(generator)) == (0, 1)
    generator.close()
    assert len(steps_of(tmp_path)) == 2
    assert info_of(tmp_path).exception is None


def test_a_generator_that_is_dropped_ends_too(recorded, tmp_path: Path) -> None:
    generator = recorded(numbered)(5)
    next(generator)
    del generator
    gc.collect()
    assert info_of(tmp_path).finished


def test_a_coroutine_and_an_async_generator(tmp_path: Path) -> None:
    @scaleprof.profile(tmp_path / "coroutine", sample_hz=0)
    async def fit() -> str:
        for _ in numbered(4):
            await asyncio.sleep(0)
        return "done"

    @scaleprof.profile(tmp_path / "items", sample_hz=0)
    async def items() -> object:
        for number in numbered(3):
            yield number

    async def collect() -> list[int]:
        return [number async for number in items()]

    assert asyncio.run(fit()) == "done"
    assert asyncio.run(collect()) == [0, 1, 2]
    assert [len(steps_of(tmp_path / kind)) for kind in ("coroutine", "items")] == [4, 3]


def test_a_recorded_function_inside_another_is_part_of_it(recorded, tmp_path: Path) -> None:
    inner = recorded(loop)

    @recorded
    def outer() -> str:
        inner(2)
        inner(2)
        return loop(1)

    assert outer() == "done"
    assert len(steps_of(tmp_path)) == 5


def test_recursion_records_once(recorded, tmp_path: Path) -> None:
    @recorded
    def down(depth: int) -> str:
        return loop(1) if depth == 0 else down(depth - 1)

    assert down(3) == "done"
    assert len(steps_of(tmp_path)) == 1


def test_two_calls_are_two_runs(recorded, tmp_path: Path) -> None:
    recorded(loop)(2)
    recorded(loop)(3)
    assert [len(list((run / "rank-00000").glob("steps.jsonl"))) for run in runs(tmp_path)] == [1, 1]


def test_two_calls_under_one_id_are_two_folders(recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEPROF_RUN_ID", "the same")
    recorded(loop)(2)
    recorded(loop)(3)
    assert len(runs(tmp_path)) == 2


def test_a_worker_thread_may_train(recorded, tmp_path: Path) -> None:
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(recorded(loop)(3)))
    thread.start()
    thread.join()
    assert (results, len(steps_of(tmp_path))) == (["done"], 3)


def test_a_fork_inside_writes_nothing(recorded, tmp_path: Path) -> None:
    @recorded
    def train() -> str:
        loop(2)
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                scaleprof.step()
            os._exit(0)
        os.waitpid(child, 0)
        return loop(1)

    assert train() == "done"
    assert len(steps_of(tmp_path)) == 3


def test_the_same_object_is_a_context_manager(recorded, tmp_path: Path) -> None:
    with recorded as prof:
        loop(2)
        with prof.region("evaluation"):
            pass
    assert len(steps_of(tmp_path)) == 2


def test_switched_off_records_nothing(recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEPROF", "0")
    assert recorded(loop)(2) == "done"
    assert not list(tmp_path.iterdir())


def test_the_environment_decides_folder_name_level_and_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("DIR", str(tmp_path / "there")), ("NAME", "mine"), ("SERIES", "study"), ("RUN_ID", "abc")):
        monkeypatch.setenv(f"SCALEPROF_{name}", value)
    monkeypatch.setenv("SCALEPROF", "light")
    scaleprof.profile(tmp_path / "here", sample_hz=0)(loop)(8)
    run = run_of(tmp_path / "there")
    assert (run.name, run.series, run.run_id, run.level) == ("mine", "study", "abc", "light")
    assert not spans(only_rank(tmp_path / "there"))


def test_a_level_nobody_knows_is_refused_in_the_script_and_ignored_in_the_environment(
    recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(OptionError, match="level"):
        scaleprof.profile(tmp_path, level="everything")
    monkeypatch.setenv("SCALEPROF", "everything")
    assert recorded(loop)(2) == "done"
    assert "nothing is recorded" in caplog.text


def test_a_folder_that_cannot_be_written_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert scaleprof.profile(tmp_path / "file" / "below", sample_hz=0)(loop)(8) == "done"
    assert "the training goes on" in caplog.text


def test_windows_hold_annotations_and_the_full_level_operators(tmp_path: Path) -> None:
    scaleprof.profile(tmp_path / "timeline", sample_hz=0)(loop)(10)
    names = {event["name"] for event in spans(only_rank(tmp_path / "timeline"))}
    assert any(name.startswith("Optimizer.step") for name in names)
    assert not any(name.startswith("aten::") for name in names)
    windows = scaleprof.Windows(skip=3, steps=2)
    scaleprof.profile(tmp_path / "full", level="full", windows=windows, sample_hz=0)(loop)(10)
    files = sorted(path.name for path in only_rank(tmp_path / "full").glob("trace-*"))
    assert files == ["trace-000003-000004.full.json.gz", "trace-000006-000009.timeline.json.gz"]
    assert {"aten::addmm", "aten::relu"} <= {event["name"] for event in spans(only_rank(tmp_path / "full"))}
    steps = steps_of(tmp_path / "full")
    assert [step["i"] for step in steps if not step["profiled"]] == [0, 1, 2, 5]
    assert [step["i"] for step in steps if step["perturbed"]] == [0, 3, 5, 6]


def test_a_profiler_of_the_user_inside_wins_and_both_survive(recorded, tmp_path: Path) -> None:
    @recorded
    def train() -> int:
        loop(7)
        with torch.profiler.profile() as theirs:
            loop(2)
        loop(3)
        return len(theirs.events())

    assert train() > 0
    assert len(steps_of(tmp_path)) == 12
    assert any("profiler" in warning for warning in info_of(tmp_path).warnings)


def test_a_profiler_of_the_user_around_is_left_alone(recorded, tmp_path: Path) -> None:
    with torch.profiler.profile() as theirs:
        recorded(loop)(8)
    assert len(theirs.events()) > 0
    assert len(steps_of(tmp_path)) == 8


def test_batches_of_a_dataloader_are_counted(recorded, tmp_path: Path) -> None:
    data = torch.utils.data.TensorDataset(torch.randn(24, 16), torch.randn(24))

    @recorded
    def train() -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for inputs, _ in torch.utils.data.DataLoader(data, batch_size=8):
            model(inputs).mean().backward()
            optimizer.step()

    train()
    steps = steps_of(tmp_path)
    assert [step["samples"] for step in steps] == [8, 8, 8]
    assert all(step["data"] > 0 for step in steps)


def test_workers_of_a_dataloader_leave_no_files(recorded, tmp_path: Path) -> None:
    data = torch.utils.data.TensorDataset(torch.randn(24, 16), torch.randn(24))

    @recorded
    def train() -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for inputs, _ in torch.utils.data.DataLoader(data, batch_size=8, num_workers=2):
            model(inputs).mean().backward()
            optimizer.step()

    train()
    assert [step["samples"] for step in steps_of(tmp_path)] == [8, 8, 8]
    assert not info_of(tmp_path).warnings


def test_stated_samples_win(tmp_path: Path) -> None:
    scaleprof.profile(tmp_path, samples_per_step=64, flops_per_step=1e9, strategy="mine", sample_hz=0)(loop)(3)
    assert [step["samples"] for step in steps_of(tmp_path)] == [64] * 3
    info = info_of(tmp_path)
    assert (info.local_batch, info.flops_per_step, info.strategy) == (64, 1e9, "mine")


def test_counters_are_sampled_and_the_thread_ends(tmp_path: Path) -> None:
    with scaleprof.profile(tmp_path, sample_hz=50):
        time.sleep(0.2)
    samples = [json.loads(line) for line in (only_rank(tmp_path) / "samples.jsonl").read_text().splitlines()]
    assert len(samples) >= 3
    assert samples[-1]["rss_bytes"] > 1e6
    assert not any(name.startswith("gpu") for name in samples[0]) or torch.cuda.is_available()


def test_redaction_hides_host_and_paths_everywhere(tmp_path: Path) -> None:
    import gzip
    import re
    import socket

    def train() -> None:
        loop(8)
        raise RuntimeError(f"cannot read {tmp_path}/secret.bin")

    with pytest.raises(RuntimeError):
        scaleprof.profile(tmp_path, redact=True, sample_hz=50)(train)()
    for path in only_rank(tmp_path).parent.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
            assert not re.search(rf'"{re.escape(socket.gethostname())}"', text), path.name
            assert str(tmp_path) not in text, path.name


def test_emulated_compute_sums_to_what_was_asked_for(tmp_path: Path) -> None:
    from scaleprof.collect import emulated_sleep

    with scaleprof.profile(tmp_path, sample_hz=0) as prof:
        prof.emulated(compute_ms_per_step=20, link="none")
        for _ in range(8):
            for _ in range(4):
                emulated_sleep(0.005)
            prof.step()
    emulated = info_of(tmp_path).emulated
    assert emulated is not None
    assert emulated.compute_ms_per_step == 20
    slept = [event["dur"] for event in spans(only_rank(tmp_path)) if event["name"] == "scaleprof::emulated_compute"]
    profiled = sum(step["profiled"] for step in steps_of(tmp_path))
    assert sum(slept) / profiled == pytest.approx(20_000, rel=0.05)
