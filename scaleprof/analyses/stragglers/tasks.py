"""Independent tasks: how long the job of all of them took, how evenly they were dealt out, and what a better order would give (`method` 6.5)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.base import Analysis, Comparison, duration, listed, many, percent
from scaleprof.models.tasks import longest_first, lower_bound
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table
from scaleprof.trace import UNKNOWN, Trace

MOST_ROWS = 500
WORTH_A_WORD = 0.02
"""A better order that saves less than this share of the time is not worth one."""


def tasks(trace: Trace) -> Table:
    """One row per task of this rank that lies in no other, in ns; `end_ns` is UNKNOWN for one that never ended."""
    of = trace.tasks
    outer = np.flatnonzero(of.parent == UNKNOWN)
    return Table(
        {
            "number": of.number[outer],
            "name": [of.name[row] for row in outer.tolist()],
            "start_ns": of.start_ns[outer],
            "end_ns": of.end_ns[outer],
            "steps": of.steps[outer],
            "error": [of.error[row] for row in outer.tolist()],
        }
    )


@dataclass(frozen=True)
class Schedule:
    """The tasks of a run as they ran."""

    names: list[str]
    ranks: list[int]
    """Of each task."""
    lasted_ms: list[float]
    workers: int
    """Ranks that could have taken tasks."""
    makespan_ms: float
    """From the first task's start to the last one's end."""
    aligned: bool
    """Whether starts and ends of all ranks stand on one clock; else the makespan is the longest of the ranks' own."""
    unfinished: list[str]

    @property
    def efficiency(self) -> float:
        """Time in tasks over the time of all workers."""
        return sum(self.lasted_ms) / (self.workers * self.makespan_ms)

    @property
    def bound_ms(self) -> float:
        """No schedule of these tasks ends sooner."""
        return lower_bound(self.lasted_ms, self.workers)

    @property
    def longest_first_ms(self) -> float:
        """The makespan if the longest task left always went to the next free worker, without any pause between tasks."""
        return longest_first(self.lasted_ms, self.workers)[0]

    @property
    def busy_ms(self) -> dict[int, float]:
        """Time in tasks by rank."""
        found: dict[int, float] = {}
        for rank, lasted in zip(self.ranks, self.lasted_ms, strict=True):
            found[rank] = found.get(rank, 0.0) + lasted
        return found


def schedule_of(view: RunView) -> Schedule | None:
    """The tasks that ended; None where there are none."""
    names, ranks, lasted, unfinished = [], [], [], []
    starts, ends, own = [], [], []
    aligned = True
    for rank, table in view.fact("tasks").items():
        start, end = np.asarray(table["start_ns"]), np.asarray(table["end_ns"])
        done = end != UNKNOWN
        unfinished += [
            f"{name} on rank {rank}" for name, ended in zip(table["name"], done.tolist(), strict=True) if not ended
        ]
        if not done.any():
            continue
        names += [name for name, ended in zip(table["name"], done.tolist(), strict=True) if ended]
        ranks += [rank] * int(done.sum())
        lasted += ((end - start)[done] / 1e6).tolist()
        first, last = int(start[done].min()), int(end[done].max())
        own.append((last - first) / 1e6)
        offset = view.clocks.of_rank[rank].offset_at(first)
        aligned &= offset is not None
        starts.append(first - (offset or 0))
        ends.append(last - (offset or 0))
    if not names or not max(own):
        return None
    makespan = (max(ends) - min(starts)) / 1e6 if aligned else max(own)
    return Schedule(names, ranks, lasted, max(len(view.ranks), 1), makespan, aligned, unfinished)


def conclude(view: RunView, options: None) -> Result | None:
    """Makespan, efficiency, and how far a better order would come."""
    found = schedule_of(view)
    if found is None:
        return None
    saved = 1 - found.longest_first_ms / found.makespan_ms
    spent = "time in tasks over the time of all ranks"
    metrics = (
        Metric("tasks.count", "Tasks", len(found.names)),
        Metric("tasks.makespan_ms", "Makespan", found.makespan_ms, "ms", note="first start to last end", better="lower"),
        Metric("tasks.efficiency", "Efficiency of the schedule", found.efficiency, "share", note=spent, better="higher"),
        Metric("tasks.lower_bound_ms", "No schedule ends sooner", found.bound_ms, "ms", note="even shares, or the longest task"),
        Metric("tasks.longest_first_ms", "Longest task first", found.longest_first_ms, "ms", note="the same tasks, without pauses"),
    )  # fmt: skip
    headline = (
        f"{many(len(found.names), 'task')} on {many(found.workers, 'rank')} took {duration(found.makespan_ms)}, "
        f"{percent(found.efficiency)} of it in tasks"
    )
    if saved > WORTH_A_WORD:
        headline += f"; longest task first would take {duration(found.longest_first_ms)}"
    elif found.longest_first_ms <= found.bound_ms * (1 + WORTH_A_WORD) or saved <= 0:
        headline += "; no order of them is much better"
    caveats = []
    if found.unfinished:
        some = ", ".join(found.unfinished[:3]) + (" and others" if len(found.unfinished) > 3 else "")
        caveats.append(
            f"{many(len(found.unfinished), 'task')} never ended and {'is' if len(found.unfinished) == 1 else 'are'} left out: {some}"
        )
    if not found.aligned:
        caveats.append("the clocks of the ranks are not comparable: the makespan is the longest of the ranks' own")
    without = sorted(set(view.ranks) - set(found.ranks))
    if without:
        caveats.append(f"rank {listed(without)} had no task")
    return Result(
        name="tasks",
        title="Independent tasks",
        headline=headline,
        metrics=metrics,
        tables={"tasks": _table(view), "tasks_by_rank": _by_rank(found)},
        charts=(_chart(found, headline),),
        caveats=tuple(caveats),
    )


