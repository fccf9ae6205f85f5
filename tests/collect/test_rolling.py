"""Profiler windows: which steps they hold, what lies between them, and who else may profile."""

import contextlib
import itertools
import threading
from pathlib import Path

import pytest
import torch

import scaleprof
from scaleprof.collect.profiling import rolling
from scaleprof.run import window_of_trace_file
from tests.collect.training import info_of, loop, network, only_rank, spans, steps_of


def windows_of(folder: Path) -> list[tuple[int, int, str]]:
    found = [window_of_trace_file(path.name) for path in only_rank(folder).glob("trace-*")]
    return sorted(window for window in found if window is not None)


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "WINDOW_STEPS", 4)


@pytest.mark.usefixtures("short_windows")
def test_windows_follow_one_another_with_a_step_between(tmp_path: Path) -> None:
    scaleprof.profile(tmp_path, windows=scaleprof.Windows(skip=2), sample_hz=0)(loop)(14)
    assert windows_of(tmp_path) == [(2, 5, "timeline"), (7, 10, "timeline"), (12, 13, "timeline")]
    steps = steps_of(tmp_path)
    assert [step["i"] for step in steps if not step["profiled"]] == [0, 1, 6, 11]
    assert [step["i"] for step in steps if step["perturbed"]] == [0, 2, 6, 7, 11, 12]


def test_windows_on_a_gpu_are_short_and_lie_further_apart_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing one costs a quarter of a second there. A GPU is only pretended: the windows are those of the CPU's profiler."""
    monkeypatch.setattr(rolling, "GPU_WINDOW_STEPS", 3)
    monkeypatch.setattr(rolling, "cuda_in_use", lambda: True)
    scaleprof.profile(tmp_path, windows=scaleprof.Windows(skip=2), sample_hz=0)(loop)(40)
    assert windows_of(tmp_path) == [(2, 4, "timeline"), (8, 10, "timeline"), (17, 19, "timeline"), (32, 34, "timeline")]


def test_operators_come_in_windows_and_the_timeline_fills_the_rest(tmp_path: Path) -> None:
    windows = scaleprof.Windows(skip=2, steps=2, every=7, count=2)
    scaleprof.profile(tmp_path, level="full", windows=windows, sample_hz=0)(loop)(14)
    assert windows_of(tmp_path) == [(2, 3, "full"), (5, 7, "timeline"), (9, 10, "full"), (12, 13, "timeline")]


def test_windows_of_operators_may_follow_at_once(tmp_path: Path) -> None:
    windows = scaleprof.Windows(skip=1, steps=2, count=2)
    scaleprof.profile(tmp_path, level="full", windows=windows, sample_hz=0)(loop)(7)
    assert windows_of(tmp_path) == [(1, 2, "full"), (4, 5, "full")]


@pytest.mark.usefixtures("short_windows")
def test_a_span_over_several_windows_is_a_part_of_each(tmp_path: Path) -> None:
    # torch would write its end into the memory of the window that it began in, which is gone by then.
    def train() -> None:
        loop(3)
        with torch.profiler.record_function("an epoch"):
            loop(8)
        loop(4)

    scaleprof.profile(tmp_path, windows=scaleprof.Windows(skip=2), sample_hz=0)(train)()
    assert windows_of(tmp_path) == [(2, 5, "timeline"), (7, 10, "timeline"), (12, 14, "timeline")]
    assert [event["name"] for event in spans(only_rank(tmp_path))].count("an epoch") == 2
    assert not info_of(tmp_path).warnings


@pytest.mark.usefixtures("short_windows")
def test_a_long_task_has_windows_to_its_end(tmp_path: Path) -> None:
    with scaleprof.profile(tmp_path, windows=scaleprof.Windows(skip=2), sample_hz=0) as prof:
        loop(4)
        with prof.task("a trial"), prof.region("a part of it"):
            loop(14)
    assert windows_of(tmp_path) == [(2, 5, "timeline"), (7, 10, "timeline"), (12, 15, "timeline"), (17, 17, "timeline")]
    names = [event["name"] for event in spans(only_rank(tmp_path))]
    assert names.count("scaleprof::task a trial") == names.count("scaleprof::region a part of it") == 4


