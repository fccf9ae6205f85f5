"""Horovod timelines made by hand, in both dialects."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scaleprof.readers import read_rank
from scaleprof.run import RankFiles
from scaleprof.trace import Trace
from tests.readers.making import Json, complete, write_bytes, write_trace

START_US = 1_700_000_000_000_000
ANCHOR: Json = {"name": "process_name", "ph": "M", "pid": 0, "args": {"start_time_since_epoch_in_micros": START_US}}
COPIED = ("MEMCPY_IN_FUSION_BUFFER", "GLOO_ALLREDUCE", "MEMCPY_OUT_FUSION_BUFFER")


def tensor(pid: int, name: str) -> Json:
    return {"name": "process_name", "ph": "M", "pid": pid, "args": {"name": name}}


def begin(name: str, ts: int, pid: int) -> Json:
    return {"ph": "B", "name": name, "ts": ts, "pid": pid}


def end(ts: int, pid: int, shape: str | None = None, dtype: str = "float32") -> Json:
    event: Json = {"ph": "E", "ts": ts, "pid": pid}
    return event if shape is None else {**event, "args": {"dtype": dtype, "shape": shape}}


def tick(rank: int, ts: int, pid: int) -> Json:
    return {"ph": "X", "name": str(rank), "ts": ts, "pid": pid, "dur": 0}


def negotiation(ts: int, dur: int, pid: int, ticks: dict[int, int] | None = None, op: str = "ALLREDUCE") -> list[Json]:
    """`ticks`: ms after the begin, by rank, in their order."""
    heard = [tick(rank, ts + later, pid) for rank, later in (ticks or {}).items()]
    return [begin(f"NEGOTIATE_{op}", ts, pid), *heard, end(ts + dur, pid)]


def operation(
    ts: int,
    shapes: dict[int, str | None],
    *,
    op: str = "ALLREDUCE",
    activities: Sequence[str] = COPIED,
    dtype: str = "float32",
) -> list[Json]:
    """An operation on the tensors of `shapes`. Every activity takes 10 us and starts 10 us after the one before; each copy is 1 us later."""
    pids = list(enumerate(shapes))
    found = [begin(op, ts + place, pid) for place, pid in pids]
    for number, name in enumerate(activities):
        at = ts + 10 + 20 * number
        found += [begin(name, at + place, pid) for place, pid in pids]
        found += [end(at + 10 + place, pid) for place, pid in pids]
    last = ts + 10 + 20 * len(activities)
    return [*found, *(end(last + place, pid, shapes[pid], dtype) for place, pid in pids)]


def read(tmp_path: Path, *parts: list[Json], anchor: bool = True) -> Trace:
    events = [event for part in parts for event in part]
    return read_text(tmp_path, json.dumps([ANCHOR, *events] if anchor else events))


def read_text(tmp_path: Path, text: str) -> Trace:
    return read_rank(RankFiles(0, "horovod", (write_bytes(tmp_path / "t.json", text.encode()),)))


def rows_of(trace: Trace, category: str) -> list[tuple[str, int, int]]:
    """Name, start (us since the anchor) and duration (us) of the events of a category."""
    chosen = np.flatnonzero(np.array([one == category for one in trace.names.category])[trace.events.name])
    start_us = trace.events.start_ns[chosen] // 1000 - START_US
    dur_us = trace.events.dur_ns[chosen] // 1000
    texts = [trace.names.text[name] for name in trace.events.name[chosen]]
    return list(zip(texts, start_us.tolist(), dur_us.tolist(), strict=True))


EVENTS = [
    tensor(1, "w"), *negotiation(100, 50, 1, {0: 1, 1: 49}), *operation(200, {1: "[4]", 2: "[2]"}),
    *negotiation(400, 50, 1, {1: 1, 0: 9}), *operation(500, {1: "[4]", 2: "[2]"}),
]  # fmt: skip
LINES = [json.dumps(event) for event in [ANCHOR, *EVENTS]]
DIALECTS = {
    "closed": "[\n" + ",\n".join(LINES) + "]",
    "never closed": "[\n" + "".join(line + ",\n" for line in LINES),
    "closed behind a comma": "[\n" + "".join(line + ",\n" for line in LINES) + "]\n",
    "all in one line": "[" + ",".join(LINES) + "]",
    "unclosed without a comma": "[" + ",".join(LINES),
    "padded": "[" + ",".join(LINES) + ",\n\0\0\0",
}

TITLES = [tensor(1, "allreduce.w"), tensor(2, "allreduce.b")]
STEPS = (
    negotiation(1300, 50, 1, {0: 1, 1: 49}), operation(1380, {1: "[4]", 2: "[2]"}),
    negotiation(2400, 5, 1), negotiation(2401, 5, 2), operation(2420, {1: "[4]", 2: "[2]"}),
)  # fmt: skip
"""Two operations of the same two tensors, in the two steps of `profiles`."""


def profiles(folder: Path, *, later_us: int = 0) -> None:
    """Two ranks with two steps of 1 ms each, from 1 ms after the timeline began."""
    for rank in (0, 1):
        events = [complete(f"ProfilerStep#{step}", "user_annotation", 1000 * step, 1000) for step in (1, 2)]
        events += [complete("aten::mm", "cpu_op", 1000 * step + 10, 400) for step in (1, 2)]
        base_ns = START_US * 1000 + later_us * 1000
        write_trace(folder / f"rank{rank}.json", events, schemaVersion=1, baseTimeNanoseconds=base_ns)


def timeline(path: Path, *parts: list[Json]) -> Path:
    """A file of these events, with its start and the names of two tensors."""
    return write_bytes(path, json.dumps([ANCHOR, *TITLES, *(event for part in parts for event in part)]).encode())
