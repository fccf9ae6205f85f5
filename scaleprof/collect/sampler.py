"""Counters of process, host and GPU, sampled in the background. What a machine does not have is absent, not zero."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from scaleprof.collect.guard import Guard

log = logging.getLogger(__name__)

Counters = dict[str, float]
NAME = "scaleprof-sampler"
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
        source = gpu_counters(device)
        if source is not None:
            self._sources = [*self._sources, source]
        return source is not None

    def _sample(self) -> None:
        began = time.thread_time_ns()
        counters: Counters = {}
        now = time.perf_counter_ns()
        for source in self._sources:
            with self._guard.on(_MISSING):  # a GPU that is lost must not cost the counters of the process
                counters |= source()
        if counters:
            self._on_sample(now, counters)
        self.cpu_ns += time.thread_time_ns() - began

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._ended.set()
        if self.is_alive():
            self.join(timeout=5)


def process_counters() -> Callable[[], Counters] | None:
    """Counters of this process and its host from psutil; None where psutil is missing."""
    try:
        import psutil
    except ImportError:
        return None
    process = psutil.Process()

    def read() -> Counters:
        with process.oneshot():
            times, memory, threads = process.cpu_times(), process.memory_info(), process.num_threads()
        host, network = psutil.cpu_times(), psutil.net_io_counters()
        counters = {
            "rss_bytes": float(memory.rss),
            "cpu_user_s": times.user,
            "cpu_system_s": times.system,
            "threads": float(threads),
            "host_cpu_idle_s": host.idle,
        }
        if network is not None:
            counters |= {"net_sent_bytes": float(network.bytes_sent), "net_received_bytes": float(network.bytes_recv)}
        return counters

    return read


_THROTTLED = 0x4 | 0x8 | 0x20 | 0x40 | 0x80  # power cap, hardware slowdown, software and hardware thermal, power brake


def gpu_counters(device: int) -> Callable[[], Counters] | None:
    """Counters of this rank's GPU from NVML; None where there is no driver or binding."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = _handle(pynvml, device)
    except (
        pynvml.NVMLError,
        OSError,
        AttributeError,
        RuntimeError,
    ) as error:  # the driver, its library, the binding, CUDA
        log.debug("no NVML: %s", error)
        return None
    readers: dict[str, Callable[[], float]] = {
        "gpu_util_percent": lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        "gpu_memory_util_percent": lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).memory,
        "gpu_memory_bytes": lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used,
        "gpu_sm_clock_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
        "gpu_power_w": lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
        "gpu_energy_j": lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3,
        "gpu_temperature_c": lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        "gpu_throttled": lambda: float(bool(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle) & _THROTTLED)),
    }

    def read() -> Counters:
        counters: Counters = {}
        for name in list(readers):
            try:
                counters[name] = float(readers[name]())
            except (pynvml.NVMLError, AttributeError):
                del readers[
                    name
                ]  # this GPU or this binding does not have the counter: it will not have it next time either
        return counters

    return read


def _handle(pynvml: Any, device: int) -> Any:
    """By UUID: CUDA's numbers follow CUDA_VISIBLE_DEVICES, NVML's do not."""
    import torch

    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
