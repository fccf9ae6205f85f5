"""What a timeline shows of a run: which steps, which ranks, and how many slices each of them gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import steady_steps
from scaleprof.analyses.account.time import leaves_of
from scaleprof.analyses.stragglers.stragglers import named_stragglers
from scaleprof.analyses.timeline.slices import MOST_IN_RANK, MOST_IN_RUN

MOST_RANKS = 16
"""Ranks that are drawn."""
MOST_NAMED = 8
"""Stragglers that are among them in any case."""
MOST_IN_EXTRA = MOST_IN_RANK // 2
"""Slices of a rank in a step that is shown beside the typical one."""
EXTRA_SHARE = 0.2
"""Of the slices of a rank, that such a step may have even where the typical one needs them all."""
ALIKE = 0.02
"""A step that is longer than another by less is as long: the difference is no news."""
_ROLES = {1: ("",), 2: ("faster", "slower")}
_ROLES_OF_MANY = ("typical", "slowest", "fastest")


@dataclass(frozen=True)
class ShownStep:
    """One step that can be chosen."""

    step: int
    role: str
    """`typical`, `slowest` or `fastest` of several, `faster` or `slower` of two, nothing of one."""
    time_ms: float
    """Median over the ranks."""

    @property
    def label(self) -> str:
        """`step 14, typical: 489.1 ms`: so many digits that steps which are nearly alike are seen to differ."""
        time = f"{self.time_ms / 1000:.4g} s" if self.time_ms >= 1000 else f"{self.time_ms:.4g} ms"
        return f"step {self.step}{f', {self.role}' if self.role else ''}: {time}"


def comparable(view: RunView, times_ms: Mapping[int, Mapping[int, float]]) -> dict[int, float]:
    """Of the steps that were kept, by step and rank, those to choose from: the median over the ranks of how long they are.

    Steps that statistics leave out, and those that half of the ranks lack, are among them only where there are no others.
    """
    most = max(len(of) for of in times_ms.values())
    known = {step: float(np.median(list(of.values()))) for step, of in times_ms.items() if 2 * len(of) > most}
    steady = set(steady_steps(view).tolist())
    return {step: time for step, time in known.items() if step in steady} or known


def steps_shown(times_ms: Mapping[int, float], lacking: Mapping[int, int]) -> list[ShownStep]:
    """The typical step, the slowest, and the fastest where that is shorter at all, in this order; of two the shorter first.

    `lacking` says how many ranks lack each step: no step that fewer ranks lack stands beside the typical one.
    """
    middle = float(np.median(list(times_ms.values())))
    fewest = min(lacking[step] for step in times_ms)
    typical = min(
        (step for step in times_ms if lacking[step] == fewest),
        key=lambda step: (abs(times_ms[step] - middle), times_ms[step], step),
    )
    others = sorted((step for step in times_ms if step != typical), key=lambda step: (times_ms[step], step))
    if len(others) < 2:
        shown = sorted((typical, *others), key=lambda step: (times_ms[step], step))
    else:
        is_shorter = times_ms[others[0]] < (1 - ALIKE) * times_ms[typical]
        shown = [typical, others[-1], *([others[0]] if is_shorter else [])]
    roles = _ROLES.get(len(times_ms), _ROLES_OF_MANY)
    return [ShownStep(step, role, times_ms[step]) for step, role in zip(shown, roles, strict=False)]


def ranks_shown(view: RunView, ranks: Sequence[int]) -> tuple[list[int], list[int]]:
    """All ranks if they are few; else the stragglers, those that wait least and most on average, and others evenly between. Also the stragglers."""
    if len(ranks) <= MOST_RANKS:
        return list(ranks), []
    named = [rank for rank in named_stragglers(view) if rank in set(ranks)][:MOST_NAMED]
    by_wait = [rank for rank in _by_waiting(view) if rank in set(ranks)]
    found = set(named)
    quarter = MOST_RANKS // 4
    evenly = np.linspace(0, len(ranks) - 1, MOST_RANKS).round().astype(int).tolist()
    for rank in (*by_wait[:quarter], *by_wait[::-1][:quarter], *(ranks[place] for place in evenly)):
        if len(found) < MOST_RANKS:
            found.add(rank)
    return sorted(found), named


def _by_waiting(view: RunView) -> list[int]:
    """The ranks by their exposed communication, the least first: who comes last waits for nobody."""
    leaves = leaves_of(view)
    if leaves is None:
        return []
    ranks, place = np.unique(leaves.rows["rank"], return_inverse=True)
    means = np.bincount(place, weights=leaves.rows["exposed_comm_ns"]) / np.bincount(place)
    by_wait: list[int] = ranks[np.argsort(means, kind="stable")].tolist()
    return by_wait


def shares_of(counts: Sequence[int], ranks: int) -> list[int]:
    """How many slices each step of a rank gets of the `counts` that it has, the typical one first: that one keeps what it has as far as the run's
    budget for so many ranks allows, the others share what is left, and have at least their share."""
    whole = MOST_IN_RUN // max(ranks, 1)
    first, *others = counts
    if not others:
        return [min(first, MOST_IN_RANK, whole)]
    left = max(whole - min(first, MOST_IN_RANK), int(EXTRA_SHARE * whole) * len(others))
    extra = [min(count, MOST_IN_EXTRA, left // len(others)) for count in others]
    return [min(first, MOST_IN_RANK, whole - sum(extra)), *extra]
