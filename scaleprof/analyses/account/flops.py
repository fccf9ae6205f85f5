"""How much a step computes: floating-point operations of one rank, counted from the operators that ran, and the rate that makes of it.

Counted are matrix products, convolutions and attention, as they ran: what activation checkpointing repeats counts again, a causal mask is not
deducted. Of operators that contain each other only the innermost counts: a distributed tensor's global product holds the local one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.account.account import NESTING_NS
from scaleprof.analyses.account.steps import NEEDS as STEP_NEEDS
from scaleprof.analyses.account.steps import steady_times_ms
from scaleprof.analyses.base import Analysis, many, percent
from scaleprof.intervals import Ints
from scaleprof.results import Metric, Result, Table
from scaleprof.trace import UNKNOWN, Trace

APART = 0.05
"""Where what the user stated and what was counted differ by more than this share, the report says so."""
_GRAPH_LAUNCH = "GraphLaunch"
"""In the name of the call that runs a recorded graph of kernels: no operator says what it computes."""
_MOST_NAMES = 6


def flops(trace: Trace) -> Table:
    """One row per profiled step and operator name: how many ran, their operations summed (FLOP), and for how many of them nothing says how many.

    Innermost operators on any thread, by the host's window of the step they start in; beside them launches of graphs, which hide operators.
    `devices` is how many of them this rank drove, at least one.
    """
    events, operations = trace.events, trace.operations
    inner = _innermost(trace)
    is_graph = np.array([_GRAPH_LAUNCH in text for text in trace.names.text], dtype=np.bool_)
    graphs = np.flatnonzero(is_graph[events.name]) if is_graph.any() else np.zeros(0, dtype=np.int64)
    row = np.concatenate((operations.row[inner], graphs))
    amount = np.concatenate((operations.flops[inner], np.full(len(graphs), UNKNOWN)))
    step = _step_of(trace, events.start_ns[row])
    row, amount, step = row[step >= 0], amount[step >= 0], step[step >= 0]
    size = len(trace.names.text)
    key, place = np.unique(step * size + events.name[row], return_inverse=True)
    total = np.zeros(len(key), dtype=np.int64)
    np.add.at(total, place, np.maximum(amount, 0))
    on_device = np.unique(trace.lanes.device[trace.lanes.device >= 0])
    return Table(
        {
            "step": trace.steps.index[key // max(size, 1)],
            "name": [trace.names.text[name] for name in (key % max(size, 1)).tolist()],
            "count": np.bincount(place, minlength=len(key)),
            "flops": total,
            "unknown": np.bincount(place[amount == UNKNOWN], minlength=len(key)),
            "devices": np.full(len(key), max(len(on_device), 1)),
        }
    )


def _innermost(trace: Trace) -> NDArray[np.bool_]:
    """Which of the operations contain no other: the next one on the same thread starts when they have ended."""
    events, rows = trace.events, trace.operations.row
    start, dur, lane = events.start_ns[rows], events.dur_ns[rows], events.lane[rows]
    order = np.lexsort((-dur, start, lane))
    start, end, lane = start[order], start[order] + dur[order], lane[order]
    encloses = np.zeros(len(rows), dtype=np.bool_)
    encloses[:-1] = (lane[1:] == lane[:-1]) & (start[1:] < end[:-1] - NESTING_NS)
    inner = np.ones(len(rows), dtype=np.bool_)
    inner[order[encloses]] = False
    return inner


def _step_of(trace: Trace, times: Ints) -> Ints:
    """The row of the profiled step whose host window holds each time, or -1. Where a whole trace is the step, it holds all."""
    steps = trace.steps
    if not len(steps):
        return np.full(len(times), -1)
    if trace.step_source == "whole trace":
        return np.zeros(len(times), dtype=np.int64)
    place = np.searchsorted(steps.host_start_ns, times, side="right") - 1
    inside = (place >= 0) & (times < steps.host_end_ns[place]) & steps.profiled[place]
    return np.where(inside, place, -1)


@dataclass(frozen=True)
class Counted:
    """The operations of one rank in the steps that were counted."""

    by_step: Ints
    """FLOP."""
    devices: int

    @property
    def mean(self) -> float:
        """FLOP of a step."""
        return float(self.by_step.mean())


def counted(table: Table) -> Counted | None:
    """The operations of one rank by step; None where nothing could be counted."""
    if not len(table) or not int(table["flops"].sum()):
        return None
    steps, place = np.unique(table["step"], return_inverse=True)
    by_step = np.zeros(len(steps), dtype=np.int64)
    np.add.at(by_step, place, table["flops"])
    return Counted(by_step, int(table["devices"][0]))


def conclude(view: RunView, options: None) -> Result | None:
    """Operations of a step and their rate, and what was not counted; None where neither operators nor the user say anything.

    What the user states goes before what was counted. The rate is over the mean time of the steady steps.
    """
    tables = view.fact("flops")
    found = {rank: of_rank for rank, table in tables.items() if (of_rank := counted(table)) is not None}
    measured = float(np.mean([of_rank.mean for of_rank in found.values()])) if found else None
    stated = view.info.flops_per_step
    value = measured if stated is None else stated
    if value is None:
        return None
    unknown = _unknown(tables)
    source = "stated by the user"
    if stated is None:
        source = f"from the operators of {many(len(found), 'rank')}" + (", at least" if unknown else "")
    metrics = [Metric("step.flops", "Operations of one rank in a step", value, "FLOP", note=source)]
    headline = f"A step of one rank is {_spoken(value)}, {source}"
    times = steady_times_ms(view)
    devices = max((of_rank.devices for of_rank in found.values()), default=1)
    if len(times):
        rate = _tflops(value / devices, float(times.mean()))
        metrics.append(Metric("step.flops_rate", "Rate of one device", rate, "TFLOP/s", better="higher"))
        headline += f": {_spoken(rate * 1e12)}/s on each device"
    return Result(
        name="flops",
        title="Floating-point operations",
        headline=headline,
        metrics=tuple(metrics),
        tables={"flops": _by_operator(found, tables), "flops_by_rank": _by_rank(found, view)} if found else {},
        caveats=tuple(_caveats(measured, stated, unknown)),
    )


def _tflops(flop: float, time_ms: float) -> float:
    return flop / (time_ms / 1e3) / 1e12


def _spoken(flop: float) -> str:
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if flop >= size:
            return f"{flop / size:.3g} {prefix}FLOP"
    return f"{flop:.3g} FLOP"


def _unknown(tables: Mapping[int, Table]) -> dict[str, int]:
    """Names of operators whose operations nothing tells, and how many of them ran in the counted steps of all ranks."""
    count: dict[str, int] = {}
    for table in tables.values():
        for name, unknown in zip(table["name"], table["unknown"].tolist(), strict=True):  # few rows: distinct names
            if unknown:
                count[name] = count.get(name, 0) + unknown
    return count


def _by_operator(found: Mapping[int, Counted], tables: Mapping[int, Table]) -> Table:
    """Operators by name, the largest first: means over the steps and ranks that were counted."""
    steps = sum(len(of_rank.by_step) for of_rank in found.values())
    sums: dict[str, list[int]] = {}
    for rank in found:
        table = tables[rank]
        numbers_of = zip(*(table[column].tolist() for column in ("count", "flops", "unknown")), strict=True)
        for name, numbers in zip(table["name"], numbers_of, strict=True):  # few rows: distinct names
            sums[name] = [have + more for have, more in zip(sums.get(name, [0, 0, 0]), numbers, strict=True)]
    total = sum(flop for _, flop, _ in sums.values())
    ordered = sorted(sums.items(), key=lambda item: (-item[1][1], item[0]))
    rows = [
        [name, count / steps, flop / steps / 1e9, flop / total, unknown / steps]
        for name, (count, flop, unknown) in ordered
    ]
    return Table.of_rows(("operator", "count", "work_gflop", "share", "not_counted"), rows)


def _by_rank(found: Mapping[int, Counted], view: RunView) -> Table:
    times = steady_times_ms(view)
    time_ms = float(times.mean()) if len(times) else None
    rows = [
        [
            rank,
            len(of_rank.by_step),
            of_rank.mean / 1e9,
            None if time_ms is None else _tflops(of_rank.mean / of_rank.devices, time_ms),
        ]
        for rank, of_rank in found.items()
    ]
    return Table.of_rows(("rank", "steps", "work_gflop", "rate_tflops"), rows)


def _caveats(measured: float | None, stated: float | None, unknown: Mapping[str, int]) -> list[str]:
    if measured is None:
        return []
    caveats = [
        "counted are matrix products, convolutions and attention as they ran, recomputation included and causal masks not deducted; "
        "elementwise operations, reductions and optimizers are not counted"
    ]
    if unknown:
        names = sorted(unknown, key=lambda name: (-unknown[name], name))
        shown = ", ".join(f"{name} ({unknown[name]:,})" for name in names[:_MOST_NAMES])
        more = f", ... ({len(names)} names in all)" if len(names) > _MOST_NAMES else ""
        caveats.append(
            f"not counted, because their inputs or what they run were not recorded: {shown}{more}; the operations are at least these"
        )
    if stated is not None and abs(measured - stated) > APART * stated:
        caveats.append(
            f"the user states {_spoken(stated)} a step, the operators of a rank add up to {_spoken(measured)} "
            f"({percent(measured / stated - 1)} apart)"
        )
    return caveats


FLOPS = Analysis("flops", {**STEP_NEEDS, "flops": flops}, conclude)
