"""How long a step takes and how much work it does: step times, throughput, outliers, the machine's own interference."""

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.base import Analysis, duration, listed, many, percent
from scaleprof.intervals import Ints
from scaleprof.models.statistics import mean_interval, median_interval, outliers, warm_up_steps
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table
from scaleprof.run import replicas_of
from scaleprof.trace import UNKNOWN, Trace

Floats = NDArray[np.float64]

RUNQ_LIMIT = 0.1
"""Where the training thread waits longer than this share of its step for a core, times say more about the machine than about the job."""


def steps(trace: Trace) -> Table:
    """One row per step of this rank, times in ns, UNKNOWN (-1) where not recorded."""
    of = trace.steps
    return Table(
        {
            "step": of.index,
            "start_ns": of.start_ns,
            "time_ns": np.where(of.device_ns != UNKNOWN, of.device_ns, of.end_ns - of.start_ns),
            "samples": of.samples,
            "blocked_ns": of.blocked_ns,
            "input_ns": of.input_ns,
            "runq_ns": of.runq_ns,
            "cpu_ns": of.cpu_ns,
            "profiled": of.profiled,
            "perturbed": of.perturbed,
        }
    )


NEEDS = {"steps": steps}


def steady_steps(view: RunView) -> Ints:
    """The numbers of the steps that statistics use: seen by all ranks, undisturbed by the profiler, after warm-up."""
    quiet = np.asarray(view.steps["steady"], dtype=bool)
    numbers: Ints = np.asarray(view.steps["step"], dtype=np.int64)[quiet]
    dropped = warm_up_steps(np.asarray(view.steps["time_ms"], dtype=np.float64)[quiet])
    return numbers[dropped:]


def steady_times_ms(view: RunView) -> Floats:
    """Step times of the steady steps, mean over ranks, in ms."""
    times: Floats = np.asarray(view.steps["time_ms"], dtype=np.float64)
    return times[np.isin(view.steps["step"], steady_steps(view))]


def samples_per_rank(view: RunView) -> float | None:
    """Samples of a steady step by rank: the whole job's through the number of ranks (`method` 4.5, B_loc); None where nobody knows.

    Ranks that share their samples, as those of tensor parallelism and of a pipeline do, each count for their share of them.
    """
    replicas = replicas_of(view.info)
    taken = _samples_taken(view)
    return taken * replicas / view.info.world_size if taken is not None and replicas is not None else None


def _samples_taken(view: RunView) -> float | None:
    wanted = steady_steps(view)
    means = []
    for rank, table in view.fact("steps").items():
        seen = np.asarray(table["samples"], dtype=np.float64)[np.isin(table["step"], wanted)]
        known = seen[np.isfinite(seen)]
        stated = view.ranks[rank].local_batch
        if len(known):
            means.append(float(known.mean()))
        elif stated is not None:
            means.append(float(stated))
    return float(np.mean(means)) if means else view.info.local_batch


def runq_share(view: RunView) -> float | None:
    """Share of the steady step in which the training thread could run but had no core, outside waits; the worst rank's; None where unknown."""
    shares = []
    wanted = steady_steps(view)
    for table in view.fact("steps").values():
        rows = np.isin(table["step"], wanted) & (np.asarray(table["runq_ns"]) != UNKNOWN)
        if rows.any():
            shares.append(float(np.asarray(table["runq_ns"])[rows].sum() / np.asarray(table["time_ns"])[rows].sum()))
    return max(shares) if shares else None


