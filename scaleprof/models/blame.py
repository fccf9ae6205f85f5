"""Who made the others wait, and whether that is more than chance (`method` 2.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.models.statistics import binomial_tail

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Instances:
    """Every rank's part in every collective whose waiting is known, side by side in the order of the operations."""

    operation: Ints
    """Numbers from 0 on, ascending."""
    rank: Ints
    wait_ns: Ints
    cost_ns: Ints
    """By how much the waiting put off its rank."""

    @property
    def first(self) -> Ints:
        """By operation: where its parts begin."""
        return np.flatnonzero(np.diff(self.operation, prepend=-1))


@dataclass(frozen=True)
class Blame:
    """One row for each operation."""

    last: Ints
    """The rank that came last; -1 where several did at once."""
    cost_ns: Ints
    """By how much it put off the others, all together."""
    gain_ns: Ints
    """By how much it could have ended sooner if only the last rank had come with the one before it, and no more than it put off anybody."""


def blamed(parts: Instances) -> Blame:
    """Who came last in each operation, and what that cost (Boehme et al. 2016: late arrival as the cause of waiting)."""
    first = parts.first
    if not len(first):
        empty = np.zeros(0, dtype=np.int64)
        return Blame(empty, empty, empty)
    order = np.lexsort((parts.wait_ns, parts.operation))
    wait = parts.wait_ns[order]
    count = np.diff(np.append(first, len(order)))
    second = np.where(count > 1, wait[np.minimum(first + 1, len(wait) - 1)], 0)
    last = np.where(second > wait[first], parts.rank[order[first]], -1)
    cost = np.where(last >= 0, np.add.reduceat(parts.cost_ns, first), 0)
    worst = np.maximum.reduceat(parts.cost_ns, first)
    return Blame(last, cost, np.where(last >= 0, np.minimum(second - wait[first], worst), 0))


def persistent(
    often: Mapping[int, int],
    chances: Mapping[int, Sequence[float]],
    *,
    heaped: Mapping[int, float] | None = None,
    level: float = 0.01,
) -> dict[int, float]:
    """Ranks that came last more often than chance has it, with the probability of that (Benjamini-Hochberg over the ranks, at `level`).

    `chances` holds for each rank one over the size of the group for every independent sample (a step) that it took part in, `often` in
    how many of them it came last. `heaped`: a second probability by rank, of its costs (`heaped`); the smaller one of both counts, twice.
    """
    counted = {
        rank: binomial_tail(times, len(chances[rank]), float(np.mean(chances[rank])))
        for rank, times in often.items()
        if chances.get(rank)
    }
    if heaped is not None:
        both = {rank: min(counted.get(rank, 1.0), heaped.get(rank, 1.0)) for rank in {*counted, *heaped}}
        counted = {rank: min(1.0, 2 * value) for rank, value in both.items()}
    values = sorted((value, rank) for rank, value in counted.items())
    ranks = max(len(chances), 1)
    passed = 0
    for place, (probability, _) in enumerate(values, 1):
        if probability <= level * place / ranks:
            passed = place
    return {rank: probability for probability, rank in values[:passed]}


def heaped(cost: Floats) -> Floats:
    """By rank, at most how likely it is that so much of the cost is one rank's, if in each step any rank could have had any other's.

    `cost`: (ranks, steps). Counting how often a rank came last says little where it is late in few steps but then costs much. Bounded by Chernoff:
    the least over t of E exp(t (drawn - seen)), a step's cost drawn from those of all its ranks.
    """
    total = cost.sum(axis=1)
    most = float(cost.max(initial=0.0))
    if not most:
        return np.ones(len(cost))
    scaled, least = cost / most, np.zeros(len(cost))
    for tilt in np.geomspace(0.01, 100.0, 41).tolist():
        drawn = np.log(np.exp(tilt * (scaled - scaled.max(axis=0))).mean(axis=0)) + tilt * scaled.max(axis=0)
        least = np.minimum(least, drawn.sum() - tilt * total / most)
    return np.exp(least)


def split_by_excess(late: Mapping[str, float], others: Mapping[str, float]) -> dict[str, float]:
    """Shares of a delay by what the late one did more of than the others; empty where it did more of nothing (Scalasca's delay costs)."""
    more = {name: value for name in late if (value := late[name] - others[name]) > 0}
    total = sum(more.values())
    return {name: value / total for name, value in more.items()} if total else {}


def delays(burst: Ints, ready_ns: Ints, transfer_ns: Ints, end_ns: Ints, exposed_ns: Ints) -> Ints:
    """By how much waiting put off the end of each burst of operations that follow one another on a stream, in ns.

    Operations stand in their order, `burst` numbers from 0 on, ascending. Without waiting each would begin when its rank was ready and the one before
    it had ended, and last as long as its transfer; what the burst ends later than that, and no more than what nothing hid of it (`exposed_ns` by
    burst), is the delay. Waiting that compute hides may thus still cost: it puts off transfers that compute would have hidden.
    """
    count = len(exposed_ns)
    found = np.zeros(count, dtype=np.int64)
    at = 0
    reached = 0
    # A loop over operations, not events.
    for place, number in enumerate(burst.tolist()):
        if place == 0 or number != at:
            at, reached = number, int(ready_ns[place])
        reached = max(reached, int(ready_ns[place])) + int(transfer_ns[place])
        found[number] = int(end_ns[place]) - reached
    return np.clip(found, 0, exposed_ns)
