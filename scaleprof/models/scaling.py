"""Definitions of scaling: speedup, efficiency, Karp-Flatt, and whether a study is strong or weak (`method`: Karp & Flatt, CACM 1990).

A size N has throughput X (samples a second of the whole job). The reference is the smallest size N0 with X0.
"""

from collections.abc import Sequence
from typing import Literal

SAME = 0.02  # batches within 2 % of one another count as constant

Kind = Literal["strong", "weak", "mixed", "unknown"]
"""What stays constant as ranks are added: the global batch, the batch of each rank, neither; or nobody says."""


def speedup(throughput: float, reference: float) -> float:
    """X / X0."""
    return throughput / reference


def efficiency(throughput: float, size: int, reference: float, reference_size: int) -> float:
    """(X / N) / (X0 / N0): 1 is perfect; more than 1 is legal (caches, better shapes) and never clipped."""
    return (throughput / size) / (reference / reference_size)


def karp_flatt(throughput: float, size: int, reference: float, reference_size: int) -> float | None:
    """The experimentally determined serial fraction (1/S - 1/p) / (1 - 1/p) with p = N / N0; None where p is 1.

    Rising with N: overhead that grows with the size. Flat: a part that does not scale at all.
    """
    p = size / reference_size
    if p == 1:
        return None
    return (1 / speedup(throughput, reference) - 1 / p) / (1 - 1 / p)


def is_constant(values: Sequence[float]) -> bool:
    """Whether all values lie within 2 % of one another."""
    return bool(values) and max(values) <= min(values) * (1 + SAME)


def kind_of(local_batches: Sequence[float], global_batches: Sequence[float]) -> Kind:
    """Strong where the global batch is constant over the sizes, weak where the local one is, else mixed.

    Expects at least two sizes; both cannot be constant then.
    """
    if is_constant(global_batches):
        return "strong"
    if is_constant(local_batches):
        return "weak"
    return "mixed"
