"""The efficiency tree: factors whose product is the parallel efficiency, and what compute scalability consists of (`method` 4).

Useful time is compute; everything else is nested around it in a fixed order, so that each factor is what is left after one more loss:

    u/T = u/(u+w) x (u+w)/(u+w+b) x (u+w+b)/(u+w+b+x) x ... x (.../T)       (w waiting, b bubble, x transfer, then copies and idle)

Factors grade; they do not say what a change would gain.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FACTORS = {
    "wait": "exposed_wait",
    "pipeline": "bubble",
    "transfer": "exposed_transfer",
    "untold": "exposed_untold",
    "memory": "exposed_memory",
    "orchestration": "idle",
}
"""Each factor and the leaf that it takes away, from the innermost out."""


def factors(leaves: Mapping[str, float]) -> dict[str, float] | None:
    """Each factor, in 0..1; their product is compute over the sum of all leaves. None where nothing was computed."""
    reached = float(leaves["compute"])
    if reached <= 0:
        return None
    found = {}
    for name, leaf in FACTORS.items():
        more = reached + float(leaves[leaf])
        found[name] = reached / more
        reached = more
    return found


@dataclass(frozen=True)
class Balance:
    """How evenly compute is spread over ranks (`method` 2.5): `load` is the product of the other two."""

    load: float
    """Mean over ranks, over the sum of each step's longest."""
    persistent: float
    """What ranks differ by in sum: mean over maximum."""
    transient: float
    """What they differ by from step to step, though not in sum."""


def balance(useful: Floats) -> Balance | None:
    """Of compute by rank and step: (ranks, steps); None where nothing was computed."""
    of_rank = useful.sum(axis=1)
    longest = float(useful.max(axis=0).sum()) if useful.size else 0.0
    if longest <= 0:
        return None
    return Balance(
        load=float(of_rank.mean()) / longest,
        persistent=float(of_rank.mean() / of_rank.max()),
        transient=float(of_rank.max()) / longest,
    )


@dataclass(frozen=True)
class Talp:
    """The factors of TALP's device metrics, by its own definition: any kernel is useful, also one that only waits."""

    parallel: float
    load_balance: float
    communication: float
    orchestration: float


def talp(kernels: Floats, copies: Floats, total: float) -> Talp | None:
    """From each rank's time under kernels and under copies alone, and the time that passed (the same for all); None without kernels."""
    active = kernels + copies
    if not kernels.size or kernels.max() <= 0 or total <= 0:
        return None
    return Talp(
        parallel=float(kernels.mean()) / total,
        load_balance=float(kernels.mean() / kernels.max()),
        communication=float(kernels.max() / active.max()),
        orchestration=float(active.max()) / total,
    )


@dataclass(frozen=True)
class Work:
    """What was computed for one sample of one rank."""

    useful: float
    """Time in which anything was computed."""
    summed: float
    """Durations of all kernels: more than `useful` where they ran side by side; 0 where kernels are not known."""
    classes: Mapping[str, tuple[float, float]]
    """By class of kernels: how many, and their time together."""
    flops: float | None = None


@dataclass(frozen=True)
class Scalability:
    """Compute scalability and what it consists of; a part is None where it cannot be told, and `mix` x `speed` x `concurrency` is `whole`."""

    whole: float
    mix: float | None
    """Less than 1: more kernels for the same sample."""
    speed: float | None
    """Less than 1: the same kernels take longer."""
    concurrency: float | None
    """Less than 1: fewer kernels run side by side."""
    matched: float | None
    """Share of the kernels' time whose class both runs have."""


LEAST_MATCHED = 0.8
"""Below this share of matched kernels their speed says nothing."""


def scalability(reference: Work, larger: Work, *, alike: bool) -> Scalability:
    """How much more compute a sample costs in the larger run.

    `alike` says that a rank takes as many samples in both, so that kernels of one name do the same work. Where it does not, floating-point
    operations tell more work from slower work, if both runs know them.
    """
    whole = reference.useful / larger.useful
    if not reference.summed or not larger.summed:
        return Scalability(whole, None, None, None, None)
    concurrency = (reference.useful / reference.summed) / (larger.useful / larger.summed)
    expected, matched = _expected(reference, larger)
    if not alike:
        if not reference.flops or not larger.flops:
            return Scalability(whole, None, None, concurrency, None)
        expected, matched = reference.summed * larger.flops / reference.flops, 1.0
    if matched < LEAST_MATCHED:
        return Scalability(whole, None, None, concurrency, matched)
    return Scalability(whole, reference.summed / expected, expected / larger.summed, concurrency, matched)


def _expected(reference: Work, larger: Work) -> tuple[float, float]:
    """The larger run's kernels at the reference's speed, and the share of their time that the reference knows."""
    expected = known = 0.0
    for name, (count, total) in larger.classes.items():
        there_count, there_total = reference.classes.get(name, (0.0, 0.0))
        if there_count > 0:
            expected += count * there_total / there_count
            known += total
        else:
            expected += total
    return expected, known / larger.summed
