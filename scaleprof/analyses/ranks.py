"""The ranks side by side: who takes how long in which step."""

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.base import Analysis, percent
from scaleprof.analyses.steps import NEEDS, steady_steps
from scaleprof.results import Axis, Chart, Layer, Result, Table
from scaleprof.trace import UNKNOWN

MOST_CELLS = 20_000  # a larger picture would be bytes nobody can see


def conclude(view: RunView, options: None) -> Result | None:
    """What each rank did besides waiting, step by step, against the median of all."""
    if len(view.fact("steps")) < 2 or not len(view.steps):
        return None
    ranks, numbers, busy, what = _busy_ms(view)
    steady = np.isin(numbers, steady_steps(view))
    if not steady.any():
        return None
    middle = np.median(busy[:, steady])
    per_rank = busy[:, steady].mean(axis=1)
    slowest = int(np.argmax(per_rank))
    above = per_rank[slowest] / np.median(per_rank) - 1
    headline = (
        f"Rank {ranks[slowest]} is busy longest, {percent(above)} above the median rank"
        if above >= 0.02
        else f"The ranks are balanced: the longest busy one is {percent(above)} above the median"
    )
    caveats = [] if what == "busy" else ["blocked time was not recorded, so the picture shows whole step times"]
    shown = slice(None)
    if busy.size > MOST_CELLS:
        keep = max(MOST_CELLS // len(ranks), 1)
        shown = slice(0, keep)
        caveats.append(f"the picture shows the first {keep} of {len(numbers)} steps")
    deviation = (busy / middle - 1)[:, shown]
    chart = Chart(
        id="ranks.heatmap",
        kind="heatmap",
        title=headline,
        subtitle=f"{'Step time without blocked time' if what == 'busy' else 'Step time'} by rank and step, against the median of the steady steps.",
        x=Axis("step"),
        y=Axis("rank", scale="category"),
        layers=(
            Layer(
                "deviation from the median",
                [int(number) for number in numbers[shown]],
                [f"rank {rank}" for rank in ranks],
                z=[[float(value) for value in row] for row in deviation],
            ),
        ),
        how="busy = step - time blocked at wait points. A row that is dark throughout is a slow rank; a column is a slow moment of all.",
    )
    table = Table(
        {
            "rank": ranks,
            "host": [view.ranks[rank].host or "" for rank in ranks],
            f"{what}_ms": per_rank,
            "against_median": per_rank / np.median(per_rank) - 1,
            "steps": np.full(len(ranks), int(steady.sum())),
        }
    )
    return Result(
        name="ranks",
        title="Ranks and steps",
        headline=headline,
        tables={"ranks": table},
        charts=(chart,),
        caveats=tuple(caveats),
    )


def _busy_ms(view: RunView) -> tuple[list[int], np.ndarray, np.ndarray, str]:
    """Ranks, step numbers, and ms by rank and step: without blocked time where every rank recorded it."""
    numbers = np.asarray(view.steps["step"])
    tables = {rank: table for rank, table in view.fact("steps").items() if len(table)}
    rows = {rank: np.searchsorted(table["step"], numbers) for rank, table in tables.items()}
    known = all((np.asarray(table["blocked_ns"])[rows[rank]] != UNKNOWN).all() for rank, table in tables.items())
    values = []
    for rank, table in tables.items():
        time_ns = np.asarray(table["time_ns"])[rows[rank]]
        values.append((time_ns - np.asarray(table["blocked_ns"])[rows[rank]] if known else time_ns) / 1e6)
    return list(tables), numbers, np.array(values), "busy" if known else "step"


RANKS = Analysis("ranks", NEEDS, conclude)
