"""The critical path of a run: the chain of work over all ranks that nothing but itself held up, and what time the rest has left (`method` 7.2)."""

from typing import Any

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.account.time import NEEDS as TIME_NEEDS
from scaleprof.analyses.base import Analysis, duration, listed, many, percent
from scaleprof.analyses.replay.chain_nodes import Doing
from scaleprof.analyses.replay.chains import chains, too_many
from scaleprof.analyses.replay.run_graph import MEETING, RunGraph, run_graph
from scaleprof.columns import numbered
from scaleprof.models.replay import CriticalPath, critical_path, slack
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table

FIDELITY = 0.05
"""A replay without unexplained delays may miss the measured time by so much; beyond it what it says is called low in fidelity."""
MOST_UNEXPLAINED = 0.05
"""Share of the time that delays may be without a word."""
PARTS = {
    "compute": "Compute", "exposed_transfer": "Transfer", "exposed_memory": "Copies", "input": "Input", "pauses": "Pauses", "encode": "Compression",
    "host": "Host", "unexplained": "Not explained",
}  # fmt: skip
"""What the path consists of, with their labels."""
_PART_OF = {
    Doing.COMPUTE: "compute", Doing.OPERATION: "exposed_transfer", Doing.COPY: "exposed_memory", Doing.INPUT: "input", Doing.GC: "pauses",
    Doing.COMPILE: "pauses", Doing.CHECKPOINT: "pauses", Doing.ENCODE: "encode",
}  # fmt: skip
_COLORS = {
    "compute": "compute", "exposed_transfer": "exposed_transfer", "exposed_memory": "exposed_memory", "input": "series-1", "pauses": "series-3",
    "encode": "series-5", "host": "idle", "unexplained": "series-4",
}  # fmt: skip
NEEDS = {**TIME_NEEDS, "chains": chains}
MOST_KINDS = 40
"""Kinds of work whose slack is listed."""


def conclude(view: RunView, options: None) -> Result | None:
    """What the critical path consists of, and over which ranks it leads; None where the run has no graph."""
    run = run_graph(view)
    if run is None:
        reason = too_many(view)
        return Result("critical_path", "Critical path", "Not worked out", caveats=(reason,)) if reason else None
    path = critical_path(run.graph, run.start_ns, run.end_ns)
    parts = parts_of(run, path)
    whole = sum(parts.values())
    if not whole:
        return None
    shares = {name: ns / whole for name, ns in parts.items()}
    per_step = len(run.steps) * 1e6
    ranks = _ranks(run, path)
    metrics = [
        *(Metric(f"critical_path.{name}_share", PARTS[name], share, "share") for name, share in shares.items()),
        fidelity_metric(run),
    ]
    rows = [[PARTS[name], parts[name] / per_step, share] for name, share in shares.items()]
    tables = {
        "critical_path": Table.of_rows(("part", "step_ms", "share"), rows),
        "critical_path_ranks": ranks,
        "slack": _slack(run, path),
    }
    return Result(
        "critical_path",
        "Critical path",
        _headline(run, shares, ranks),
        tuple(metrics),
        tables,
        (_chart(view, run, parts),),
        caveats=tuple(caveats_of(run)),
    )


def fidelity_of(run: RunGraph) -> float:
    """How long the graph says the steps take, without what it does not explain, over how long they took."""
    return float(run.step_ns(run.schedule.ends(run.graph.dur_ns)) / run.step_ns(run.end_ns))


def unexplained_share(run: RunGraph) -> float:
    """Delays that the graph does not explain, of the ranks' own work, mean over ranks, as a share of the time that the graph covers."""
    own = (run.rank != MEETING) & (run.kind != Doing.OPERATION)
    whole = int(run.end_ns.max(initial=0)) * len(run.ranks)
    return float(run.delay_ns[own].sum() / whole) if whole else 0.0


def fidelity_metric(run: RunGraph) -> Metric:
    """`replay.fidelity`."""
    note = "replayed without unexplained delays over measured; what-ifs need 0.95 to 1.05"
    return Metric("replay.fidelity", "Fidelity of the replay", fidelity_of(run), "", note=note)


def caveats_of(run: RunGraph) -> list[str]:
    """What of the graph was not seen, or cannot be."""
    said = []
    if abs(fidelity_of(run) - 1) > FIDELITY:
        said.append(
            f"low fidelity: without unexplained delays a replay takes {percent(fidelity_of(run))} of the measured time"
        )
    delayed = unexplained_share(run)
    if delayed > MOST_UNEXPLAINED:
        said.append(
            f"{percent(delayed)} of the time is delay that the graph does not explain: what-ifs keep it, whatever it depends on"
        )
    inferred = int(run.edge_is_inferred.sum())
    if inferred:
        said.append(
            f"{many(inferred, 'edge')} of the graph inferred from when things began: the trace does not say what a stream, or a wait, waited for"
        )
    if run.contradicted:
        said.append(
            f"{many(run.contradicted, 'edge')} of the graph contradicted by more than the clocks are uncertain by"
        )
    return said


