"""What the machine did meanwhile: sampled counters of process, host and GPU."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.base import Analysis, percent
from scaleprof.results import Axis, Chart, Layer, Result, Table
from scaleprof.trace import Trace

MOST_POINTS = 300  # per rank and counter in a chart
MOST_RANKS = 8  # lines in a chart
MOST_CHARTS = 8


@dataclass(frozen=True)
class Counter:
    """How a sampled counter is shown: its name in the tables, in words, its unit, and how it is made."""

    name: str
    words: str
    unit: str
    factor: float = 1.0
    is_rate: bool = False
    """The sampled value only grows: what is shown is its change by second."""


_COUNTERS = {
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
        counter = _COUNTERS.get(name)
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
    """Means of every counter by rank, and the picture over time of those that move."""
    tables = {rank: table for rank, table in view.fact("hardware").items() if len(table)}
    if not tables:
        return None
    start = min(int(table["time_ns"][0]) for table in tables.values())
    names = list(dict.fromkeys(name for table in tables.values() for name in table.columns if name != "time_ns"))
    drawn = {name: chart for name in names if (chart := _chart(name, tables, start)) is not None}
    kept = sorted(drawn, key=lambda name: not name.startswith("gpu_"))[:MOST_CHARTS]  # of too many, those of the GPU
    rows = []
    for rank, table in tables.items():
        for name in (name for name in names if name in table.columns):
            known = table[name][np.isfinite(table[name])]
            if len(known):
                rows.append([rank, name, float(known.mean()), float(known.min()), float(known.max())])
    columns = ("rank", "counter", "mean", "min", "max")
    has_gpu = any(name.startswith("gpu_") for name in names)
    headline = f"{len(names)} counters sampled on {len(tables)} ranks" + ("" if has_gpu else "; no GPU counters here")
    return Result(
        "hardware",
        "Hardware",
        headline,
        tables={"hardware": Table.of_rows(columns, rows)},
        charts=tuple(chart for name, chart in drawn.items() if name in kept),
    )


def _chart(name: str, tables: dict[int, Table], start: int) -> Chart | None:
    layers = []
    means = []
    for rank, table in list(tables.items())[:MOST_RANKS]:
        if name not in table.columns:
            continue
        known = np.isfinite(table[name])
        if known.sum() < 3:
            continue
        thin = max(int(known.sum()) // MOST_POINTS, 1)
        seconds = (np.asarray(table["time_ns"])[known][::thin] - start) / 1e9
        values = np.asarray(table[name])[known][::thin]
        means.append(float(values.mean()))
        layers.append(Layer(f"rank {rank}", seconds.tolist(), values.tolist()))
    if not layers or not any(max(layer.y) > min(layer.y) for layer in layers):
        return None
    counter = next(
        (one for one in (*_COUNTERS.values(), *_THROTTLED.values()) if one.name == name),
        Counter(name, name.replace("_", " "), ""),
    )
    return Chart(
        id=f"hardware.{name}",
        kind="lines",
        title=f"{counter.words[:1].upper()}{counter.words[1:]}: {_on_average(means, counter.unit)}",
        subtitle="Sampled in the background; counters that only grow are shown as rates."
        + (f" The first {MOST_RANKS} of {len(tables)} ranks." if len(tables) > MOST_RANKS else ""),
        x=Axis("time since the first sample", "s"),
        y=Axis(counter.words, counter.unit, from_zero=True),
        layers=tuple(layers),
    )


def _on_average(means: list[float], unit: str) -> str:
    """`279 to 281 MB, on average by rank`"""
    low, high = min(means), max(means)
    if unit == "share":
        same, values = percent(low) == percent(high), f"{percent(low)} to {percent(high)}"
        return f"{percent(low)} on average" if same else f"{values}, on average by rank"
    shown = [f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" for value in (low, high)]
    if shown[0] == shown[1]:
        return f"{shown[0]} {unit}".strip() + " on average"
    return f"{shown[0]} to {shown[1]} {unit}".strip() + ", on average by rank"


HARDWARE = Analysis("hardware", {"hardware": hardware}, conclude)
