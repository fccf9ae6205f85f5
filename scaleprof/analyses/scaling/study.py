"""A series measured: step time, throughput and efficiency of every size against the smallest sound one (`method` 4.5, 5.1, 5.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import RUNQ_LIMIT, runq_share, samples_per_rank, steady_times_ms
from scaleprof.analyses.account.time import leaves_of
from scaleprof.analyses.base import percent
from scaleprof.analyses.scaling.series import Series
from scaleprof.errors import OptionError
from scaleprof.models import scaling as law
from scaleprof.models.components import Part
from scaleprof.models.statistics import DRAWS, Interval, function_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScalingOptions:
    """Thresholds of this section."""

    target: float = 0.8
    """The efficiency to hold results against; 0.8 is what the POP centre calls acceptable."""
    runq_limit: float = RUNQ_LIMIT
    """A size whose training threads wait longer than this share of the step for a core gets no efficiency."""

    def __post_init__(self) -> None:
        if not 0 < self.target <= 1:
            raise OptionError(f"scaling.target must lie in 0..1, not {self.target}")
        if not 0 <= self.runq_limit <= 1:
            raise OptionError(f"scaling.runq_limit must lie in 0..1, not {self.runq_limit}")


@dataclass(frozen=True)
class Size:
    """One world size of a series."""

    ranks: int
    views: tuple[RunView, ...]
    local_batch: float
    step_ms: Interval
    throughput: Interval
    runq: float | None
    refused: str
    """Why this size gets no efficiency; empty where it gets one."""
    efficiency: Interval | None
    speedup: float | None
    karp_flatt: float | None
    compute_share: float | None
    compute_scalability: float | None
    sampling: float | None
    """Measured efficiency over the one that the profiled steps explain."""
    runs: int = 1
    """How often it was measured."""
    nodes: int = 0
    """How many nodes it lies on; 0 where nobody knows."""
    spread: float | None = None
    """The standard deviation of its throughput as a share, where that is known in another way than by the interval."""
    parts: Mapping[Part, float] | None = None
    """What a sample costs a rank by class in any unit, where that is stated; else the runs themselves say it."""


@dataclass(frozen=True)
class Scaled:
    """A series with its sizes measured."""

    series: Series
    sizes: tuple[Size, ...]
    reference: int | None
    """The smallest size that could be judged; None where fewer than two could."""
    doubt: float = 0.0
    """What a size may lie off any law, as a share, where none was measured twice."""

    @property
    def largest(self) -> Size | None:
        """The largest size with an efficiency."""
        judged = [size for size in self.sizes if size.efficiency is not None]
        return judged[-1] if judged and judged[-1].ranks != self.reference else None


def scaled(series: Series, options: ScalingOptions) -> Scaled:
    """Every size of a series against its smallest sound one."""
    refusals = {ranks: _refusal(views, options) for ranks, views in series.sizes.items()}
    sound = [ranks for ranks, refusal in refusals.items() if not refusal]
    reference = sound[0] if len(sound) > 1 else None
    sizes = [_measured(series, ranks, refusals[ranks], reference) for ranks in series.sizes]
    return Scaled(series, tuple(sizes), reference)


def _refusal(views: Sequence[RunView], options: ScalingOptions) -> str:
    shares = [share for view in views if (share := runq_share(view)) is not None]
    if shares and max(shares) > options.runq_limit:
        return (
            f"its training threads waited {percent(max(shares))} of the step for a core, more than {percent(options.runq_limit)}: "
            "the machine, not the job, set the pace"
        )
    return ""


def _measured(series: Series, ranks: int, refused: str, reference: int | None) -> Size:
    views = series.sizes[ranks]
    times = [steady_times_ms(view) for view in views]
    local = float(np.mean([samples_per_rank(view) for view in views]))
    judged = reference is not None and not refused
    efficiency = speedup = karp_flatt = compute_scalability = sampling = None
    if judged and reference is not None:
        base = series.sizes[reference]
        base_times = [steady_times_ms(view) for view in base]
        base_local = float(np.mean([samples_per_rank(view) for view in base]))
        count = len(times)

        def ratio(means: list[Floats]) -> Floats:
            return (local / pooled(means[:count])) / (base_local / pooled(means[count:]))

        efficiency = function_interval([*times, *base_times], ratio)
        if ranks == reference:
            efficiency = Interval(1.0, None, None)
        x, x0 = (
            local * ranks / _pooled_value(times),
            base_local * reference / _pooled_value(base_times),
        )
        speedup = law.speedup(x, x0)
        karp_flatt = law.karp_flatt(x, ranks, x0, reference)
        compute_scalability, tree = _tree(views, local, base, base_local)
        sampling = efficiency.value / tree if tree else None
    leaves = [leaf for view in views if (leaf := leaves_of(view)) is not None]
    return Size(
        ranks=ranks,
        views=views,
        local_batch=local,
        step_ms=function_interval(times, pooled),
        throughput=function_interval(times, lambda means: local * ranks * 1e3 / pooled(means)),
        runq=max((share for view in views if (share := runq_share(view)) is not None), default=None),
        refused=refused,
        efficiency=efficiency,
        speedup=speedup,
        karp_flatt=karp_flatt,
        compute_share=float(np.mean([leaf.share("compute") for leaf in leaves])) if leaves else None,
        compute_scalability=compute_scalability,
        sampling=sampling,
        runs=len(views),
        nodes=max(view.info.nodes or 0 for view in views),
    )


def pooled(means: list[Floats]) -> Floats:
    """The mean over repeats; for resampled means the repeats are resampled too, so that their differences widen the interval."""
    stacked = np.stack(means)
    if len(stacked) == 1 or stacked.shape[1] != DRAWS:
        return np.asarray(stacked.mean(axis=0))
    picks = np.random.default_rng(len(stacked)).integers(0, len(stacked), size=stacked.shape)
    return np.asarray(np.take_along_axis(stacked, picks, axis=0).mean(axis=0))


def _pooled_value(times: list[Floats]) -> float:
    return float(np.mean([series.mean() for series in times]))


def _tree(
    views: Sequence[RunView], local: float, base: Sequence[RunView], base_local: float
) -> tuple[float | None, float | None]:
    """Compute scalability, and the efficiency CompS x PE / PE0 over the profiled steps."""
    here, there = _per_sample(views, local), _per_sample(base, base_local)
    if here is None or there is None or not here[0]:
        return None, None
    scalability = there[0] / here[0]
    return scalability, scalability * (here[0] / here[1]) / (there[0] / there[1])


def _per_sample(views: Sequence[RunView], local: float) -> tuple[float, float] | None:
    """Compute and window per sample and rank in ns, mean over ranks, steps and repeats."""
    values = []
    for view in views:
        leaves = leaves_of(view)
        if leaves is None:
            return None
        rows = len(leaves.rows)
        values.append((leaves.by_leaf_ns["compute"] / rows / local, leaves.window_ns / rows / local))
    means = np.mean(values, axis=0)
    return float(means[0]), float(means[1])
