"""Reports that are too large for a page: many runs, long tables, 1,024 ranks for 1,000 steps."""

from dataclasses import replace

import numpy as np

from scaleprof.results import Axis, Chart, Layer, Metric, Report, Result, RunReport, SeriesOfRuns, Table
from scaleprof.run import RunInfo
from tests.render.made import study
from tests.render.made_runs import run

RANKS, STEPS = 1_024, 1_000


def many_runs(count: int) -> Report:
    """The study's largest run again and again, each with a timeline; the last is the largest."""
    one = run("strong", 4)
    timeline = Result("timeline", "Timeline", "a step", timeline=slices(200))
    runs = [
        replace(one, info=replace(one.info, name=f"run-{place}"), sections=(*one.sections, timeline))
        for place in range(count - 1)
    ]
    last = RunReport(
        replace(one.info, name="last", world_size=8), tuple(range(8)), (*run("strong", 8 // 2).sections, timeline)
    )
    series = SeriesOfRuns("all", "all of them", tuple(range(count)))
    return replace(study(), runs=(*runs, last), series=(series,))


def slices(count: int) -> Table:
    """A step of one rank, kernel after kernel."""
    at = [float(place) for place in range(count)]
    columns = {
        "rank": [0] * count,
        "step": [7] * count,
        "step_label": ["a step"] * count,
        "row": [1] * count,
        "depth": [0] * count,
        "start_ms": at,
        "dur_ms": [0.9] * count,
        "wait_ms": [None] * count,
        "name": ["kernel"] * count,
        "color": ["compute"] * count,
        "operation": [None] * count,
        "bytes": [None] * count,
        "step_from_ms": [0.0] * count,
        "step_to_ms": [float(count)] * count,
    }
    return Table(columns)


def large_job() -> Report:
    """Every rank and step of a job of 1,024 ranks in one table and in three charts, as no analysis would do it."""
    generator = np.random.default_rng(3)
    times = generator.normal(100.0, 3.0, (RANKS, STEPS))
    times[612] += 20.0
    ranks, steps = list(range(RANKS)), list(range(STEPS))
    layers = tuple(Layer(f"rank {rank}", steps, times[rank].tolist()) for rank in ranks)
    ms, step = Axis("step time", "ms"), Axis("step")
    charts = (
        Chart("steps.time", "lines", "Steps take 100 ms", "", step, ms, (Layer("all", steps, times.mean(0).tolist()),)),
        Chart("steps.by_rank", "lines", "Rank 612 is slow", "", step, ms, layers),
        Chart(
            "steps.heatmap", "heatmap", "Rank 612 is slow", "", step, Axis("rank"),
            (Layer("step time", steps, ranks, z=times.tolist()),), z=ms,
        ),
    )  # fmt: skip
    table = Table(
        {
            "rank": np.repeat(ranks, STEPS),
            "step": np.tile(steps, RANKS),
            "step_ms": times.reshape(-1),
            "waiting_ms": generator.exponential(3.0, RANKS * STEPS),
        }
    )
    section = Result(
        "steps",
        "Steps",
        "Rank 612 takes 20 ms longer",
        (Metric("step.time_ms", "Step time", 100.0, "ms"),),
        {"steps": table},
        charts,
    )
    return Report(
        "large", "Rank 612 holds 1,023 others up.", (RunReport(RunInfo("large", RANKS), tuple(ranks), (section,)),)
    )
