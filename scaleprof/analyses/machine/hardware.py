"""What the machine did meanwhile: sampled counters of process, host and GPU."""

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import NEEDS
from scaleprof.analyses.base import Analysis, many, some
from scaleprof.analyses.machine.power import power
from scaleprof.analyses.machine.telemetry import Binned, Counter, binned, counter_chart, deviating
from scaleprof.results import Result, Table
from scaleprof.trace import Trace

MOST_CHARTS = 12

COUNTERS = {
    "rss_bytes": Counter("rss_mb", "memory of the process", "MB", 1e-6),
    "cpu_user_s": Counter("cpu_user_cores", "cores busy in the process (user)", "cores", 1.0, True),
    "cpu_system_s": Counter("cpu_system_cores", "cores busy in the process (system)", "cores", 1.0, True),
    "threads": Counter("threads", "threads of the process", ""),
    "host_memory_free_bytes": Counter("host_memory_free_mb", "memory free on the host", "MB", 1e-6),
    "host_cpu_idle_s": Counter("host_idle_cores", "cores without work on the host", "cores", 1.0, True),
    "net_sent_bytes": Counter("net_sent_mb_per_s", "network of the host, sent", "MB/s", 1e-6, True),
    "net_received_bytes": Counter("net_received_mb_per_s", "network of the host, received", "MB/s", 1e-6, True),
    "gpu_util_percent": Counter("gpu_util_share", "GPU utilisation", "share", 0.01),
    "gpu_memory_util_percent": Counter("gpu_memory_util_share", "GPU memory utilisation", "share", 0.01),
    "gpu_memory_bytes": Counter("gpu_memory_mb", "GPU memory in use", "MB", 1e-6),
    "gpu_sm_clock_mhz": Counter("gpu_sm_clock_mhz", "SM clock", "MHz"),
    "gpu_memory_clock_mhz": Counter("gpu_memory_clock_mhz", "GPU memory clock", "MHz"),
    "gpu_power_w": Counter("gpu_power_w", "GPU power", "W"),
    "gpu_energy_j": Counter("gpu_mean_power_w", "GPU power from its energy counter", "W", 1.0, True),
    "gpu_temperature_c": Counter("gpu_temperature_c", "GPU temperature", "°C"),
    "gpu_nvlink_sent_bytes": Counter("gpu_nvlink_sent_gb_per_s", "NVLink, sent", "GB/s", 1e-9, True),
    "gpu_nvlink_received_bytes": Counter("gpu_nvlink_received_gb_per_s", "NVLink, received", "GB/s", 1e-9, True),
    "gpu_pcie_sent_bytes": Counter("gpu_pcie_sent_gb_per_s", "PCIe, sent", "GB/s", 1e-9, True),
    "gpu_pcie_received_bytes": Counter("gpu_pcie_received_gb_per_s", "PCIe, received", "GB/s", 1e-9, True),
    "gpu_throttled": Counter("gpu_throttled_share", "GPU throttled", "share"),
}
"""What each sampled value means, by its name."""
_REASONS = "gpu_throttle_reasons"
_POWER_CAP, _HARDWARE, _THERMAL, _POWER_BRAKE = 0x4, 0x8, 0x20 | 0x40, 0x80
_THROTTLED = {
    _POWER_CAP | _HARDWARE | _THERMAL | _POWER_BRAKE: Counter("gpu_throttled_share", "GPU throttled", "share"),
    _POWER_CAP: Counter("gpu_power_capped_share", "GPU at its power cap", "share"),
    _THERMAL: Counter("gpu_too_hot_share", "GPU slowed down by heat", "share"),
    _POWER_BRAKE: Counter("gpu_power_brake_share", "GPU slowed down by its power supply", "share"),
}
"""Bits of NVML's reasons for low clocks that are a loss: 1 and 2 say that the GPU is idle, or that somebody set its clocks."""


def hardware(trace: Trace) -> Table:
    """One row per sample: time in ns and every counter that exists, rates made from counters that only grow."""
    time_ns = trace.samples.time_ns
    columns: dict[str, NDArray[np.generic]] = {"time_ns": time_ns}
    for name, values in trace.samples.values.items():
        if name == _REASONS:
            columns |= _reasons(values)
            continue
        counter = COUNTERS.get(name)
        columns[counter.name if counter else name] = _shown(values, time_ns, counter) if counter else values
    return Table(columns)


