"""Counters, on a GPU that is a Python object with NVML's names."""

import sys
import types

import pytest

from scaleprof.collect.sampler import gpu_counters, process_counters


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


def test_the_process_is_counted_everywhere() -> None:
    read = process_counters()
    assert read is not None
    counters = read()
    assert counters["rss_bytes"] > 1e6
    assert counters["cpu_user_s"] > 0
