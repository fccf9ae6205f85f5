"""What an analysis of a synthetic job must find, exactly: `truth.json`.

Steps are accounted on the clock of the rank's host, which is what its files show; arrivals are on the true clock. The account is made here
from the intervals of the timeline, not read from any file.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from scaleprof.intervals import Ints, Spans, covered, intersect, subtract, union
from scaleprof.run import SCHEMA_VERSION, SYNTHETIC_KEY
from scaleprof.synth.timeline import Timeline, drift_ppm, offset_ns, on_host_clock
from scaleprof.trace import Kind

Columns = dict[str, list[Any]]


def truth_of(timeline: Timeline) -> dict[str, Any]:
    """The truth as plain data: the spec, the clocks by rank, the steps of every rank, every rank's part in every collective."""
    ranks = range(timeline.spec.ranks)
    return {
        SYNTHETIC_KEY: True,
        "schema_version": SCHEMA_VERSION,
        "spec": dataclasses.asdict(timeline.spec),
        "clocks": {
            "rank": list(ranks),
            "host": [host_of(rank, timeline.spec.ranks_per_host) for rank in ranks],
            "offset_ns": [offset_ns(timeline.spec, rank) for rank in ranks],
            "drift_ppm": [drift_ppm(timeline.spec, rank) for rank in ranks],
        },
        "steps": _joined([_steps(timeline, rank) for rank in ranks]),
        "collectives": _collectives(timeline),
    }


def write_truth(timeline: Timeline, path: Path) -> None:
    """`truth.json`, one column a line."""
    parts = []
    for key, value in truth_of(timeline).items():
        text = json.dumps(value)
        if key in ("clocks", "steps", "collectives"):
            text = "{\n" + ",\n".join(f'  "{name}": {json.dumps(column)}' for name, column in value.items()) + "\n }"
        parts.append(f' "{key}": {text}')
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def host_of(rank: int, ranks_per_host: int) -> str:
    """The name of a rank's host."""
    return f"synthetic-host-{rank // ranks_per_host}"


def _steps(timeline: Timeline, rank: int) -> Columns:
    """A step is from the end of its predecessor's device work to the end of its own; the first of all has none and is left out."""
    spec, plan = timeline.spec, timeline.plan

    def shown(true_ns: Ints) -> Ints:
        return on_host_clock(spec, rank, true_ns)

    def busy(*kinds: Kind) -> Spans:
        kernels = plan.kernels_of(*kinds)
        starts, ends = timeline.start_ns[rank][:, kernels], timeline.end_ns[rank][:, kernels]
        return union(Spans(shown(starts.ravel()), shown(ends.ravel())))

    cuts = shown(timeline.done_ns[rank])
    windows = Spans(cuts[:-1], cuts[1:])
    compute, comm, copies = busy(Kind.COMPUTE), busy(Kind.COLLECTIVE), busy(Kind.COPY)
    ends = timeline.end_ns[rank][:, list(plan.collectives)]
    took = np.array([segment.dur_ns[0] for segment in plan.segments if segment.kind == Kind.COLLECTIVE], dtype=np.int64)
    transfer = union(Spans(shown((ends - took).ravel()), shown(ends.ravel())))
    exposed = covered(subtract(comm, compute), windows)
    exposed_transfer = covered(subtract(transfer, compute), windows)
    columns = {
        "rank": np.full(spec.steps, rank),
        "step": np.arange(1, spec.steps + 1),
        "start_ns": windows.start,
        "end_ns": windows.end,
        "window_ns": windows.end - windows.start,
        "compute_ns": covered(compute, windows),
        "exposed_comm_ns": exposed,
        "exposed_wait_ns": exposed - exposed_transfer,
        "exposed_transfer_ns": exposed_transfer,
        "exposed_memory_ns": covered(subtract(subtract(copies, compute), comm), windows),
        "comm_ns": covered(comm, windows),
        "overlapped_ns": covered(intersect(comm, compute), windows),
    }
    columns["idle_ns"] = columns["window_ns"] - sum(
        columns[f"{leaf}_ns"] for leaf in ("compute", "exposed_comm", "exposed_memory")
    )
    return {name: column.tolist() for name, column in columns.items()}


def _collectives(timeline: Timeline) -> Columns:
    """One row per collective and rank: a rank waits until the last one has arrived."""
    ranks, first = timeline.spec.ranks, list(timeline.plan.collectives)
    segments = [segment for segment in timeline.plan.segments if segment.kind == Kind.COLLECTIVE]
    steps, count = timeline.steps, len(first)
    arrival, end = timeline.start_ns[:, :, first], timeline.end_ns[:, :, first]
    took = np.array([segment.dur_ns[0] for segment in segments], dtype=np.int64)
    shape = (steps, count, ranks)

    def over(values: Any) -> list[Any]:
        listed: list[Any] = np.broadcast_to(values, shape).ravel().tolist()
        return listed

    return {
        "step": over(np.arange(steps)[:, None, None]),
        "seq": over((np.arange(steps)[:, None] * count + np.arange(count) + 1)[:, :, None]),
        "bytes": over(np.array([segment.bytes for segment in segments], dtype=np.int64)[None, :, None]),
        "rank": over(np.arange(ranks)),
        "arrival_ns": over(arrival.transpose(1, 2, 0)),
        "wait_ns": over((end - took - arrival).transpose(1, 2, 0)),
        "transfer_ns": over(took[None, :, None]),
    }


def _joined(parts: list[Columns]) -> Columns:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}
