"""How fast graphs are replayed: nodes a second on one core, once a graph is scheduled, alone and with many scenarios side by side.

Graphs of synthetic jobs whose traces are read as any other's. Building and scheduling are shown beside; the goal is a million nodes a second.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.measuring import machine, table, verdict
from scaleprof.align import RankFacts, align
from scaleprof.analyses.replay.run_graph import RunGraph, run_graph
from scaleprof.models.replay import schedule
from scaleprof.pipeline import facts_of_rank
from scaleprof.readers import find_runs
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job

JOBS = {
    "8 ranks, DDP": Spec(ranks=8, steps=8, layers=48, kernels_per_layer=16, buckets=24),
    "32 ranks, DDP": Spec(ranks=32, steps=6, layers=48, kernels_per_layer=16, buckets=24),
    "16 ranks, FSDP": Spec(ranks=16, steps=6, strategy="fsdp", layers=48, kernels_per_layer=12, buckets=48),
    "16 ranks, TP 4": Spec(ranks=16, steps=4, tensor=4, layers=32, kernels_per_layer=12, buckets=16),
}
SCENARIOS = 16
GOAL = 1e6
REPEATS = 7


def timed(work: Callable[[], Any], *, repeats: int = REPEATS) -> float:
    """Median seconds."""
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return median(took)


def graph_of(spec: Spec, folder: Path) -> tuple[RunGraph, float]:
    """The graph of a synthetic job, and the seconds that putting it together took."""
    write_job(spec, folder)
    [run] = find_runs([folder], ())
    facts = {rank: facts_of_rank(files) for rank, files in run.ranks.items()}
    view = align(run.info, {rank: one for rank, one in facts.items() if isinstance(one, RankFacts)})
    began = time.perf_counter()
    graph = run_graph(view)
    if graph is None:
        raise SystemExit(f"{spec.name} has no graph")
    return graph, time.perf_counter() - began


def row_of(name: str, spec: Spec) -> list[str]:
    """What one job's graph takes."""
    with tempfile.TemporaryDirectory() as folder:
        run, built_s = graph_of(spec, Path(folder))
    began = time.perf_counter()
    plan = schedule(run.graph)
    scheduled_s = time.perf_counter() - began
    durations = run.exact_ns
    many = np.repeat(durations[None, :], SCENARIOS, axis=0)
    one_s, many_s = timed(lambda: plan.ends(durations)), timed(lambda: plan.ends(many), repeats=3)
    exact = "yes" if (plan.ends(durations) == run.end_ns).all() else "NO"
    nodes, edges = len(run.graph), len(run.graph.source)
    speeds = (nodes / one_s / 1e6, SCENARIOS * nodes / many_s / 1e6)
    return [
        name,
        f"{nodes:,}",
        f"{edges:,}",
        exact,
        f"{built_s:.2f}",
        f"{scheduled_s:.2f}",
        *(f"{one:.1f}" for one in speeds),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every job and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(JOBS), help="one of the jobs")
    only = parser.parse_args(arguments).only
    rows = [row_of(name, spec) for name, spec in JOBS.items() if only in (None, name)]
    print(machine(("numpy",)))
    head = [
        "job",
        "nodes",
        "edges",
        "exact",
        "built, s",
        "scheduled, s",
        "M nodes/s",
        f"M nodes/s, {SCENARIOS} scenarios",
    ]
    print(table(head, rows))
    print(verdict("slowest, million nodes a second", min(float(row[6]) for row in rows), GOAL / 1e6))


if __name__ == "__main__":
    main()
