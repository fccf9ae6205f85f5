"""Counters of a rank's GPU from NVML. A counter that this GPU, driver or binding does not have is absent, never zero.

What only grows (energy, bytes) is kept as it is: the analysis makes rates of it, exact however seldom it is sampled. PCIe and NVLink bytes
come from one call; `nvmlDeviceGetPcieThroughput` is never used, it measures for 20 ms.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

Counters = dict[str, float]
PATIENCE = 3
"""Times in a row that a counter may fail for a reason that could pass."""
_ALL_LINKS = 0xFFFFFFFF
_KIB = 1024.0
_FIELDS = {
    "gpu_nvlink_sent_bytes": ((138, _ALL_LINKS), _KIB),
    "gpu_nvlink_received_bytes": ((139, _ALL_LINKS), _KIB),
    "gpu_pcie_sent_bytes": ((197, 0), 1.0),
    "gpu_pcie_received_bytes": ((198, 0), 1.0),
}
"""NVML's field and its scope, and how many bytes one is: NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_*, NVML_FI_DEV_PCIE_COUNT_*_BYTES."""
_VALUE_OF_TYPE = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
_LASTING = ("NotSupported", "FunctionNotFound", "NoPermission", "ArgumentVersionMismatch", "Deprecated")
"""Ends of the names of NVML's errors that will be the same next time."""


def gpu_counters(uuid: str, on_loss: Callable[[str, str], None]) -> Callable[[], Counters] | None:
    """What reads the counters of the GPU (or part of one) with this UUID; None where there is no driver or binding.

    `on_loss` hears which counter ended, and why, where that is no matter of what this GPU can do.
    """
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        device = _device(pynvml, uuid)
    except (pynvml.NVMLError, OSError, AttributeError) as error:  # the driver, its library, the binding
        log.debug("no NVML: %s", error)
        return None
    readers = _readers(pynvml, device)
    parts = [_Part(name, reader) for name, reader in readers.items()]
    return lambda: _read(pynvml, parts, on_loss)


def uuid_of(device: int) -> str:
    """CUDA's numbers follow CUDA_VISIBLE_DEVICES, NVML's do not: the UUID is the same in both."""
    import torch

    return str(torch.cuda.get_device_properties(device).uuid)


@dataclass
class _Part:
    """One call to NVML, and how often it failed in a row."""

    name: str
    read: Callable[[], Counters]
    failures: int = 0


@dataclass(frozen=True)
class _Device:
    handle: Any
    whole: Any
    """Of an instance (MIG) the GPU that it is a part of: clocks and temperatures belong to that. Else the same."""

    @property
    def is_part(self) -> bool:
        return self.handle is not self.whole


def _device(pynvml: Any, uuid: str) -> _Device:
    """Torch gives the digits without the word in front: GPU, or MIG for a part of one."""
    names = [uuid] if uuid.startswith(("GPU-", "MIG-")) else [f"GPU-{uuid}", f"MIG-{uuid}"]
    for name in names[:-1]:
        try:
            return _Device(*[pynvml.nvmlDeviceGetHandleByUUID(name)] * 2)
        except pynvml.NVMLError as error:
            log.debug("%s: %s", name, error)
    handle = pynvml.nvmlDeviceGetHandleByUUID(names[-1])
    if names[-1].startswith("MIG-"):
        return _Device(handle, pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle))
    return _Device(handle, handle)


def _readers(pynvml: Any, device: _Device) -> dict[str, Callable[[], Counters]]:
    """What to call, each under a name for people. Energy and bytes of a whole GPU are left out for a part of one: others share them."""
    handle, whole = device.handle, device.whole

    def utilization() -> Counters:
        rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
        return {"gpu_util_percent": rates.gpu, "gpu_memory_util_percent": rates.memory}

    def clock(name: str, kind: int) -> Callable[[], Counters]:
        return lambda: {name: pynvml.nvmlDeviceGetClockInfo(whole, kind)}

    readers: dict[str, Callable[[], Counters]] = {
        "utilization": utilization,
        "memory": lambda: {"gpu_memory_bytes": pynvml.nvmlDeviceGetMemoryInfo(handle).used},
        "SM clock": clock("gpu_sm_clock_mhz", pynvml.NVML_CLOCK_SM),
        "memory clock": clock("gpu_memory_clock_mhz", pynvml.NVML_CLOCK_MEM),
        "throttle reasons": _throttle_reasons(pynvml, whole),
        "temperature": lambda: {
            "gpu_temperature_c": pynvml.nvmlDeviceGetTemperature(whole, pynvml.NVML_TEMPERATURE_GPU)
        },
    }
    if not device.is_part:
        readers |= {
            "power": lambda: {"gpu_power_w": pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3},
            "energy": lambda: {"gpu_energy_j": pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3},
            "link bytes": _link_bytes(pynvml, handle),
        }
    return readers


def _throttle_reasons(pynvml: Any, handle: Any) -> Callable[[], Counters]:
    """Bits; the call has a new name since driver 535 and keeps its old one: the first that works is used from then on."""
    names = ["nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"]

    def read() -> Counters:
        while True:
            try:
                return {"gpu_throttle_reasons": getattr(pynvml, names[0])(handle)}
            except (pynvml.NVMLError, AttributeError) as error:
                if len(names) == 1 or not _is_lasting(error):
                    raise
                del names[0]

    return read


def _link_bytes(pynvml: Any, handle: Any) -> Callable[[], Counters]:
    """NVLink and PCIe bytes so far, in one call; a field that this GPU does not have is not asked for again."""
    fields = dict(_FIELDS)

    def read() -> Counters:
        asked = list(fields.items())
        answers = pynvml.nvmlDeviceGetFieldValues(handle, [field for _, (field, _) in asked]) if asked else ()
        counters: Counters = {}
        for (name, (_, unit)), answer in zip(asked, answers, strict=False):
            if answer.nvmlReturn == pynvml.NVML_SUCCESS:
                counters[name] = getattr(answer.value, _VALUE_OF_TYPE.get(answer.valueType, "ullVal")) * unit
            elif answer.nvmlReturn in (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_INVALID_ARGUMENT):
                del fields[name]
        return counters

    return read


def _read(pynvml: Any, parts: list[_Part], on_loss: Callable[[str, str], None]) -> Counters:
    counters: Counters = {}
    for part in list(parts):
        try:
            counters |= {name: float(value) for name, value in part.read().items()}
            part.failures = 0
        except (pynvml.NVMLError, AttributeError) as error:
            part.failures += 1
            lasting = _is_lasting(error)
            if lasting or part.failures >= PATIENCE:
                parts.remove(part)
            if not lasting and part.failures == PATIENCE:
                on_loss("a counter of the GPU ended", f"{part.name}: {error}")
    return counters


def _is_lasting(error: Exception) -> bool:
    return isinstance(error, AttributeError) or type(error).__name__.endswith(_LASTING)
