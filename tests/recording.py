"""Run directories made by hand, as the recorder writes them, for tests of everything behind the reader."""

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaleprof.clock import ClockAnchor
from scaleprof.run import (
    RANK_FILE,
    RUN_FILE,
    STEPS_FILE,
    WAITS_FILE,
    RankInfo,
    RunInfo,
    rank_folder_name,
    trace_file_name,
    write_json,
)

UNIX_NS = 1_790_000_000_000_000_000
"""Unix time at which the monotonic clock of a recorded rank reads 0."""
BASE_NS = 1_789_000_000_000_000_000
MS = 1_000_000


@dataclass(frozen=True)
class Recorded:
    """A regular data-parallel job on an emulated device: each step computes, is blocked in one all-reduce, and idles for the rest."""

    ranks: int = 2
    steps: int = 12
    step_ms: float = 100
    compute_ms: float = 80
    blocked_ms: float = 15
    samples: float | None = 8
    runq_ms: float = 0
    name: str = "job"
    series: str | None = None
    rank_info: dict[str, Any] = field(default_factory=dict)
    run_info: dict[str, Any] = field(default_factory=dict)


def write_run(folder: Path, job: Recorded) -> Path:
    """The folder of the run, with every rank in it."""
    run = folder / f"{job.name}-n{job.ranks}"
    run.mkdir(parents=True)
    info = RunInfo(
        name=job.name, world_size=job.ranks, series=job.series, run_id=f"id-{job.name}-{job.ranks}", **job.run_info
    )
    write_json(info, run / RUN_FILE)
    for rank in range(job.ranks):
        write_rank(run / rank_folder_name(rank), rank, job)
    return run


def write_rank(folder: Path, rank: int, job: Recorded) -> None:
    """One rank's folder."""
    folder.mkdir()
    known: dict[str, Any] = {
        "host": "node-0", "pid": 1000 + rank, "device": "cpu", "backend": "gloo", "framework": "pytorch", "level": "timeline",
        "strategy": "ddp", "model": "Net", "precision": "float32", "local_batch": job.samples,
    }  # fmt: skip
    anchors = (ClockAnchor(UNIX_NS, 0, UNIX_NS),)
    write_json(
        RankInfo(rank=rank, world_size=job.ranks, anchors=anchors, **(known | job.rank_info)), folder / RANK_FILE
    )
    step, gap = int(job.step_ms * MS), MS
    starts = [MS + number * (step + gap) for number in range(job.steps)]
    lines, waits, events = [], [], []
    for number, start in enumerate(starts):
        compute, blocked = int(job.compute_ms * MS), int(job.blocked_ms * MS)
        line: dict[str, Any] = {
            "i": number, "t0": start, "t1": start + step, "cpu": step // 10, "runq": int(job.runq_ms * MS), "runq_wait": 0,
            "data": 0, "wait": blocked, "n_wait": 1, "samples": job.samples, "profiled": True, "perturbed": number == 0,
        }  # fmt: skip
        lines.append({key: value for key, value in line.items() if value is not None})
        if blocked:
            waits.append({"t": start + compute, "d": blocked, "what": "backward_tail", "i": number})
            events.append(_event("gloo:all_reduce", 2, start + compute - 10 * MS, blocked + 10 * MS))
        events.append(_event("scaleprof::emulated_compute", 1, start, compute))
    (folder / STEPS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with gzip.open(folder / WAITS_FILE, "wt") as file:
        file.writelines(json.dumps(wait) + "\n" for wait in waits)
    threads = [_thread(1, "thread 1 (python)"), _thread(2, "thread 2 (pt_gloo_runloop)")]
    trace = {"schemaVersion": 1, "baseTimeNanoseconds": BASE_NS, "traceEvents": [*threads, *events]}
    with gzip.open(folder / trace_file_name(0, job.steps - 1, "timeline"), "wt") as file:
        json.dump(trace, file)


def _event(name: str, thread: int, start_ns: int, dur_ns: int) -> dict[str, Any]:
    event: dict[str, Any] = {"ph": "X", "cat": "user_annotation", "name": name, "pid": 77, "tid": thread}
    event |= {"ts": (UNIX_NS - BASE_NS + start_ns) / 1000, "dur": dur_ns / 1000}
    if name.startswith("gloo:"):
        event["args"] = {"Input Dims": [[1000]], "Input type": ["float"]}
    return event


def _thread(thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": "thread_name", "pid": 77, "tid": thread, "ts": 0, "args": {"name": name}}
