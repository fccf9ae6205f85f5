"""The thread that samples, and the counters of process and host. GPUs are in `test_gpu.py`."""

import time
from collections.abc import Callable

import psutil
import pytest

from scaleprof.collect.guard import Guard
from scaleprof.collect.machine import sampler
from scaleprof.collect.machine.sampler import Sampler, process_counters


def sampled(seen: list[dict[str, float]], thread: Sampler) -> None:
    """Let it take three samples."""
    thread.start()
    deadline = time.monotonic() + 5
    while len(seen) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    thread.stop()


def test_a_gpu_that_is_lost_does_not_cost_the_counters_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> dict[str, float]:
        raise RuntimeError("GPU is lost")

    monkeypatch.setattr(sampler, "uuid_of", lambda device: "1234")
    monkeypatch.setattr(sampler, "gpu_counters", lambda uuid, on_loss: lost)
    guard, seen = Guard(), list[dict[str, float]]()
    thread = Sampler(100, lambda now, counters: seen.append(counters), guard)
    assert thread.watch_gpu(0)
    sampled(seen, thread)
    assert seen[2]["rss_bytes"] > 1e6
    assert "GPU is lost" in guard.warnings[0]
    assert thread.cpu_ns > 0


@pytest.mark.parametrize("fails", ["uuid_of", "gpu_counters"])
def test_a_gpu_that_cannot_be_watched_is_a_warning(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("no CUDA here")

    monkeypatch.setattr(sampler, "uuid_of", lambda device: "1234")
    monkeypatch.setattr(sampler, fails, broken)
    guard = Guard()
    assert not Sampler(100, lambda now, counters: None, guard).watch_gpu(0)
    assert guard.warnings == ("the GPU is not sampled (RuntimeError: no CUDA here)",)


def test_the_process_and_its_host_are_counted_everywhere() -> None:
    read = process_counters()
    assert read is not None
    counters = read()
    assert counters["rss_bytes"] > 1e6
    assert counters["cpu_user_s"] > 0
    assert counters["host_memory_free_bytes"] > 1e6


@pytest.mark.parametrize(
    ("hidden", "column"), [("net_io_counters", "net_sent_bytes"), ("virtual_memory", "host_memory_free_bytes")]
)
def test_what_a_container_hides_is_absent(hidden: str, column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> Callable[[], None]:
        raise PermissionError("/proc")

    read = process_counters()
    assert read is not None
    monkeypatch.setattr(psutil, hidden, refused)
    for _ in range(2):
        counters = read()
        assert column not in counters
        assert "rss_bytes" in counters
