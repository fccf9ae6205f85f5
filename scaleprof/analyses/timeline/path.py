"""Where the critical path leads, as slices of a timeline: one for each stretch in which it stays on a rank."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.replay.run_graph import MEETING, run_graph
from scaleprof.analyses.timeline.choice import ShownStep
from scaleprof.analyses.timeline.slices import PATH_COLOR, Row
from scaleprof.intervals import Ints
from scaleprof.models.replay import critical_path
from scaleprof.results import Table

NEAR = 0.002
"""Of a step: stretches of one rank that lie closer together are one."""
NAME = "critical path"


def with_path(view: RunView, drawn: Table, shown: Sequence[ShownStep], origins: Mapping[int, int]) -> Table:
    """The slices of a timeline and those of the critical path, on the ranks and in the steps that are drawn.

    `origins`: by step, what its times count from, in ns of the run's clock. The table as it is where the run has no graph, or one rank only.
    """
    run = run_graph(view)
    if run is None or len(run.ranks) < 2:
        return drawn
    path = critical_path(run.graph, run.start_ns, run.end_ns)
    end = run.end_ns[path.node] + run.origin_ns
    start = end - path.dur_ns - path.gap_ns
    rank = _ranks(run.rank[path.node])
    parts = [drawn]
    for one in shown:
        here = run.step[path.node] == one.step
        if one.step in origins and here.any():
            parts.append(
                _slices(drawn, one, rank[here], start[here] - origins[one.step], end[here] - origins[one.step])
            )
    return Table({name: [value for part in parts for value in part[name]] for name in drawn.columns})


def _ranks(of: Ints) -> Ints:
    """A meeting belongs to the rank that comes next."""
    ranks = of.copy()
    for place in np.flatnonzero(of == MEETING).tolist()[::-1]:  # operations on the path
        ranks[place] = ranks[place + 1] if place + 1 < len(ranks) else ranks[place - 1]
    return ranks


def _slices(drawn: Table, one: ShownStep, rank: Ints, start: Ints, end: Ints) -> Table:
    """Stretches of this step on ranks that are drawn."""
    ends = {
        of: (since, until)
        for of, step, since, until in zip(
            drawn["rank"], drawn["step"], drawn["step_from_ms"], drawn["step_to_ms"], strict=True
        )
        if step == one.step
    }
    near = int(NEAR * (end.max() - start.min()))
    begins = np.ones(len(rank), dtype=np.bool_)
    begins[1:] = (rank[1:] != rank[:-1]) | (start[1:] - end[:-1] > near)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(rank)) - 1
    rows: list[dict[str, Any]] = []
    for of, since, until in zip(rank[first].tolist(), start[first].tolist(), end[last].tolist(), strict=True):
        if of in ends and until - since > near:
            rows.append(
                {
                    "step": one.step, "step_label": one.label, "rank": of, "row": int(Row.PATH), "depth": 0, "start_ms": round(since / 1e6, 6),
                    "dur_ms": round((until - since) / 1e6, 6), "wait_ms": None, "name": NAME, "color": PATH_COLOR, "operation": None, "bytes": None,
                    "step_from_ms": ends[of][0], "step_to_ms": ends[of][1],
                }
            )  # fmt: skip
    return Table({name: [row[name] for row in rows] for name in drawn.columns})
