"""The efficiency tree of one run: factors that multiply out to its parallel efficiency (`method` 4.2, 4.3)."""

from collections.abc import Mapping
from math import prod

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.account.time import NEEDS as TIME_NEEDS
from scaleprof.analyses.account.time import Leaves, leaves_of
from scaleprof.analyses.account.work import work
from scaleprof.analyses.base import Analysis, many, percent
from scaleprof.models.efficiency import Balance, balance, factors, talp
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table

LABELS = {
    "wait": "Wait efficiency",
    "pipeline": "Pipeline efficiency",
    "transfer": "Transfer efficiency",
    "untold": "Communication not told apart",
    "memory": "Memory efficiency",
    "orchestration": "Orchestration efficiency",
}
WHY = {
    "wait": "waiting for slow ranks",
    "pipeline": "waiting in the pipeline",
    "transfer": "bytes on the wire",
    "untold": "communication",
    "memory": "memory copies",
    "orchestration": "a device without work",
}
ALWAYS = ("wait", "transfer", "memory", "orchestration")
HOW = (
    "Parallel efficiency is compute over the step. Each factor takes one more class in: wait = compute / (compute + waiting), transfer = "
    "(compute + waiting) / (compute + waiting + transfer), then memory copies and idle; the product is exact. Load balance is a part of waiting: "
    "mean over longest compute, step by step. POP methodology, with communication kernels counted as communication."
)


def conclude(view: RunView, options: None) -> Result | None:
    """The factors of one run."""
    leaves = leaves_of(view)
    found = factors(leaves.by_leaf_ns) if leaves is not None else None
    if leaves is None or found is None:
        return None
    parallel = prod(found.values())
    shown = {name: value for name, value in found.items() if name in ALWAYS or value < 1}
    metrics = [share_of("efficiency.parallel", "Parallel efficiency", parallel)]
    metrics += [share_of(f"efficiency.{name}", LABELS[name], value) for name, value in shown.items()]
    even = balance(useful_of(leaves))
    if even is not None and view.info.world_size > 1:
        metrics += [
            share_of("balance.load", "Load balance", even.load, "mean over longest compute, step by step"),
            share_of("balance.persistent", "Persistent balance", even.persistent, "what ranks differ by in sum"),
            share_of("balance.transient", "Transient balance", even.transient, "what they differ by from step to step"),
        ]
    worst = min(shown, key=lambda name: shown[name])
    headline = f"{percent(parallel)} of the time of all ranks is compute"
    if shown[worst] < 0.99:
        headline += f"; the weakest factor is {LABELS[worst].lower()} with {percent(shown[worst])} ({WHY[worst]})"
    return Result(
        name="efficiency",
        title="Efficiency tree",
        headline=headline,
        metrics=tuple(metrics),
        tables={"efficiency": _tree_table(parallel, shown, even, found), "talp": _talp_table(leaves)},
        charts=(_chart_of_run(view, headline, parallel, shown),),
        caveats=tuple(_caveats(found)),
    )


def share_of(id: str, label: str, value: float, note: str = "") -> Metric:
    return Metric(id, label, value, "share", note=note, better="higher")


def useful_of(leaves: Leaves) -> np.ndarray:
    """Compute by rank and step, for the steps that every rank has."""
    ranks, steps = np.unique(leaves.rows["rank"]), np.unique(leaves.rows["step"])
    table = np.full((len(ranks), len(steps)), np.nan)
    table[np.searchsorted(ranks, leaves.rows["rank"]), np.searchsorted(steps, leaves.rows["step"])] = leaves.rows[
        "compute_ns"
    ]
    whole: np.ndarray = table[:, ~np.isnan(table).any(axis=0)]
    return whole


def _tree_table(parallel: float, shown: Mapping[str, float], even: Balance | None, found: Mapping[str, float]) -> Table:
    """The tree by row, children below what they multiply to."""
    rows: list[list[object]] = [["Parallel efficiency", 0, parallel]]
    for name, value in shown.items():
        rows.append([LABELS[name], 1, value])
        if name == "wait" and even is not None:
            rows.append(["Load balance", 2, even.load])
            rows.append(["Persistent balance", 3, even.persistent])
            rows.append(["Transient balance", 3, even.transient])
            rows.append(["Serialisation", 2, found["wait"] * found["pipeline"] / even.load])
    return Table.of_rows(("factor", "depth", "efficiency"), rows)


def _talp_table(leaves: Leaves) -> Table:
    """The same run by TALP's definitions, for people who have its numbers."""
    ranks = np.unique(leaves.rows["rank"])
    sums = {
        name: np.array([leaves.rows[f"{name}_ns"][leaves.rows["rank"] == rank].sum() for rank in ranks])
        for name in ("window", "compute", "exposed_comm", "exposed_memory")
    }
    found = talp(
        (sums["compute"] + sums["exposed_comm"]).astype(np.float64),
        sums["exposed_memory"].astype(np.float64),
        float(sums["window"].mean()),
    )
    values = [] if found is None else [found.parallel, found.load_balance, found.communication, found.orchestration]
    names = (
        "Device parallel efficiency",
        "Device load balance",
        "Device communication efficiency",
        "Device orchestration efficiency",
    )
    return Table.of_rows(("factor", "efficiency"), [list(row) for row in zip(names, values, strict=False)])


def _chart_of_run(view: RunView, title: str, parallel: float, shown: Mapping[str, float]) -> Chart:
    names = ["Parallel efficiency", *(LABELS[name] for name in shown)]
    return Chart(
        id="efficiency.tree",
        kind="bars",
        title=title,
        subtitle=f"Factors of {many(view.info.world_size, 'rank')}; the first is the product of the others.",
        x=Axis("", scale="category"),
        y=Axis("efficiency", "share", from_zero=True),
        layers=(Layer("efficiency", names, [parallel, *shown.values()]),),
        how=HOW,
    )


def _caveats(found: Mapping[str, float]) -> list[str]:
    if found["untold"] < 1:
        return [
            "part of the exposed communication is not told apart: it stands as a factor of its own beside wait and transfer"
        ]
    return []


EFFICIENCY = Analysis("efficiency", {**TIME_NEEDS, "work": work}, conclude)
