"""What the machine did meanwhile: sampled counters of process, host and GPU."""

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.base import Analysis
from scaleprof.results import Axis, Chart, Layer, Result, Table
from scaleprof.trace import Trace

MOST_POINTS = 300  # per rank and counter in a chart


def hardware(trace: Trace) -> Table:
    """One row per sample: time in ns and every counter that exists, rates made from counters that only grow."""
    time_ns = trace.samples.time_ns
    columns: dict[str, NDArray[np.generic]] = {"time_ns": time_ns}
    for name, values in trace.samples.values.items():
        columns |= _as_rate(name, values, time_ns)
    return Table(columns)


_RATES = {
    "cpu_user_s": ("cpu_user_cores", 1.0),
    "cpu_system_s": ("cpu_system_cores", 1.0),
    "net_sent_bytes": ("net_sent_mb_per_s", 1e-6),
    "net_received_bytes": ("net_received_mb_per_s", 1e-6),
    "gpu_energy_j": ("gpu_mean_power_w", 1.0),
}


def _as_rate(name: str, values: NDArray[np.float64], time_ns: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    if name not in _RATES:
        return {name: values}
    label, factor = _RATES[name]
    rate = np.full(len(values), np.nan)
    if len(values) > 1:
        seconds = np.maximum(np.diff(time_ns), 1) / 1e9
        rate[1:] = np.diff(values) * factor / seconds
    return {label: rate}


def conclude(view: RunView, options: None) -> Result | None:
    """Means of every counter by rank, and the picture over time of those that move."""
    tables = {rank: table for rank, table in view.fact("hardware").items() if len(table)}
    if not tables:
        return None
    start = min(int(table["time_ns"][0]) for table in tables.values())
    names = list(dict.fromkeys(name for table in tables.values() for name in table.columns if name != "time_ns"))
    charts = [chart for name in names if (chart := _chart(name, tables, start)) is not None]
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
        "hardware", "Hardware", headline, tables={"hardware": Table.of_rows(columns, rows)}, charts=tuple(charts[:6])
    )


def _chart(name: str, tables: dict[int, Table], start: int) -> Chart | None:
    layers = []
    means = []
    for rank, table in list(tables.items())[:8]:
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
    words = name.replace("_", " ")
    return Chart(
        id=f"hardware.{name}",
        kind="lines",
        title=f"{words}: {min(means):.3g} to {max(means):.3g} on average by rank"
        if len(means) > 1
        else f"{words}: {means[0]:.3g} on average",
        subtitle="Sampled in the background; counters that only grow are shown as rates.",
        x=Axis("time since the first sample", "s"),
        y=Axis(words, from_zero=True),
        layers=tuple(layers),
    )


HARDWARE = Analysis("hardware", {"hardware": hardware}, conclude)
