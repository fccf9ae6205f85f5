"""Counters of process, host and GPU, sampled in the background. What a machine does not have is absent, not zero.

A driver that hangs holds a thread of ours for ever, never one of the training: only background threads call it, and nobody waits for them long.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from scaleprof.collect.guard import Guard
from scaleprof.collect.machine.gpu import Counters, gpu_counters, uuid_of

log = logging.getLogger(__name__)

NAME = "scaleprof-sampler"
GPU_NAME = "scaleprof-gpu"
START_S = 1.0
"""How long the training waits to hear whether there is a GPU to watch; a driver that is slower may still come."""
STOP_S = 1.0
"""How long it waits for the last sample."""
_MISSING = "a sample of the machine's counters is missing"


class Sampler(threading.Thread):
    """Calls `on_sample` with (monotonic ns, counters) at a fixed rate until stopped."""

    def __init__(self, hz: float, on_sample: Callable[[int, Counters], None], guard: Guard) -> None:
        super().__init__(daemon=True, name=NAME)
        self._pause_s = 1 / hz
        self._on_sample = on_sample
        self._guard = guard
        self._sources = [source for source in (process_counters(),) if source is not None]
        self._ended = threading.Event()
        self.cpu_ns = 0
        """What sampling has cost so far."""

    def run(self) -> None:
        """Sample until `stop`."""
        while not self._ended.wait(self._pause_s):
            with self._guard.on(_MISSING):
                self._sample()

    def watch_gpu(self, device: int) -> bool:
        """Sample this GPU too from now on; whether that can be done."""
        uuid = self._guard.call("the GPU is not sampled", lambda: uuid_of(device), "")
        found: list[bool] = []

        def watch() -> None:
            with self._guard.on("the GPU is not sampled"):
                source = gpu_counters(uuid, self._guard.warn)
                if source is not None:
                    self._sources = [*self._sources, source]
                found.append(source is not None)

        if uuid:
            starting = threading.Thread(target=watch, daemon=True, name=GPU_NAME)
            starting.start()
            starting.join(START_S)
            if starting.is_alive():
                self._guard.warn("the GPU may not be sampled", f"its driver did not answer within {START_S:g} s")
        return found == [True]

    def _sample(self) -> None:
        began = time.thread_time_ns()
        counters: Counters = {}
        now = time.perf_counter_ns()
        for source in self._sources:
            with self._guard.on(_MISSING):  # a GPU that is lost must not cost the counters of the process
                counters |= source()
        if counters and not self._ended.is_set():
            self._on_sample(now, counters)
        self.cpu_ns += time.thread_time_ns() - began

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._ended.set()
        if self.is_alive():
            self.join(timeout=STOP_S)
            if self.is_alive():
                self._guard.warn("the last samples are missing", f"a counter did not answer within {STOP_S:g} s")


def process_counters() -> Callable[[], Counters] | None:
    """Counters of this process and its host from psutil; None where psutil is missing."""
    try:
        import psutil
    except ImportError:
        return None
    process = psutil.Process()

    def of_process() -> Counters:
        with process.oneshot():
            times, memory, threads = process.cpu_times(), process.memory_info(), process.num_threads()
        return {
            "rss_bytes": float(memory.rss),
            "cpu_user_s": times.user,
            "cpu_system_s": times.system,
            "threads": float(threads),
        }

    def of_host() -> Counters:
        return {"host_cpu_idle_s": psutil.cpu_times().idle}

    def of_memory() -> Counters:
        return {"host_memory_free_bytes": float(psutil.virtual_memory().available)}

    def of_network() -> Counters:
        counters: Any = psutil.net_io_counters()
        if counters is None:
            return {}
        return {"net_sent_bytes": float(counters.bytes_sent), "net_received_bytes": float(counters.bytes_recv)}

    parts = [of_process, of_host, of_memory, of_network]

    def read() -> Counters:
        counters: Counters = {}
        for part in list(parts):
            try:
                counters |= part()
            except (psutil.Error, OSError, RuntimeError, NotImplementedError) as error:
                log.debug("no counters of the %s: %s", part.__name__.removeprefix("of_"), error)
                parts.remove(part)  # a container may hide this
        return counters

    return read
