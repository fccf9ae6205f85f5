"""Why a rank comes late: what it did more of than the others since the collective before, and of compute whether it was more or slower."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.base import percent
from scaleprof.analyses.remedies import REMEDIES
from scaleprof.analyses.stragglers.delays import Delays, Seen
from scaleprof.models.blame import Blame
from scaleprof.results import Table

MOST_OPERATIONS = 2_000
"""Of one rank the costliest so many are looked into."""
MOST_COMPARED = 16
"""Ranks whose kernels are compared with the late one's."""
SLOWER = 1.02
"""A kernel that lasts so much longer than on the others is slower."""
MOST = 0.8
"""Of the kernels' time."""
LOWER_CLOCK = 0.95
_SLOWED = {
    "gpu_too_hot_share": "slowed down by heat",
    "gpu_power_capped_share": "at its power cap",
    "gpu_power_brake_share": "braked by its power supply",
}
_LEAST_SLOWED = 0.05
WORDS = {
    "compute": "longer compute",
    "more work": "more work in its kernels",
    "slower kernels": "the same kernels run slower",
    "memory": "memory copies",
    "comm": "it waited in another group",
    "input": "it waits for its input",
    "gc": "garbage collection",
    "checkpoint": "a checkpoint",
    "compile": "compilation",
    "alloc": "memory allocation",
    "sync": "its host waits for the device",
    "idle": "its host is late",
    "host": "its host is late",
}
_HOST = ("idle", "sync", "gc", "checkpoint", "compile", "alloc")
"""What keeps a host from launching work: where none of these explains enough, all of them together may."""
_LEAST_SAID = 0.05
_OF_HOST = {
    "idle": "without a reason that was recorded", "sync": "waiting for the device", "gc": "collecting garbage", "checkpoint": "at a checkpoint",
    "compile": "compiling", "alloc": "allocating memory",
}  # fmt: skip
COVERAGE = 0.8
"""A cause is named only where it explains so much of what the rank costs."""
_FINDINGS = {
    "more work": "transient-imbalance",
    "memory": "exposed-copies",
    "input": "starved",
    "gc": "collection",
    "checkpoint": "checkpoint",
    "compile": "compilation",
    "alloc": "allocation",
    "sync": "host-sync",
    "host": "late-idle",
}
"""Causes that the whole job may have as well: the same helps against them on one rank."""


@dataclass(frozen=True)
class Lateness:
    """Why one rank came late, as far as that can be told."""

    cause: str | None = None
    """One of `WORDS`; None where nothing is known of what the ranks did."""
    share: float = 0.0
    """Of what the rank costs: how much the cause explains."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """By doing, of what is explained at all."""
    detail: str = ""

    @property
    def words(self) -> str:
        """The cause for people."""
        said = WORDS[self.cause] if self.cause else ""
        return f"{said} ({self.detail})" if self.detail else said

    @property
    def remedy(self) -> str:
        """What to try."""
        return REMEDIES[_FINDINGS.get(self.cause, f"late-{self.cause}")] if self.cause else ""


def causes_of(view: RunView, seen: Seen, blame: Blame, delays: Delays, rank: int) -> Lateness:
    """What the delays of one rank consist of, weighed by their cost."""
    mine = np.flatnonzero((blame.last == rank) & (blame.cost_ns > 0))
    mine = mine[np.argsort(-blame.cost_ns[mine], kind="stable")][:MOST_OPERATIONS]
    total = float(blame.cost_ns[mine].sum())
    by_doing: dict[str, float] = {}
    others: set[int] = set()
    for number in mine.tolist():
        others.update(delays.ranks_in(number))
        for name, share in delays.shares(number).items():
            by_doing[name] = by_doing.get(name, 0.0) + share * float(blame.cost_ns[number])
    explained = sum(by_doing.values())
    if not explained or not total:
        return Lateness()
    shares = {name: value / explained for name, value in sorted(by_doing.items(), key=lambda one: -one[1])}
    cause = most = next(iter(shares))
    detail = ""
    if cause == "compute":
        cause, detail = _of_compute(
            view, rank, sorted(others - {rank})[:MOST_COMPARED], np.unique(seen.step[mine]).tolist()
        )
    share = by_doing[most] / total
    of_host = {name: by_doing[name] / total for name in shares if name in _HOST}
    if cause in _HOST and share < COVERAGE <= sum(of_host.values()):
        said = [f"{percent(value)} {_OF_HOST[name]}" for name, value in of_host.items() if value >= _LEAST_SAID]
        return Lateness("host", sum(of_host.values()), shares, ", ".join(said))
    return Lateness(cause, share, shares, detail)


def _of_compute(view: RunView, rank: int, others: Sequence[int], steps: Sequence[int]) -> tuple[str, str]:
    """Whether longer compute is more work or slower kernels, from the kernels by class in these steps."""
    tables = view.fact("work")
    mine = _classes(tables.get(rank), steps)
    theirs = [_classes(tables.get(other), steps) for other in others]
    if not mine or not all(theirs):
        return "compute", ""
    slower = alike = 0.0
    total = sum(time for _, time in mine.values())
    for name, (count, time) in mine.items():
        counts = [of.get(name, (0.0, 0.0)) for of in theirs]
        usual = float(np.median([many for many, _ in counts]))
        mean = float(np.median([long / many if many else 0.0 for many, long in counts]))
        if usual and abs(count / usual - 1) <= SLOWER - 1 and mean:
            alike += time
            slower += time if time / count > SLOWER * mean else 0.0
    if alike >= MOST * total and slower >= MOST * alike:
        return "slower kernels", _clocks(view, rank, others)
    return "more work", ""


def _classes(table: Table | None, steps: Sequence[int]) -> dict[str, tuple[float, float]]:
    """By name of a kernel how many ran in these steps and how long."""
    if table is None:
        return {}
    found: dict[str, tuple[float, float]] = {}
    keep = np.isin(table["step"], steps)
    for name, count, time, kept in zip(
        table["name"], table["count"].tolist(), table["total_ns"].tolist(), keep.tolist(), strict=True
    ):
        if kept:
            many, long = found.get(name, (0.0, 0.0))
            found[name] = (many + count, long + time)
    return found


def _clocks(view: RunView, rank: int, others: Sequence[int]) -> str:
    """What the samples of the hardware say of a slow device, where they say anything."""
    tables = view.fact("hardware")
    said = []
    clock = {one: _median(tables.get(one), "gpu_sm_clock_mhz") for one in (rank, *others)}
    usual = [value for one, value in clock.items() if one != rank and value is not None]
    mine = clock[rank]
    if mine is not None and usual and mine < LOWER_CLOCK * float(np.median(usual)):
        said.append(f"its clock is {mine:.0f} MHz, the others' {np.median(usual):.0f}")
    for column, words in _SLOWED.items():
        share = _mean(tables.get(rank), column)
        if share is not None and share > _LEAST_SLOWED:
            said.append(f"{words} {100 * share:.0f} % of the time")
    return "; ".join(said)


def _median(table: Table | None, column: str) -> float | None:
    values = _finite(table, column)
    return float(np.median(values)) if values is not None else None


def _mean(table: Table | None, column: str) -> float | None:
    values = _finite(table, column)
    return float(np.mean(values)) if values is not None else None


def _finite(table: Table | None, column: str) -> np.ndarray | None:
    if table is None or column not in table.columns:
        return None
    values = np.asarray(table[column], dtype=np.float64)
    values = values[np.isfinite(values)]
    return values if len(values) else None
