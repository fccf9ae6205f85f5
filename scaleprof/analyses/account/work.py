"""What was computed in each step, by class of kernels: the raw material of compute scalability (`method` 4.5)."""

from collections.abc import Sequence

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.account.account import activities_of, leaf_operators
from scaleprof.analyses.account.time import leaves_of
from scaleprof.models.efficiency import Work
from scaleprof.results import Table
from scaleprof.trace import Kind, Trace


def work(trace: Trace) -> Table:
    """One row per profiled step and name of a kernel (without a device: of a leaf operator, or a span of compute): how many, and summed ns.

    Empty where compute is known by subtraction only.
    """
    events = trace.events
    rows = trace.kinds == Kind.COMPUTE
    activities = activities_of(trace)
    if trace.has_device:
        rows &= trace.on_device
    elif activities and activities[0].method == "operators":
        rows |= leaf_operators(trace)
    rows &= events.step >= 0
    size = max(len(trace.names.text), 1)
    key, place = np.unique(events.step[rows].astype(np.int64) * size + events.name[rows], return_inverse=True)
    total = np.zeros(len(key), dtype=np.int64)
    np.add.at(total, place, events.dur_ns[rows])
    return Table(
        {
            "step": trace.steps.index[key // size],
            "name": [trace.names.text[name] for name in (key % size).tolist()],
            "count": np.bincount(place, minlength=len(key)),
            "total_ns": total,
        }
    )


def work_per_sample(views: Sequence[RunView], samples: Sequence[float]) -> Work | None:
    """What one sample of one rank costs, over all repeats of a size, in ns; `samples` are a rank's in a step, by repeat. None without an account."""
    useful = summed = taken = 0.0
    classes: dict[str, tuple[float, float]] = {}
    for view, local in zip(views, samples, strict=True):
        leaves = leaves_of(view)
        if leaves is None:
            return None
        useful += leaves.by_leaf_ns["compute"]
        taken += local * len(leaves.rows)
        wanted = np.unique(leaves.rows["step"])
        for table in view.fact("work").values():
            keep = np.isin(table["step"], wanted)
            # A loop over classes of kernels, not events.
            for name, count, total, kept in zip(
                table["name"], table["count"].tolist(), table["total_ns"].tolist(), keep.tolist(), strict=True
            ):
                if kept:
                    many, long = classes.get(name, (0.0, 0.0))
                    classes[name] = (many + count, long + total)
                    summed += total
    per_sample = {name: (count / taken, total / taken) for name, (count, total) in classes.items()}
    flop = [_flop(view) for view in views]
    known = None if None in flop else sum(value for value in flop if value is not None) / taken
    return Work(useful / taken, summed / taken, per_sample, known)


def _flop(view: RunView) -> float | None:
    """Floating-point operations of the accounted steps of all ranks; None where an operator, or a whole step of a rank, was not counted."""
    leaves = leaves_of(view)
    if leaves is None:
        return None
    total = 0
    for rank in np.unique(leaves.rows["rank"]).tolist():
        steps, table = leaves.rows["step"][leaves.rows["rank"] == rank], view.fact("flops").get(rank)
        if table is None or not np.isin(steps, table["step"]).all():
            return None
        here = np.isin(table["step"], steps)
        if np.asarray(table["unknown"])[here].any():
            return None
        total += int(np.asarray(table["flops"])[here].sum())
    return float(total) if total else None
