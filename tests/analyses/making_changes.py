"""Runs of a report made by hand, for comparing them: step times and classes of time as they would be kept."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from scaleprof.align import LEAVES
from scaleprof.results import Metric, Result, RunReport, Table
from scaleprof.run import RunInfo

WOBBLE = np.array([0.0, 1.0, -1.0, 0.5, -0.5, 0.2, -0.3, 0.8, -0.7, 0.1, -0.1, 0.4, -0.4, 0.6, -0.6, 0.3])
"""Noise that alternates and has a mean of 0.01875."""
INFO = RunInfo(name="job", world_size=2, series="study", strategy="ddp", model="mlp", global_batch=32.0)


def run_of_steps(
    step_ms: float | Sequence[float],
    *,
    info: RunInfo = INFO,
    classes: Mapping[str, float] | None = None,
    ranks: Mapping[int, float] | None = None,
    runq: float | None = None,
    **more: Table,
) -> RunReport:
    """A run of 16 steady steps after a warm-up step; `classes` and `ranks` say the means of each in ms, which wobble a thousandth of it."""
    times = np.asarray(step_ms) if np.ndim(step_ms) else step_ms * (1 + WOBBLE / 1000)
    steps = {
        "step": np.arange(len(times) + 1),
        "time_ms": [9 * times[0], *times],
        "spread_ms": np.zeros(len(times) + 1),
    }
    metrics = () if runq is None else (Metric("step.runq_share", "", runq, "share"),)
    table = Table({**steps, "steady": [False, *[True] * len(times)]})
    number = np.arange(1, 17)
    tables: dict[str, Table] = dict(more)
    if classes is not None:
        assert set(classes) <= set(LEAVES)
        columns = {f"{leaf}_ms": classes.get(leaf, 0.0) * (1 + WOBBLE / 1000) for leaf in LEAVES}
        tables["classes"] = Table({"step": number, "window_ms": np.sum(list(columns.values()), axis=0), **columns})
    if ranks is not None:
        tables["ranks"] = Table({"step": number, **{str(rank): ms * (1 + WOBBLE / 1000) for rank, ms in ranks.items()}})
    by_rank = Result("time", "Time", "", tables={"time": time_table(ranks)}) if ranks is not None else None
    sections = (Result("steps", "Steps", "", metrics, {"steps": table}), *((by_rank,) if by_rank else ()))
    return RunReport(replace(info), tuple(range(info.world_size)), sections, (), tables)


def time_table(ranks: Mapping[int, float]) -> Table:
    """A table of the section `time` in which everything that a rank does by itself is compute."""
    return Table(
        {
            "rank": list(ranks),
            "compute_ms": list(ranks.values()),
            "exposed_memory_ms": [0.0] * len(ranks),
            "idle_ms": [0.0] * len(ranks),
        }
    )


def collectives_table(busy: Mapping[tuple[str, int, str], tuple[float, float]]) -> Table:
    """By operation, bytes and group how long it waits and is transferred, once a step."""
    rows = [
        [*key, step, 1.0, (wait + sent) * (1 + wobble / 1000), wait * (1 + wobble / 1000), sent * (1 + wobble / 1000)]
        for key, (wait, sent) in busy.items()
        for step, wobble in enumerate(WOBBLE, 1)
    ]
    return Table.of_rows(("op", "bytes", "group", "step", "count", "busy_ms", "wait_ms", "transfer_ms"), rows)