@pytest.mark.usefixtures("short_windows")
def test_no_window_opens_while_a_span_of_another_thread_began_in_the_last(tmp_path: Path) -> None:
    began, may_end = threading.Event(), threading.Event()

    def work() -> None:
        with torch.profiler.record_function("beside"):
            began.set()
            may_end.wait(30)

    def train() -> None:
        loop(3)
        other = threading.Thread(target=work)
        other.start()
        began.wait(30)
        loop(8)
        may_end.set()
        other.join()
        loop(4)

    scaleprof.profile(tmp_path, windows=scaleprof.Windows(skip=2), sample_hz=0)(train)()
    assert windows_of(tmp_path) == [(2, 5, "timeline"), (12, 14, "timeline")]
    assert any("another thread" in warning for warning in info_of(tmp_path).warnings)


def test_a_window_is_saved_when_the_training_fails_in_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boom"):
        scaleprof.profile(tmp_path, windows=scaleprof.Windows(skip=1), sample_hz=0)(loop)(9, fail=5)
    assert windows_of(tmp_path) == [(1, 4, "timeline")]


@pytest.mark.usefixtures("short_windows")
def test_disk_space_for_windows_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "MOST_WINDOWS", 2)
    scaleprof.profile(tmp_path, windows=scaleprof.Windows(skip=0), sample_hz=0)(loop)(15)
    assert windows_of(tmp_path) == [(1, 4, "timeline"), (6, 9, "timeline")]
    assert any("later steps have no trace" in warning for warning in info_of(tmp_path).warnings)


@pytest.mark.usefixtures("short_windows")
def test_a_scheduled_profiler_of_the_user_is_left_alone_until_it_ends(tmp_path: Path) -> None:
    made: list[int] = []

    @scaleprof.profile(tmp_path, windows=scaleprof.Windows(skip=1), sample_hz=0)
    def train() -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        schedule = torch.profiler.schedule(wait=2, warmup=2, active=2, repeat=1)
        with torch.profiler.profile(
            schedule=schedule, on_trace_ready=lambda done: made.append(len(done.events()))
        ) as theirs:
            for _ in range(10):
                model(torch.randn(4, 16)).mean().backward()
                optimizer.step()
                theirs.step()
        for _ in range(4):
            optimizer.step()

    train()
    assert len(made) == 1
    assert made[0] > 0
    assert len(steps_of(tmp_path)) == 14
    warnings = " ".join(info_of(tmp_path).warnings)
    assert "cut short" in warnings
    assert windows_of(tmp_path)[-1][1] == 13


def test_a_region_is_a_span_and_so_is_a_recorded_function_inside_another(tmp_path: Path) -> None:
    recorded = scaleprof.profile(tmp_path, sample_hz=0)

    @recorded
    def evaluate() -> None:
        network()(torch.randn(4, 16))

    with recorded as prof:
        loop(7)
        with prof.region("validation"):
            evaluate()
        loop(1)
    names = {event["name"] for event in spans(only_rank(tmp_path))}
    assert "scaleprof::region validation" in names
    assert any(name.startswith("scaleprof::region ") and name.endswith("evaluate") for name in names)


def test_a_window_that_cannot_be_saved_costs_that_window_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from scaleprof.collect.profiling.kineto import Profiler

    def broken(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(rolling, "WINDOW_STEPS", 4)
    monkeypatch.setattr(Profiler, "export", broken)
    assert scaleprof.profile(tmp_path, sample_hz=0)(loop)(16) == "done"
    assert len(steps_of(tmp_path)) == 16
    assert caplog.text.count("the training goes on") <= 2  # one kind within the training, one at its end


def test_events_lie_inside_their_windows(tmp_path: Path) -> None:
    scaleprof.profile(tmp_path, sample_hz=0)(loop)(9)
    steps = {step["i"]: step for step in steps_of(tmp_path)}
    optimizers = [event for event in spans(only_rank(tmp_path)) if event["name"].startswith("Optimizer.step")]
    # The first of the window began before it; the last ends with the window.
    assert len(optimizers) >= sum(step["profiled"] for step in steps.values()) - 1
    assert all(a["ts"] + a["dur"] <= b["ts"] for a, b in itertools.pairwise(sorted(optimizers, key=lambda e: e["ts"])))


def test_the_profiler_is_off_afterwards_whatever_happened(tmp_path: Path) -> None:
    with contextlib.suppress(ValueError):
        scaleprof.profile(tmp_path, sample_hz=0)(loop)(9, fail=7)
    assert not torch._C._autograd._profiler_enabled()
