"""Counters, on a GPU that is a Python object with NVML's names."""

import sys
import time
import types

import pytest

from scaleprof.collect import sampler
from scaleprof.collect.guard import Guard
from scaleprof.collect.sampler import Sampler, gpu_counters, process_counters


class NVMLError(Exception):
    pass


def fake_nvml(**missing: bool) -> types.ModuleType:
    """A binding that answers like NVML; `missing` names functions this GPU does not support."""
    module = types.ModuleType("pynvml")

    def answer(name: str, value: object) -> object:
        def function(*_: object) -> object:
            if missing.get(name):
                raise NVMLError("not supported")
            return value

        return function

    values = {
        "nvmlInit": None,
        "nvmlDeviceGetHandleByUUID": "handle",
        "nvmlDeviceGetUtilizationRates": types.SimpleNamespace(gpu=97, memory=40),
        "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(used=5_000_000_000),
        "nvmlDeviceGetClockInfo": 1755,
        "nvmlDeviceGetPowerUsage": 412_500,
        "nvmlDeviceGetTotalEnergyConsumption": 7_000,
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetCurrentClocksEventReasons": 0x40,
    }
    for name, value in values.items():
        setattr(module, name, answer(name, value))
    module.NVMLError, module.NVML_CLOCK_SM, module.NVML_TEMPERATURE_GPU = NVMLError, 1, 0
    return module


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> object:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="1234"))

    def install(module: types.ModuleType) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", module)

    return install


def test_gpu_counters_are_in_plain_units(with_gpu) -> None:
    with_gpu(fake_nvml())
    read = gpu_counters(0)
    assert read is not None
    assert read() == {
        "gpu_util_percent": 97,
        "gpu_memory_util_percent": 40,
        "gpu_memory_bytes": 5e9,
        "gpu_sm_clock_mhz": 1755,
        "gpu_power_w": 412.5,
        "gpu_energy_j": 7,
        "gpu_temperature_c": 61,
        "gpu_throttled": 1,
    }


def test_what_a_gpu_does_not_support_is_absent_not_zero(with_gpu) -> None:
    with_gpu(fake_nvml(nvmlDeviceGetTotalEnergyConsumption=True, nvmlDeviceGetTemperature=True))
    read = gpu_counters(0)
    assert read is not None
    assert {"gpu_energy_j", "gpu_temperature_c"} & set(read()) == set()


def test_no_driver_no_binding_and_no_gpu_give_no_counters(with_gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu(fake_nvml(nvmlInit=True))
    assert gpu_counters(0) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_counters(0) is None


def test_a_driver_that_cannot_be_loaded_gives_no_counters(with_gpu) -> None:
    module = fake_nvml()

    def no_library() -> None:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    module.nvmlInit = no_library  # type: ignore[attr-defined]
    with_gpu(module)
    assert gpu_counters(0) is None


def test_a_counter_that_this_binding_lacks_costs_itself(with_gpu) -> None:
    module = fake_nvml()
    del module.nvmlDeviceGetCurrentClocksEventReasons
    with_gpu(module)
    read = gpu_counters(0)
    assert read is not None
    assert "gpu_throttled" not in read()
    assert len(read()) == 7


def test_a_gpu_that_is_lost_does_not_cost_the_counters_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> dict[str, float]:
        raise RuntimeError("GPU is lost")

    monkeypatch.setattr(sampler, "gpu_counters", lambda device: lost)
    guard, seen = Guard(), list[dict[str, float]]()
    thread = Sampler(100, lambda now, counters: seen.append(counters), guard)
    assert thread.watch_gpu(0)
    thread.start()
    deadline = time.monotonic() + 5
    while len(seen) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    thread.stop()
    assert seen[2]["rss_bytes"] > 1e6
    assert "GPU is lost" in guard.warnings[0]


def test_the_process_is_counted_everywhere() -> None:
    read = process_counters()
    assert read is not None
    counters = read()
    assert counters["rss_bytes"] > 1e6
    assert counters["cpu_user_s"] > 0