def parts_of(run: RunGraph, path: CriticalPath) -> dict[str, int]:
    """Time on the path by part, ns; they sum to its length exactly. Host time is compute where nothing else says what compute is."""
    host = "host" if (run.kind == Doing.COMPUTE).any() else "compute"
    sums = dict.fromkeys(PARTS, 0)
    for kind in np.unique(run.kind[path.node]).tolist():
        here = run.kind[path.node] == kind
        sums[_PART_OF.get(Doing(kind), host)] += int(path.dur_ns[here].sum())
    sums["unexplained"] += int(path.gap_ns.sum())
    assert sum(sums.values()) == path.length_ns, "the parts of the critical path must add up to it"
    return {name: ns for name, ns in sums.items() if ns or name in ("compute", "exposed_transfer")}


def _ranks(run: RunGraph, path: CriticalPath) -> Table:
    """How long the path leads over the own work of each rank."""
    rank, kind = run.rank[path.node], run.kind[path.node]
    own = (rank != MEETING) & (kind != Doing.OPERATION)
    total = int(path.dur_ns[own].sum())
    rows = []
    for one in run.ranks:
        ns = int(path.dur_ns[own & (rank == one)].sum())
        rows.append([one, ns / len(run.steps) / 1e6, ns / total if total else 0.0])
    return Table.of_rows(("rank", "step_ms", "share"), rows)


def _headline(run: RunGraph, shares: dict[str, float], ranks: Table) -> str:
    order = sorted(shares, key=lambda name: -shares[name])
    said = ", ".join(f"{percent(shares[name])} {PARTS[name].lower()}" for name in order[:3] if shares[name] >= 0.001)
    words = f"What sets the pace of {many(len(run.steps), 'step')} is {said}"
    if len(run.ranks) > 1:
        share, rank = max(zip(ranks["share"], ranks["rank"], strict=True))
        words += f"; {percent(share)} of its own work is rank {rank}'s"
    return words


def _slack(run: RunGraph, path: CriticalPath) -> Table:
    """Kinds of work: how often, how long, how much of it is on the path, and how much longer one could take before the run does."""
    left = slack(run.graph, run.exact_ns)
    on_path = np.zeros(len(run.kind), dtype=np.bool_)
    on_path[path.node] = True
    names = [name or Doing(kind).name.lower() for name, kind in zip(run.name, run.kind.tolist(), strict=True)]
    counted = (run.rank != MEETING) & (run.graph.dur_ns > 0)
    distinct, which = numbered([name for name, here in zip(names, counted.tolist(), strict=True) if here])
    dur, spare, path_ns = run.graph.dur_ns[counted], left[counted], np.where(on_path, run.graph.dur_ns, 0)[counted]
    per_step = len(run.steps)
    rows: list[list[Any]] = []
    for number, name in enumerate(distinct):
        here = which == number
        rows.append(
            [name, float(here.sum()) / per_step, float(dur[here].sum()) / per_step / 1e6, float(path_ns[here].sum()) / per_step / 1e6,
             float(np.median(spare[here])) / 1e6, float(spare[here].min()) / 1e6]
        )  # fmt: skip
    rows.sort(key=lambda row: (-row[3], -row[2]))
    columns = ("name", "count", "busy_ms", "on_path_ms", "median_slack_ms", "least_slack_ms")
    return Table.of_rows(columns, rows[:MOST_KINDS])


def _chart(view: RunView, run: RunGraph, parts: dict[str, int]) -> Chart:
    per_step = len(run.steps) * 1e6
    named = {name: ns / per_step for name, ns in parts.items() if ns}
    most = max(named, key=lambda name: named[name])
    layers = tuple(Layer(PARTS[name], ["critical path"], [ms], color=_COLORS[name]) for name, ms in named.items())
    return Chart(
        "critical_path",
        "stacked_bars",
        f"{PARTS[most]} sets the pace: {duration(named[most])} of {duration(sum(named.values()))} a step",
        f"the longest chain of work over {many(len(run.ranks), 'rank')}, steps {listed(run.steps.tolist())}",
        Axis("", scale="category"),
        Axis("time a step", "ms", from_zero=True),
        layers,
        how="Back from the last node of the run's graph, each time to the one that held it up; nodes and gaps before them divide the time "
        "exactly. Waiting is not on the path: the path leads over whoever was waited for.",
    )


CRITICAL = Analysis("critical_path", NEEDS, conclude)