def _table(view: RunView) -> Table:
    """One row per task, the longest first."""
    rows = []
    for rank, table in view.fact("tasks").items():
        for place, name in enumerate(table["name"]):
            end, start = int(table["end_ns"][place]), int(table["start_ns"][place])
            lasted = (end - start) / 1e6 if end != UNKNOWN else None
            rows.append([name, rank, lasted, int(table["steps"][place]), table["error"][place]])
    rows.sort(key=lambda row: -(row[2] or 0.0))
    return Table.of_rows(("task", "rank", "time_ms", "steps", "error"), rows[:MOST_ROWS])


def _by_rank(found: Schedule) -> Table:
    busy = found.busy_ms
    counts = {rank: found.ranks.count(rank) for rank in busy}
    rows = [[rank, counts[rank], busy[rank], busy[rank] / found.makespan_ms] for rank in sorted(busy)]
    return Table.of_rows(("rank", "tasks", "busy_ms", "busy_share"), rows)


def _chart(found: Schedule, title: str) -> Chart:
    busy = found.busy_ms
    ranks = [f"rank {rank}" for rank in sorted(busy)]
    times = [busy[rank] for rank in sorted(busy)]
    return Chart(
        id="tasks.by_rank",
        kind="stacked_bars",
        title=title,
        subtitle="ms of each rank in tasks, and without one until the last task ends.",
        x=Axis("rank", scale="category"),
        y=Axis("time", "ms", from_zero=True),
        layers=(
            Layer("In tasks", ranks, times, color="compute"),
            Layer("Without a task", ranks, [max(found.makespan_ms - time, 0.0) for time in times], color="idle"),
        ),
        how="Tasks as the training named them (`prof.task`). Lower bound: the larger of all time in tasks over the ranks, and the longest task. "
        "Longest first is at most 4/3 - 1/(3 ranks) of the best possible (Graham 1969).",
    )


TASKS = Analysis("tasks", {"tasks": tasks}, conclude)


def compare(views: Sequence[RunView], options: None) -> Result | None:
    """The same tasks on more workers."""
    groups: dict[tuple[str, ...], list[tuple[RunView, Schedule]]] = {}
    for view in views:
        found = schedule_of(view)
        if found is not None:
            groups.setdefault(tuple(sorted(found.names)), []).append((view, found))
    rows: list[list[object]] = []
    sentences = []
    for members in groups.values():
        sizes = sorted(members, key=lambda one: one[1].workers)
        first, last = sizes[0][1], sizes[-1][1]
        if first.workers == last.workers:
            continue
        for view, found in sizes:
            speedup = first.makespan_ms / found.makespan_ms
            scaling = speedup * first.workers / found.workers
            told = [found.makespan_ms, found.efficiency, found.bound_ms, found.longest_first_ms, speedup, scaling]
            rows.append([view.info.name, found.workers, len(found.names), *told])
        times = [f"{duration(one.makespan_ms)} on {many(one.workers, 'rank')}" for one in (first, last)]
        faster = first.makespan_ms / last.makespan_ms
        sentences.append(f"{many(len(last.names), 'task')} take {' and '.join(times)}, {faster:.3g} times as fast")
    if not rows:
        return None
    names = (
        "run",
        "ranks",
        "tasks",
        "makespan_ms",
        "efficiency",
        "lower_bound_ms",
        "longest_first_ms",
        "speedup",
        "scaling_efficiency",
    )
    return Result(
        "task_scaling", "Tasks on more ranks", ". ".join(sentences), tables={"task_scaling": Table.of_rows(names, rows)}
    )


TASK_SCALING = Comparison("task_scaling", compare)
