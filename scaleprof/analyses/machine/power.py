"""What the GPUs of a run draw: the mean power of each over the steady steps, a GPU that several ranks share counted once."""

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import steady_steps
from scaleprof.results import Table
from scaleprof.trace import Trace

Floats = NDArray[np.float64]

ENERGY, POWER = "gpu_energy_j", "gpu_power_w"
LEAST_COVERED = 0.5
"""Share of the steady steps that must lie between two samples: of fewer the mean power says little."""
SLACK_S = 0.25
"""Two counters that are never further apart than what a GPU takes in this time are one counter: it is read at different moments."""


def power(trace: Trace) -> Table:
    """One row per sample: time in ns, energy so far in J and power in W, NaN where the one or the other was not sampled."""
    time_ns, values = trace.samples.time_ns, trace.samples.values
    absent = np.full(len(time_ns), np.nan)
    return Table({"time_ns": time_ns, "energy_j": values.get(ENERGY, absent), "power_w": values.get(POWER, absent)})


def drawn_w(view: RunView) -> float | None:
    """Watts of all GPUs of the run together over its steady steps; None where those of a rank are not known."""
    ranks = gpus_of(view)
    watts = [mean_power_w(view, sharing[0]) for sharing in ranks]
    known = [value for value in watts if value is not None]
    complete = sum(len(sharing) for sharing in ranks) == view.info.world_size
    return sum(known) if complete and len(known) == len(watts) else None


def gpus_of(view: RunView) -> list[list[int]]:
    """The ranks that were read, those together whose GPU is the same: of one host, with the same energy counter."""
    found: list[list[int]] = []
    for rank in view.ranks:
        same = next((ranks for ranks in found if _is_same(view, ranks[0], rank)), None)
        if same is None:
            found.append([rank])
        else:
            same.append(rank)
    return found


def _is_same(view: RunView, one: int, other: int) -> bool:
    if view.ranks[one].host != view.ranks[other].host:
        return False
    (times, energy), (other_times, other_energy) = (_known(view, rank, "energy_j") for rank in (one, other))
    if len(times) < 2 or len(other_times) < 2:
        return False
    together = (other_times >= times[0]) & (other_times <= times[-1])
    apart = np.abs(np.interp(other_times[together], times, energy) - other_energy[together])
    most_w = float(np.max(np.diff(energy) / np.diff(times)))
    return bool(len(apart)) and float(apart.max()) <= most_w * SLACK_S


def mean_power_w(view: RunView, rank: int) -> float | None:
    """Mean power of a rank's GPU over the steady steps; None where less than half of them lies between samples.

    Between two samples it is what the energy counter grew by over the time; where there is no counter, the mean of both powers.
    """
    times, energy = _known(view, rank, "energy_j")
    if len(times) > 1:
        watts = np.diff(energy) / np.diff(times)
    else:
        times, sampled = _known(view, rank, "power_w")
        watts = (sampled[1:] + sampled[:-1]) / 2
    if len(times) < 2 or float(watts.min()) < 0:  # a counter that was set back
        return None
    edges, before = _steady_time(view, rank)
    if not len(edges):
        return None
    inside = np.diff(np.interp(times, edges, before))
    covered = float(inside.sum())
    return float(watts @ inside) / covered if covered >= LEAST_COVERED * before[-1] and covered > 0 else None


def _known(view: RunView, rank: int, column: str) -> tuple[Floats, Floats]:
    """Times in s and values of the samples that have this counter."""
    table = view.fact("power").get(rank)
    if table is None or not len(table):
        return np.zeros(0), np.zeros(0)
    values = np.asarray(table[column], dtype=np.float64)
    times = np.asarray(table["time_ns"], dtype=np.float64) / 1e9
    known = np.isfinite(values) & np.concatenate(([True], np.diff(times) > 0))
    return times[known], values[known]


def _steady_time(view: RunView, rank: int) -> tuple[Floats, Floats]:
    """Starts and ends of a rank's steady steps in s, and how much of them lies before each."""
    table = view.fact("steps").get(rank)
    if table is None:
        return np.zeros(0), np.zeros(0)
    chosen = np.isin(table["step"], steady_steps(view))
    start = np.asarray(table["start_ns"], dtype=np.float64)[chosen] / 1e9
    end = start + np.asarray(table["time_ns"], dtype=np.float64)[chosen] / 1e9
    end[:-1] = np.minimum(end[:-1], start[1:])  # the device may finish a step after the host has begun the next
    edges = np.stack((start, end), axis=1).ravel()
    lasted = np.stack((np.zeros(len(start)), end - start), axis=1).ravel()
    return edges, np.cumsum(lasted)