def conclude(view: RunView, options: None) -> Result | None:
    """Step time, throughput and what disturbed them."""
    times = steady_times_ms(view)
    if not len(times):
        return None
    mean, median = mean_interval(times), median_interval(times)
    far = outliers(times)
    metrics = [
        Metric("step.time_ms", "Step time (mean)", mean.value, "ms", mean.low, mean.high, better="lower"),
        Metric(
            "step.time_median_ms", "Step time (median)", median.value, "ms", median.low, median.high, better="lower"
        ),
        Metric(
            "step.time_p95_ms", "Step time (95th percentile)", float(np.quantile(times, 0.95)), "ms", better="lower"
        ),
        Metric("step.count", "Steady steps", len(times), note=f"of {len(view.steps)} seen on every rank"),
    ]
    metrics += _cost_of_recording(view)
    caveats = []
    samples = samples_per_rank(view)
    if samples is None:
        caveats.append(
            "samples per step are unknown, so there is no throughput: pass samples_per_step= to profile() or samples= to step()"
        )
    else:
        factor = samples * view.info.world_size * 1e3
        low, high = (factor / mean.high if mean.high else None), (factor / mean.low if mean.low else None)
        metrics.append(
            Metric("step.throughput", "Throughput", factor / mean.value, "samples/s", low, high, better="higher")
        )
    waited = runq_share(view)
    if waited is not None:
        metrics.append(
            Metric("step.runq_share", "Waiting for a core", waited, "share", note="worst rank", better="lower")
        )
        if waited > RUNQ_LIMIT:
            caveats.append(
                f"the training thread waited {percent(waited)} of its step for a core (limit {percent(RUNQ_LIMIT)}): "
                "the machine was oversubscribed, its step times say little about the job"
            )
    if len(times) < 6:
        caveats.append(f"{many(len(times), 'steady step')}: too few for an interval (6 are needed)")
    if far.any():
        numbers = steady_steps(view)[far]
        caveats.append(
            f"{many(int(far.sum()), 'outlier step')} ({listed(numbers.tolist())}) took up to "
            f"{duration(float(times.max()))}; they count in the mean, not in the median"
        )
    headline = f"A step takes {duration(mean.value)} on average over {many(len(times), 'steady step')}"
    return Result(
        name="steps",
        title="Steps",
        headline=headline,
        metrics=tuple(metrics),
        tables={"steps": _table(view)},
        charts=(_chart(view, headline),),
        caveats=tuple(caveats),
    )


def _cost_of_recording(view: RunView) -> list[Metric]:
    """What the recorder's hooks add to a step, as the recording measured it with and without them."""
    overhead = view.info.overhead
    if "step_share" not in overhead:
        return []
    low, high = overhead.get("step_low_share"), overhead.get("step_high_share")
    note = "blocks of steps with and without the recorder's hooks, worst rank"
    return [
        Metric(
            "step.recording_share",
            "Cost of recording",
            overhead["step_share"],
            "share",
            low,
            high,
            note=note,
            better="lower",
        )
    ]


def _table(view: RunView) -> Table:
    steady = np.isin(view.steps["step"], steady_steps(view))
    return Table({**{name: view.steps[name] for name in ("step", "time_ms", "spread_ms")}, "steady": steady})


def _chart(view: RunView, headline: str) -> Chart:
    numbers, times = np.asarray(view.steps["step"]), np.asarray(view.steps["time_ms"])
    steady = np.isin(numbers, steady_steps(view))
    layers = [Layer("steady", numbers[steady].tolist(), times[steady].tolist(), color="series-1")]
    if (~steady).any():
        layers.append(Layer("left out", numbers[~steady].tolist(), times[~steady].tolist(), color="muted"))
    return Chart(
        id="steps.time",
        kind="lines",
        title=headline,
        subtitle="Step time, mean over ranks; warm-up and steps beside a profiler start or stop are left out of every statistic.",
        x=Axis("step"),
        y=Axis("step time", "ms", from_zero=True),
        layers=tuple(layers),
        how="Steady: seen on every rank, no profiler start or stop beside it, after the first three steps in a row within 3 robust standard "
        "deviations of the tail's median. The interval of the mean comes from a moving-block bootstrap.",
    )


STEPS = Analysis("steps", NEEDS, conclude)
