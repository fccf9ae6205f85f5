"""The Pareto front of throughput and memory: configurations that no other one beats, told from those that only look slower."""

from collections.abc import Sequence

from scaleprof.analyses.strategies.configurations import Configuration

SAME_MEMORY = 0.01
"""Peaks within this share of one another count as the same: samples of memory differ by as much from start to start."""
HOW = (
    "A configuration is beaten where another one of the same size has more throughput, the 95 % intervals apart, and needs no more memory "
    f"(within {100 * SAME_MEMORY:.0f} % counts as the same). The others are the front."
)


def beaten_by(one: Configuration, members: Sequence[Configuration]) -> Configuration | None:
    """The fastest of those that beat this one; None where none does."""
    if one.memory_bytes is None or one.throughput.high is None:
        return None
    better = [
        other
        for other in members
        if other.memory_bytes is not None
        and other.throughput.low is not None
        and other.throughput.low > one.throughput.high
        and other.memory_bytes <= one.memory_bytes * (1 + SAME_MEMORY)
    ]
    return max(better, key=lambda other: other.throughput.value, default=None)


def is_on_front(one: Configuration, members: Sequence[Configuration]) -> bool | None:
    """Whether no other one beats it; None where its memory or its interval is unknown."""
    if one.memory_bytes is None or one.throughput.low is None:
        return None
    return beaten_by(one, members) is None


def front_of(members: Sequence[Configuration]) -> list[Configuration]:
    """Those on the front, the least memory first."""
    return sorted(
        (one for one in members if is_on_front(one, members)), key=lambda one: (one.memory_bytes or 0.0, one.name)
    )
