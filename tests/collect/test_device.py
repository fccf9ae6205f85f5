"""Waits on a device's clock, with a device that answers when it is told to: there is no other way to hold it still."""

import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import scaleprof
from scaleprof.collect.patching import Patches
from scaleprof.collect.watching.device import MOST_PENDING, DeviceWaits
from tests.collect.training import info_of, lines, loop, only_rank


class Device:
    """A device with a clock in ms; work is done when it is put into the stream, and known to be done up to `passed`."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.passed_ms = float("inf")
        self.stream = object()
        self.capturing = False
        self.events = 0
        self.synchronised = 0

    def event(self, *, enable_timing: bool) -> "Event":
        assert enable_timing
        self.events += 1
        return Event(self)


class Event:
    def __init__(self, device: Device) -> None:
        self._device = device
        self._at_ms = -1.0

    def record(self) -> None:
        self._at_ms = self._device.now_ms

    def query(self) -> bool:
        return self._at_ms <= self._device.passed_ms

    def elapsed_time(self, later: "Event") -> float:
        assert self.query() and later.query(), "reading an event that the device has not passed would wait for it"
        return later._at_ms - self._at_ms

    def synchronize(self) -> None:
        self._device.synchronised += 1


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: made.stream)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: made.capturing)
    monkeypatch.setattr(torch.cuda, "Event", made.event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: pytest.fail("the recorder must never synchronise"))
    return made


def step(waits: DeviceWaits, device: Device, number: int, *waited_ms: float, compute_ms: float = 10) -> None:
    waits.begin_step(number)
    for wait_ms in waited_ms:
        device.now_ms += compute_ms

        def pass_time(wait_ms: float = wait_ms) -> str:
            device.now_ms += wait_ms
            return "done"

        assert waits.around(pass_time) == "done"
    waits.end_step()
    device.now_ms += 1000  # what the recorder does between two steps is part of none


def test_a_step_is_read_two_steps_later(device: Device) -> None:
    waits = DeviceWaits()
    step(waits, device, 0, 3, 4)
    step(waits, device, 1, 1)
    assert list(waits.finished()) == []
    step(waits, device, 2)
    assert list(waits.finished()) == [{"i": 0, "wait": 7_000_000, "n_wait": 2, "time": 27_000_000}]
    step(waits, device, 3)
    assert [line["i"] for line in waits.finished()] == [1]


def test_a_device_that_is_behind_is_not_waited_for(device: Device) -> None:
    waits = DeviceWaits()
    device.passed_ms = 5
    for number in range(3):
        step(waits, device, number, 1)
    assert list(waits.finished()) == []
    device.passed_ms = 22
    assert [line["i"] for line in waits.finished()] == [0]
    assert device.synchronised == 0


def test_a_device_that_hangs_costs_a_bounded_number_of_steps(device: Device) -> None:
    waits = DeviceWaits()
    device.passed_ms = -1
    for number in range(100):
        step(waits, device, number, 1)
    assert len(waits._steps) == MOST_PENDING
    assert waits.given_up == 100 - MOST_PENDING


def test_steps_with_many_waits_are_given_up_sooner(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step with three waits has eight events: of twenty events two steps are kept."""
    monkeypatch.setattr("scaleprof.collect.watching.device.MOST_EVENTS", 20)
    waits = DeviceWaits()
    device.passed_ms = -1
    for number in range(10):
        step(waits, device, number, 1, 1, 1)
    waits.begin_step(10)
    assert len(waits._steps) <= 3
    assert waits.given_up == 11 - len(waits._steps)


def test_events_are_used_again(device: Device) -> None:
    waits = DeviceWaits()
    for number in range(200):
        step(waits, device, number, 1, 2)
        assert sum(line["wait"] for line in waits.finished()) == (3_000_000 if number >= 2 else 0)
    assert device.events < 40


def test_the_end_of_the_job_looks_a_while_whether_the_device_gets_there(device: Device) -> None:
    waits = DeviceWaits()
    device.passed_ms = -1
    step(waits, device, 0, 1)
    waits.begin_step(1)
    began = time.monotonic()
    waits.settle(0.05)
    assert 0.05 <= time.monotonic() - began < 1
    device.passed_ms = float("inf")
    waits.settle(60)
    assert [line["time"] for line in waits.finished(0)] == [11_000_000]


def test_a_step_that_begins_again_counts_from_there(device: Device) -> None:
    """As after an evaluation between two steps."""
    waits = DeviceWaits()
    waits.begin_step(0)
    device.now_ms += 500
    step(waits, device, 0, 1)
    assert [line["time"] for line in waits.finished(0)] == [11_000_000]


def test_only_waits_of_the_stream_that_computes_count(device: Device) -> None:
    waits = DeviceWaits()
    waits.begin_step(0)
    assert waits.around(lambda: 1, stream=object()) == 1
    assert waits.around(lambda: 2, stream=device.stream) == 2
    for number in range(1, 4):
        waits.end_step()
        waits.begin_step(number)
    assert next(iter(waits.finished()))["n_wait"] == 1


def test_nothing_is_recorded_into_a_graph(device: Device) -> None:
    waits = DeviceWaits()
    waits.begin_step(0)
    device.capturing = True
    assert waits.around(lambda: "captured") == "captured"
    device.capturing = False
    for number in range(1, 4):
        waits.end_step()
        waits.begin_step(number)
    assert next(iter(waits.finished()))["n_wait"] == 0


def test_an_exception_of_the_wait_passes_through(device: Device) -> None:
    waits = DeviceWaits()
    waits.begin_step(0)

    def fail() -> None:
        raise TimeoutError("peer is gone")

    with pytest.raises(TimeoutError, match="peer is gone"):
        waits.around(fail)


def test_without_a_device_nothing_happens() -> None:
    waits = DeviceWaits()
    waits.begin_step(0)
    assert waits.around(lambda: 5) == 5
    assert waits.begin() is None
    assert list(waits.finished()) == []


def test_a_recording_writes_what_the_device_says_and_the_reader_takes_it(device: Device, tmp_path: Path) -> None:
    from scaleprof.readers.finding.directory import run_of_directory
    from scaleprof.readers.recorded.recorded import read_recorded

    def wait(work: Any) -> bool:
        device.now_ms += 2.5
        return True

    work, patches = types.SimpleNamespace(), Patches()
    patches.wrap(torch._C._distributed_c10d.Work, "wait", lambda _: wait)
    with scaleprof.profile(tmp_path, level="light", sample_hz=0):
        for _ in range(6):
            loop(1)
            torch._C._distributed_c10d.Work.wait(work)  # type: ignore[arg-type]
    patches.undo()
    written = lines(only_rank(tmp_path) / "device.jsonl")
    assert [line["i"] for line in written] == [0, 1, 2, 3, 4, 5]
    assert {line["wait"] for line in written[1:]} == {2_500_000}
    [run] = tmp_path.iterdir()
    steps = read_recorded(run_of_directory(run).ranks[0]).steps
    assert steps.blocked_ns.tolist() == [line["wait"] for line in written]
    assert steps.device_ns.tolist() == [line["time"] for line in written]


def test_steps_that_were_given_up_are_said(device: Device, tmp_path: Path) -> None:
    device.passed_ms = -1
    scaleprof.profile(tmp_path, level="light", sample_hz=0)(loop)(80)
    assert any("too far behind" in warning for warning in info_of(tmp_path).warnings)
