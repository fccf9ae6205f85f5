"""The ranks side by side: who takes how long in which step."""

from dataclasses import replace

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import NEEDS, steady_steps
from scaleprof.analyses.base import Analysis, percent
from scaleprof.analyses.communication.clocks import clock_metrics, clock_table
from scaleprof.analyses.stragglers.rank_grid import far_cells, far_ranks, grid_of
from scaleprof.analyses.stragglers.ranks_chart import left_out, rank_chart, reduced
from scaleprof.results import Result, Table
from scaleprof.trace import UNKNOWN

_LONGEST = {"busy": "busiest rank", "step": "longest step"}
_NO_BLOCKED = "time blocked in communication was not recorded in every step, so ranks are compared by whole step times, waiting included"
SAME = 0.0005
"""A difference that would be shown as zero."""


def conclude(view: RunView, options: None) -> Result | None:
    """What each rank did besides waiting, step by step, against the median of all."""
    if len(view.fact("steps")) < 2 or not len(view.steps):
        return None
    ranks, numbers, busy, what = _busy_ms(view)
    steady = np.isin(numbers, steady_steps(view))
    if not steady.any():
        return None
    per_rank = busy[:, steady].mean(axis=1)
    slowest = int(np.argmax(per_rank))
    above = per_rank[slowest] / np.median(per_rank) - 1
    headline = _headline(ranks[slowest], above, what)
    metrics, caveats = clock_metrics(view)
    caveats += [] if what == "busy" else [_NO_BLOCKED]
    marks = far_cells(ranks, numbers, busy, steady)
    grid = grid_of(ranks, numbers, busy, steady, {ranks[slowest], *(mark.rank for mark in marks)})
    against = dict(zip(ranks, (per_rank / np.median(per_rank) - 1).tolist(), strict=True))
    far = {rank for rank, is_far in zip(ranks, far_ranks(per_rank), strict=True) if is_far}
    chart = rank_chart(headline, what, grid, against, far, marks)
    chart = replace(chart, subtitle=f"{chart.subtitle} {left_out(numbers, steady)}".strip())
    caveats += [f"the picture of ranks and steps is reduced: {text}" for text in reduced(grid, len(ranks))]
    table = Table(
        {
            "rank": ranks,
            "host": [view.ranks[rank].host or "" for rank in ranks],
            f"{what}_ms": per_rank,
            "against_median": np.array(list(against.values())),
            "steps": np.full(len(ranks), int(steady.sum())),
        }
    )
    return Result(
        name="ranks",
        title="Ranks and steps",
        headline=headline,
        metrics=tuple(metrics),
        tables={"ranks": table, "clocks": clock_table(view)},
        charts=(chart,),
        caveats=tuple(caveats),
    )


def _headline(slowest: int, above: float, what: str) -> str:
    if above < SAME:
        return f"The ranks are balanced: {'all are busy equally long' if what == 'busy' else 'their steps are equally long'}"
    if above < 0.02:
        return f"The ranks are balanced: the {_LONGEST[what]} is {percent(above)} above the median"
    if what == "step":
        return f"The step of rank {slowest} is longest, {percent(above)} above the median rank"
    return f"Rank {slowest} is busy longest, {percent(above)} above the median rank"


def _busy_ms(view: RunView) -> tuple[list[int], np.ndarray, np.ndarray, str]:
    """Ranks, step numbers, ms by rank and step, and what they are: `busy` where every rank says how long it was blocked, else whole `step`s."""
    numbers = np.asarray(view.steps["step"])
    tables = {rank: table for rank, table in view.fact("steps").items() if len(table)}
    rows = {rank: np.searchsorted(table["step"], numbers) for rank, table in tables.items()}
    time_ns = np.array([np.asarray(table["time_ns"])[rows[rank]] for rank, table in tables.items()])
    blocked_ns = np.array([np.asarray(table["blocked_ns"])[rows[rank]] for rank, table in tables.items()])
    if (blocked_ns == UNKNOWN).any():
        exposed = _exposed_ns(view, list(tables), numbers)
        if exposed is None:
            return list(tables), numbers, time_ns / 1e6, "step"
        blocked_ns = exposed
    return list(tables), numbers, (time_ns - blocked_ns) / 1e6, "busy"


def _exposed_ns(view: RunView, ranks: list[int], numbers: np.ndarray) -> np.ndarray | None:
    """Exposed communication by rank and step, from the account of device time; None where a step of a rank was not accounted."""
    exposed = np.full((len(ranks), len(numbers)), UNKNOWN, dtype=np.int64)
    leaves = view.leaves
    known = np.isin(leaves["rank"], ranks) & np.isin(leaves["step"], numbers)
    place_of_rank = {rank: place for place, rank in enumerate(ranks)}
    rows = [place_of_rank[rank] for rank in np.asarray(leaves["rank"])[known].tolist()]
    exposed[rows, np.searchsorted(numbers, np.asarray(leaves["step"])[known])] = np.asarray(leaves["exposed_comm_ns"])[
        known
    ]
    return None if (exposed == UNKNOWN).any() else exposed


RANKS = Analysis("ranks", NEEDS, conclude)
