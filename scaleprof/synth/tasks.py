"""A synthetic job of independent tasks: no communication, no traces, only what the recorder writes of steps and tasks at level `light`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from scaleprof import __version__
from scaleprof.clock import ClockAnchor
from scaleprof.run import (
    RANK_FILE,
    RUN_FILE,
    SCHEMA_VERSION,
    STEPS_FILE,
    SYNTHETIC_KEY,
    TASKS_FILE,
    TRUTH_FILE,
    RankInfo,
    RunInfo,
    rank_folder_name,
    write_json,
)
from scaleprof.synth.records import MONOTONIC_NS, shown_at_begin
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import BEGIN_NS
from scaleprof.synth.truth import host_of


def write_tasks(spec: Spec, folder: Path) -> None:
    """The run directory, and `truth.json` beside it: every task with its rank and time, in ns since the job began, and when the last one ends."""
    truth: dict[str, list[Any]] = {name: [] for name in ("rank", "task", "start_ns", "end_ns")}
    for rank in range(spec.ranks):
        at = 0
        lines: list[tuple[str, int, int]] = []
        for number in range(rank, len(spec.task_ms), spec.ranks):
            name, end = f"task-{number}", at + spec.ns(spec.task_ms[number])
            lines.append((name, at, end))
            for column, value in zip(truth.values(), (rank, name, at, end), strict=True):
                column.append(value)
            at = end
        _write_rank(spec, rank, lines, folder / rank_folder_name(rank))
    info = RunInfo(
        name=spec.name, world_size=spec.ranks, series=spec.name, run_id=f"{spec.name}-{spec.ranks}-synthetic", started_at=BEGIN_NS / 1e9,
        level="light", nodes=spec.hosts, synthetic=True,
    )  # fmt: skip
    write_json(info, folder / RUN_FILE)
    whole = {
        SYNTHETIC_KEY: True,
        "schema_version": SCHEMA_VERSION,
        "spec": dataclasses.asdict(spec),
        "strategy": "tasks",
    }
    whole |= {"makespan_ns": max(truth["end_ns"]), "tasks": truth}
    (folder / TRUTH_FILE).write_text(json.dumps(whole, indent=1))


def _write_rank(spec: Spec, rank: int, tasks: list[tuple[str, int, int]], folder: Path) -> None:
    folder.mkdir()
    shown = shown_at_begin(spec, rank)
    info = RankInfo(
        rank=rank, world_size=spec.ranks, host=host_of(rank, spec.ranks_per_host), device="cuda", framework="pytorch", level="light",
        strategy="tasks", replicas=spec.ranks, local_batch=float(spec.samples), anchors=(ClockAnchor(shown, MONOTONIC_NS, shown),),
        versions={"scaleprof": __version__}, capabilities={"steps": True},
    )  # fmt: skip
    write_json(info, folder / RANK_FILE)
    steps, lines = [], []
    for number, (name, start, end) in enumerate(tasks):
        begun, ended = MONOTONIC_NS + start, MONOTONIC_NS + end
        steps.append({"i": number, "t0": begun, "t1": ended, "samples": spec.samples})
        task = {"n": number, "name": name, "t0": begun}
        lines += [task, {**task, "t1": ended, "steps": 1}]
    for file, written in ((STEPS_FILE, steps), (TASKS_FILE, lines)):
        (folder / file).write_text("".join(json.dumps(line) + "\n" for line in written))
