"""What stragglers cost in a published table of operations: S, M_W and M_S of StragglerAnalysis, as sections of a report."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scaleprof.analyses.base import many, percent
from scaleprof.errors import InputError
from scaleprof.models.operation_graph import Name, Operation, operation_graph
from scaleprof.models.operation_whatif import Operations, Slowdown, slowdown
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table

HOW = (
    "The operations are replayed in the order in which they wait for one another. S: mean step time with the measured durations, without the pauses "
    "between operations, over that of an even job, in which every computation takes the mean of its type and every transfer or collective the "
    "median of its own, counted from the start of its last member. Of a stage, rank or type: the even job with only its operations as measured. "
    "M_W and M_S: share of the loss that goes where the worst 3 % of the ranks, or the last stage, become even "
    "(StragglerAnalysis, OSDI'25, arXiv 2505.05713)."
)

_SHOWN = 0.0005
"""A change that would be shown as zero."""


def operations_of(table: Table, about: Mapping[str, Any]) -> Operations:
    """The table as a grid of operations by step and data-parallel rank. InputError where cells of it are missing or double."""
    steps, step_of = np.unique(table["step"], return_inverse=True)
    replica, stage, number = (np.asarray(table[name]) for name in ("dp_rank", "stage", "seq_id"))
    replicas = int(replica.max()) + 1
    if replica.min() < 0 or stage.min() < 0:
        raise InputError("the table has ranks or stages below zero")
    names = list(zip(table["optype"], number.tolist(), stage.tolist(), strict=True))
    rows: dict[Name, int] = {name: row for row, name in enumerate(dict.fromkeys(names))}
    row = np.array([rows[name] for name in names])
    column = step_of * replicas + replica
    shape = (len(rows), len(steps) * replicas)
    filled = np.zeros(shape, dtype=np.int64)
    np.add.at(filled, (row, column), 1)
    if (filled != 1).any():
        place = tuple(int(at[0]) for at in np.nonzero(filled != 1))
        name, what = list(rows)[place[0]], "more than once" if filled[place] else "not at all"
        raise InputError(
            f"operation {'-'.join(map(str, name))} occurs {what} in step {steps[place[1] // replicas]} of data-parallel rank {place[1] % replicas}; "
            "every step and rank must hold the same operations once"
        )
    start, duration = np.asarray(table["start_ts"]), np.asarray(table["duration"])
    times = np.zeros((2, *shape), dtype=start.dtype)
    times[:, row, column] = start, duration
    end = start + duration
    first = np.flatnonzero((step_of == 0) & (replica == 0))
    chunk, whole = np.asarray(table["mc"]), np.asarray(table["gmc"])
    operations = [
        Operation(names[at], float(start[at]), float(end[at]), int(chunk[at]), int(whole[at])) for at in first
    ]
    graph = operation_graph(operations, replicas=replicas * int(about["dsp_size"]))
    ranks = dict(
        zip(zip(replica.tolist(), stage.tolist(), strict=True), np.asarray(table["rank"]).tolist(), strict=True)
    )
    return Operations(graph, tuple(rows), tuple(steps.tolist()), replicas, times[0], times[1], ranks)


def conclude(table: Table, about: Mapping[str, Any]) -> Result:
    """The section `stragglers` of such a table."""
    operations = operations_of(table, about)
    found = slowdown(operations)
    return Result(
        name="stragglers",
        title="What stragglers cost",
        headline=_headline(found),
        metrics=_metrics(found),
        tables=_tables(operations, found),
        charts=_charts(operations, found),
        caveats=_caveats(operations, found),
    )


def _headline(found: Slowdown) -> str:
    worst = max(found.by_stage, key=lambda one: found.by_stage[one])
    lost = found.factor - 1
    if lost <= 0.01:
        return f"An even job would be {percent(max(lost, 0.0))} faster a step: stragglers cost next to nothing"
    return (
        f"Uneven operations make a step {percent(lost)} longer than in an even job; stage {worst} alone makes it "
        f"{percent(found.by_stage[worst] - 1)} longer"
    )


def _metrics(found: Slowdown) -> tuple[Metric, ...]:
    ranks = ", ".join(map(str, found.worst_ranks))
    share = "of the loss, if {} were even"
    rank, stage = share.format(f"rank {ranks}"), share.format("the last stage")
    pauses = "measured step over the one without pauses"
    return (
        Metric("stragglers.slowdown", "Slowdown by stragglers (S)", found.factor, "x", note="over the even job", better="lower"),
        Metric("stragglers.worst_ranks_share", "Gone with the worst ranks (M_W)", found.worst_share, "share", note=rank),
        Metric("stragglers.last_stage_share", "Gone with the last stage (M_S)", found.last_stage_share, "share", note=stage),
        Metric("stragglers.delay_factor", "Pauses between operations", found.delays, "x", note=pauses, better="lower"),
        Metric("step.time_ms", "Step time (mean)", 1e3 * float(found.measured_s.mean()), "ms", better="lower"),
        Metric("stragglers.no_delay_ms", "Step without pauses", 1e3 * float(found.no_delay_s.mean()), "ms"),
        Metric("stragglers.even_ms", "Step of the even job", 1e3 * float(found.even_s.mean()), "ms"),
    )  # fmt: skip


def _tables(operations: Operations, found: Slowdown) -> dict[str, Table]:
    def worst_first(name: str, factors: Mapping[Any, float]) -> Table:
        rows = sorted(factors.items(), key=lambda one: -one[1])
        return Table.of_rows((name, "slowdown"), [list(row) for row in rows])

    place = {rank: of for of, rank in operations.ranks.items()}
    ranks = sorted(found.by_rank.items(), key=lambda one: -one[1])
    steps = zip(operations.steps, found.measured_s, found.no_delay_s, found.even_s, strict=True)
    return {
        "by_stage": worst_first("stage", found.by_stage),
        "by_rank": Table.of_rows(("rank", "dp_rank", "stage", "slowdown"), [[rank, *place[rank], value] for rank, value in ranks]),
        "by_dp_rank": worst_first("dp_rank", found.by_replica),
        "by_operation": worst_first("operation", found.by_type),
        "by_step": Table.of_rows(
            ("step", "step_ms", "no_delay_ms", "even_ms", "slowdown"),
            [[step, 1e3 * whole, 1e3 * bare, 1e3 * even, bare / even] for step, whole, bare, even in steps],
        ),
    }  # fmt: skip


def _charts(operations: Operations, found: Slowdown) -> tuple[Chart, ...]:
    stages, replicas = sorted(found.by_stage), sorted(found.by_replica)
    cells: list[list[float | None]] = [
        [found.by_rank[operations.ranks[dp, stage]] - 1 for dp in replicas] for stage in stages
    ]
    stage = max(found.by_stage, key=lambda one: found.by_stage[one])
    kind = max(found.by_type, key=lambda one: found.by_type[one])
    kinds = sorted(found.by_type.items(), key=lambda one: -one[1])
    kinds = [one for one in kinds if abs(one[1] - 1) >= _SHOWN] or kinds[:1]
    return (
        Chart(
            "stragglers.by_rank",
            "heatmap",
            f"Stage {stage} costs most: alone it makes the even job's step {percent(found.by_stage[stage] - 1)} longer",
            "Of each rank the smaller slowdown of its stage and of its data-parallel rank.",
            Axis("data-parallel rank", scale="category"),
            Axis("stage", scale="category"),
            (Layer("slowdown", [str(one) for one in replicas], [f"stage {one}" for one in stages], z=cells),),
            HOW,
            Axis("longer step", "share"),
        ),
        Chart(
            "stragglers.by_operation",
            "bars",
            f"Uneven {kind} alone makes the step {percent(found.by_type[kind] - 1)} longer",
            "The even job with only these operations as measured; the table also has those that change next to nothing.",
            Axis("operation", scale="category"),
            Axis("longer step", "share"),
            (
                Layer(
                    "longer step", [name for name, _ in kinds], [value - 1 for _, value in kinds], color="exposed_wait"
                ),
            ),
            HOW,
        ),
    )


def _caveats(operations: Operations, found: Slowdown) -> tuple[str, ...]:
    caveats = [
        f"{many(len(operations.steps), 'step')} of {many(len(operations.ranks), 'rank')}: a replay with a model of what waits for what; "
        f"pauses between operations, {percent(found.delays - 1)} of the step, are left out"
    ]
    if found.factor < 1:
        caveats.append("the even job is slower than the measured one, so shares of the loss say nothing")
    return tuple(caveats)