def _reasons(values: NDArray[np.float64]) -> dict[str, NDArray[np.generic]]:
    """1 where one of the bits is set, 0 where none is: always for all of them together, for each only where it ever was."""
    known = np.isfinite(values)
    bits = np.where(known, values, 0).astype(np.int64)
    columns: dict[str, NDArray[np.generic]] = {}
    for place, (mask, counter) in enumerate(_THROTTLED.items()):
        share = np.where(known, (bits & mask) != 0, np.nan)
        if place == 0 or np.nansum(share):
            columns[counter.name] = share
    return columns


def _shown(values: NDArray[np.float64], time_ns: NDArray[np.int64], counter: Counter) -> NDArray[np.float64]:
    if not counter.is_rate:
        return values * counter.factor
    rate = np.full(len(values), np.nan)
    if len(values) > 1:
        rate[1:] = np.diff(values) * counter.factor / (np.maximum(np.diff(time_ns), 1) / 1e9)
    return rate


def conclude(view: RunView, options: None) -> Result | None:
    """Means of every counter by rank, and the picture over time of those that move or differ."""
    tables = {rank: table for rank, table in view.fact("hardware").items() if len(table)}
    if not tables:
        return None
    start = min(int(table["time_ns"][0]) for table in tables.values())
    names = list(dict.fromkeys(name for table in tables.values() for name in table.columns if name != "time_ns"))
    drawn = {name: found for name in names if (found := _binned(name, tables, start)) is not None and found.moves}
    odd = {name: found.ranks[place] for name, found in drawn.items() if (place := deviating(found.means)) is not None}
    # Of too many, those in which a rank deviates, then those of the GPU.
    kept = sorted(drawn, key=lambda name: (name not in odd, not name.startswith("gpu_")))[:MOST_CHARTS]
    profiled = _profiled_s(view, start)
    rows = []
    for rank, table in tables.items():
        for name in (name for name in names if name in table.columns):
            known = table[name][np.isfinite(table[name])]
            if len(known):
                rows.append([rank, name, float(known.mean()), float(known.min()), float(known.max())])
    columns = ("rank", "counter", "mean", "min", "max")
    left_out = len(drawn) - len(kept)
    return Result(
        "hardware",
        "Hardware",
        _headline(names, len(tables), odd),
        tables={"hardware": Table.of_rows(columns, rows)},
        charts=tuple(counter_chart(_counter(name), drawn[name], profiled) for name in drawn if name in kept),
        caveats=(f"{many(left_out, 'more counter')} moved; their means are in the table `hardware`",)
        if left_out
        else (),
    )


def _headline(names: list[str], ranks: int, odd: dict[str, int]) -> str:
    text = f"{len(names)} counters sampled on {many(ranks, 'rank')}"
    if odd:
        worst = max(set(odd.values()), key=lambda rank: (list(odd.values()).count(rank), -rank))
        of_worst = [_counter(name).words for name, rank in odd.items() if rank == worst]
        return f"{text}; rank {worst} deviates from the others in {some(of_worst)}"
    return text if any(name.startswith("gpu_") for name in names) else f"{text}; no GPU counters here"


def _counter(name: str) -> Counter:
    every = (*COUNTERS.values(), *_THROTTLED.values())
    return next((one for one in every if one.name == name), Counter(name, name.replace("_", " "), ""))


def _binned(name: str, tables: dict[int, Table], start: int) -> Binned | None:
    samples = {rank: (table["time_ns"], table[name]) for rank, table in tables.items() if name in table.columns}
    return binned(samples, start)


def _profiled_s(view: RunView, start: int) -> tuple[float, float] | None:
    """From when to when steps were profiled, in seconds after the start; None where none was."""
    begun, ended = [], []
    for table in view.fact("steps").values():
        rows = np.asarray(table["profiled"], dtype=bool)
        if rows.any():
            begun.append(int(table["start_ns"][rows].min()))
            ended.append(int((table["start_ns"] + table["time_ns"])[rows].max()))
    return (max(min(begun) - start, 0) / 1e9, max(max(ended) - start, 0) / 1e9) if begun else None


HARDWARE = Analysis("hardware", {"hardware": hardware, "power": power, **NEEDS}, conclude)
