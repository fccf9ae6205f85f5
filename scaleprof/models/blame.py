"""Who made the others wait, and whether that is more than chance (`method` 2.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.models.statistics import binomial_tail

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


_MOST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Blame:
    """One row for each operation."""

    last: Ints
    """The rank that came last; -1 where several did at once."""
    cost_ns: Ints
    """By how much it put off the others, all together."""
    gain_ns: Ints
    """By how much it could have ended sooner if only the last rank had come with the one before it, and no more than it put off anybody."""


class Blaming:
    """Who came last in each operation, and what that cost (Boehme et al. 2016: late arrival as the cause of waiting), rank after rank."""

    def __init__(self, operations: int) -> None:
        self.count = np.zeros(operations, dtype=np.int64)
        """Ranks seen in each operation."""
        self._least, self._second = np.full((2, operations), _MOST)
        self._first, self._cost, self._worst = np.full(operations, -1), *np.zeros((2, operations), dtype=np.int64)

    def see(self, rank: int, operation: Ints, wait_ns: Ints, cost_ns: Ints) -> None:
        """A rank's waiting in operations, each once, and by how much that put off the rank."""
        least = self._least[operation]
        self.count[operation] += 1
        self._second[operation] = np.minimum(self._second[operation], np.maximum(least, wait_ns))
        self._first[operation] = np.where(wait_ns < least, rank, self._first[operation])
        self._least[operation] = np.minimum(least, wait_ns)
        self._cost[operation] += cost_ns
        self._worst[operation] = np.maximum(self._worst[operation], cost_ns)

    @property
    def blame(self) -> Blame:
        """What came of it; operations that nobody was seen in have a row that says nothing."""
        several = (self.count > 1) & (self._second > self._least)
        gain = np.where(several, np.minimum(self._second - self._least, self._worst), 0)
        return Blame(np.where(several, self._first, -1), np.where(several, self._cost, 0), gain)


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
    if not len(burst):
        return np.zeros(len(exposed_ns), dtype=np.int64)
    # Of all that an operation may have had to wait for, what keeps it longest: when one before it in its burst was ready, and all transfers since.
    sent = np.cumsum(transfer_ns)
    ready = ready_ns - ready_ns.min() - (sent - transfer_ns)
    wide = int(ready.max()) - int(ready.min()) + 1
    assert wide * (int(burst[-1]) + 1) < _MOST, "times of a job that lasts for years"
    longest = np.maximum.accumulate(ready + burst * wide) - burst * wide
    last = np.append(np.flatnonzero(np.diff(burst)), len(burst) - 1)
    ended = (end_ns - ready_ns.min() - sent - longest)[last]
    delayed: Ints = np.clip(ended, 0, exposed_ns)
    return delayed
