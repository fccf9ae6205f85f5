"""What the split of collectives into waiting and transfer says."""

from collections import Counter

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.base import many, percent
from scaleprof.intervals import Ints
from scaleprof.models.statistics import binomial_tail
from scaleprof.results import Metric
from scaleprof.trace import UNKNOWN

SIGNIFICANT = 0.01
"""A rank is named as the last one only where chance would so seldom make any rank that."""

MATTERS = 0.01
"""Shares that differ by less are the same to a reader."""
MOST_DISAGREEING = 0.05


def across_ranks(view: RunView, steps: Ints) -> tuple[list[Metric], str, list[str]]:
    """Metrics of matching and of waiting in these steps (all, if there are none), their words for a headline, and what is missing."""
    metrics, caveats, words = [], [], ""
    if view.matched_share is not None:
        note = "operations found on every rank of their group"
        metrics.append(
            Metric("collectives.matched_share", "Matched across ranks", view.matched_share, "share", note=note)
        )
    if view.unmatched:
        reasons = "; ".join(
            f"{count}: {reason}" for reason, count in sorted(view.unmatched.items(), key=lambda one: -one[1])
        )
        caveats.append(f"{sum(view.unmatched.values())} operations were not matched across ranks ({reasons})")
    exchange = view.exchange
    told = exchange.collectives
    here = np.isin(told["step"], steps) if len(steps) else np.ones(len(told), dtype=bool)
    waited, transfer, last = (np.asarray(told[name])[here] for name in ("wait_ns", "transfer_ns", "last"))
    total = int(waited.sum() + transfer.sum())
    if total:
        share = int(waited.sum()) / total
        note = f"of the time in progress of {many(len(last), 'collective')}{_without_the_first(waited, transfer)}; told without comparing clocks"
        metrics.append(
            Metric("collectives.wait_share", "Waiting for the last rank", share, "share", note=note, better="lower")
        )
        words = f"; {percent(share)} of the time in collectives is waiting for the last rank"
        named = Counter(last[last != UNKNOWN].tolist())
        rank, often = min(named.items(), key=lambda one: (-one[1], one[0]), default=(0, 0))
        if often and _chance(often, len(last), len(exchange.wait_ns)) < SIGNIFICANT:
            words += f", and rank {rank} came last in {often} of {len(last)}"
    if exchange.disagreeing is not None and exchange.disagreeing > MOST_DISAGREEING:
        caveats.append(
            f"in {percent(exchange.disagreeing)} of the collectives waiting by the clocks and waiting by the durations disagree: do not "
            "trust what compares times of different ranks here (sends and receives, pipeline bubbles)"
        )
    impossible = sum(not len(steps) or step in steps for step in exchange.impossible)
    if impossible:
        caveats.append(
            f"{many(impossible, 'operation')} ended on one rank before another rank had begun: these are different operations taken for one, "
            "so their waiting and transfer are not told apart"
        )
    incomplete = sum(not len(steps) or step in steps for step in exchange.incomplete)
    if incomplete:
        caveats.append(
            f"{many(incomplete, 'operation')} {'lacks' if incomplete == 1 else 'lack'} a rank of the group, so waiting and transfer cannot be "
            "told apart there"
        )
    return metrics, words, caveats


def _without_the_first(waited: Ints, transfer: Ints) -> str:
    """The share of waiting without the operations that bear the start of the profiler, where they make a difference."""
    share = waited.sum() / (waited.sum() + transfer.sum())
    without = [
        waited[count:].sum() / (waited[count:].sum() + transfer[count:].sum())
        for count in (1, 2)
        if transfer[count:].sum()
    ]
    if len(without) < 2 or abs(without[-1] - share) < MATTERS:
        return ""
    return f" ({percent(without[0])} without the first, {percent(without[1])} without the first two)"


def _chance(often: int, times: int, ranks: int) -> float:
    """How likely it is that some rank comes last at least so often, if all ranks are alike (Bonferroni over the ranks)."""
    return min(1.0, ranks * binomial_tail(often, times, 1 / ranks)) if ranks > 1 else 1.0
