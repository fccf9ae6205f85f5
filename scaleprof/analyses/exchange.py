"""What the split of collectives into waiting and transfer says, and what the links carried (nccl-tests)."""

import math
from collections import Counter

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.base import many, percent
from scaleprof.intervals import Ints
from scaleprof.results import Metric
from scaleprof.trace import UNKNOWN

SIGNIFICANT = 0.01
"""A rank is named as the last one only where chance would so seldom make any rank that."""


def across_ranks(view: RunView, steps: Ints) -> tuple[list[Metric], str, list[str]]:
    """Metrics of matching and of waiting in these steps (all, if there are none), their words for a headline, and what is missing."""
    metrics, caveats, words = [], [], ""
    if view.matched_share is not None:
        note = "operations found again on the other ranks of their group"
        metrics.append(
            Metric("collectives.matched_share", "Matched across ranks", view.matched_share, "share", note=note)
        )
    if view.unmatched:
        reasons = "; ".join(
            f"{count}: {reason}" for reason, count in sorted(view.unmatched.items(), key=lambda one: -one[1])
        )
        caveats.append(f"{sum(view.unmatched.values())} operations were not matched across ranks ({reasons})")
    exchange = view.exchange
    inside = {
        rank: np.isin(table["step"], steps) if len(steps) else np.ones(len(table), dtype=bool)
        for rank, table in view.fact("collectives").items()
    }
    waited, transfer = (
        sum(int(part[(part != UNKNOWN) & inside[rank]].sum()) for rank, part in of.items())
        for of in (exchange.wait_ns, exchange.transfer_ns)
    )
    last = Counter(rank for step, rank in exchange.last if not len(steps) or step in steps)
    if waited + transfer and last:
        share, split = waited / (waited + transfer), last.total()
        rank, often = min(last.items(), key=lambda one: (-one[1], one[0]))
        note = f"of the time in progress of {many(split, 'operation')}; needs no clock"
        metrics.append(
            Metric("collectives.wait_share", "Waiting for the last rank", share, "share", note=note, better="lower")
        )
        words = f", of which {percent(share)} is waiting for the last rank"
        if _chance(often, split, len(exchange.wait_ns)) < SIGNIFICANT:
            words += f" (rank {rank} came last in {often} of {split})"
    incomplete = sum(not len(steps) or step in steps for step in exchange.incomplete)
    if incomplete:
        caveats.append(
            f"{many(incomplete, 'operation')} lack a rank of their group, so that waiting and transfer cannot be told apart in them"
        )
    return metrics, words, caveats


def _chance(often: int, times: int, ranks: int) -> float:
    """How likely it is that some rank comes last at least so often, if all ranks are alike (Bonferroni over the ranks)."""
    one = 1 / max(ranks, 1)
    logs = (
        math.lgamma(times + 1)
        - math.lgamma(k + 1)
        - math.lgamma(times - k + 1)
        + k * math.log(one)
        + (times - k) * math.log1p(-one)
        for k in range(often, times + 1)
    )
    return min(1.0, ranks * sum(map(math.exp, logs))) if ranks > 1 else 1.0


def bus_factor(op: str, ranks: int) -> float:
    """What a byte of an operation's size costs on the bus, by nccl-tests (doc/PERFORMANCE.md)."""
    if op == "all_reduce":
        return 2 * (ranks - 1) / ranks
    return (ranks - 1) / ranks if op in ("all_gather", "reduce_scatter", "all_to_all") else 1.0
