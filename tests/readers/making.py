"""Trace files and run directories made by hand, in the layouts that are met in the wild."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaleprof.clock import ClockAnchor
from scaleprof.run import (
    COLLECTIVES_FILE,
    RANK_FILE,
    RUN_FILE,
    SAMPLES_FILE,
    STEPS_FILE,
    WAITS_FILE,
    Level,
    ProcessGroup,
    RankFiles,
    RankInfo,
    RunInfo,
    rank_folder_name,
    trace_file_name,
    write_json,
)

HOST_PID, MAIN, WORKER = 100, 100, 200
COMPUTE_STREAM, COMM_STREAM = 7, 20
BASE_NS = 1_700_000_000_000_000_000
Json = dict[str, Any]


def complete(name: str, category: str, ts: Any, dur: Any, *, tid: Any = MAIN, pid: Any = HOST_PID, **args: Any) -> Json:
    """One complete event; `ts` and `dur` in us as the file has them. Keywords with `_` stand for names with blanks: see `ARGS`."""
    event: Json = {"ph": "X", "cat": category, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur}
    if args:
        event["args"] = {ARGS.get(key, key): value for key, value in args.items()}
    return event


ARGS = {
    "op": "Collective name",
    "n_in": "In msg nelems",
    "n_out": "Out msg nelems",
    "group": "Process Group Name",
    "seq": "Seq",
    "dst": "Dst Rank",
    "src": "Src Rank",
    "dims": "Input Dims",
    "types": "Input type",
    "values": "Concrete Inputs",
}
"""Keywords of tests to the names in files."""


def launch(ts: Any, correlation: int, *, name: str = "cudaLaunchKernel", tid: int = MAIN) -> Json:
    """A call of the runtime, 5 us long."""
    return complete(name, "cuda_runtime", ts, 5, tid=tid, correlation=correlation)


def kernel(name: str, ts: Any, dur: Any, correlation: int, *, stream: int = COMPUTE_STREAM, **args: Any) -> Json:
    """A kernel on device 0."""
    return complete(name, "kernel", ts, dur, pid=0, tid=stream, correlation=correlation, **args)


def step(number: int, ts: Any, dur: Any) -> list[Json]:
    """A step annotation and its mirror on the device."""
    return [
        complete(f"ProfilerStep#{number}", "user_annotation", ts, dur),
        complete(f"ProfilerStep#{number}", "gpu_user_annotation", ts, dur, pid=0, tid=COMPUTE_STREAM),
    ]


def thread_name(tid: int, name: str) -> Json:
    """The M event that names a thread."""
    return {"ph": "M", "name": "thread_name", "ts": 0, "pid": HOST_PID, "tid": tid, "args": {"name": name}}


def gloo(op: str, ts: Any, dur: Any, elements: int, *, dtype: str = "float", tid: int = WORKER) -> Json:
    """A span on a gloo worker."""
    return complete(f"gloo:{op}", "user_annotation", ts, dur, tid=tid, dims=[[elements]], types=[dtype], values=[""])


def c10d_allreduce(ts: Any, elements: int, *, tid: int = MAIN) -> Json:
    """The operator that enqueues an all-reduce, 3 us long."""
    shapes = [[[elements]], [], [], [], [], []]
    types = ["TensorList", "", "", "", "Scalar", "Scalar"]
    return complete("c10d::allreduce_", "cpu_op", ts, 3, tid=tid, dims=shapes, types=types, values=[""] * 6)


def write_trace(path: Path, events: Sequence[Json], *, gz: bool | None = None, **metadata: Any) -> Path:
    """A trace file as `json.dump` writes it; gzip where the name or `gz` says so."""
    text = json.dumps({**metadata, "traceEvents": list(events)}).encode()
    return write_bytes(path, text, gz=gz)


def write_bytes(path: Path, text: bytes, *, gz: bool | None = None) -> Path:
    """A file with this text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text) if (gz if gz is not None else path.suffix == ".gz") else text)
    return path


def rank_of(*paths: Path, rank: int = 0) -> RankFiles:
    """The files of a foreign rank."""
    return RankFiles(rank, "kineto", paths)


OFFSET_NS = 1_000_000_000
"""Unix time minus monotonic time in made recordings."""
STEP_NS = 100_000_000


def step_line(index: int, **more: Any) -> Json:
    """A step of 100 ms, 1 ms after its predecessor."""
    start = index * (STEP_NS + 1_000_000)
    return {"i": index, "t0": start, "t1": start + STEP_NS, "samples": 8, **more}


def write_rank(run: Path, rank: int = 0, *, world_size: int = 1, steps: Sequence[Json] = (), **streams: Any) -> Path:
    """A rank's folder. Streams: `waits`, `samples`, `collectives` (lists of lines), `info` (fields of RankInfo)."""
    folder = run / rank_folder_name(rank)
    folder.mkdir(parents=True, exist_ok=True)
    anchor = ClockAnchor(OFFSET_NS, 0, OFFSET_NS)
    fields: Json = {
        "host": "node-a",
        "pid": 1000 + rank,
        "device": "cpu",
        "backend": "gloo",
        "framework": "torch",
        "local_batch": 8.0,
        "strategy": "ddp",
        "anchors": (anchor,),
        "process_groups": (ProcessGroup("0", tuple(range(world_size)), "default_pg", "gloo"),),
        **streams.get("info", {}),
    }
    write_json(RankInfo(rank=rank, world_size=world_size, **fields), folder / RANK_FILE)
    (folder / STEPS_FILE).write_text(_lines(steps))
    if "samples" in streams:
        (folder / SAMPLES_FILE).write_text(_lines(streams["samples"]))
    for name, file in (("waits", WAITS_FILE), ("collectives", COLLECTIVES_FILE)):
        if name in streams:
            (folder / file).write_bytes(gzip.compress(_lines(streams[name]).encode()))
    return folder


def write_window(folder: Path, first: int, last: int, events: Sequence[Json], *, level: Level = "timeline") -> Path:
    """A profiler window of a rank; times of the events in us since monotonic 0."""
    return write_trace(folder / trace_file_name(first, last, level), events, baseTimeNanoseconds=OFFSET_NS)


def write_run(path: Path, **fields: Any) -> Path:
    """`run.json`"""
    path.mkdir(parents=True, exist_ok=True)
    write_json(RunInfo(**{"name": path.name, "world_size": 1, **fields}), path / RUN_FILE)
    return path


def _lines(lines: Sequence[Json]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)
