"""What an analysis of a synthetic job must find, exactly: `truth.json`.

Steps are accounted on the clock of the rank's host, which is what its files show; arrivals are on the true clock. The account is made here
from the intervals of the timeline, not read from any file.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from scaleprof.intervals import Ints, Spans, covered, intersect, subtract, union
from scaleprof.run import SCHEMA_VERSION, SYNTHETIC_KEY
from scaleprof.synth.damage import damage_of
from scaleprof.synth.instances import Column, columns_of, numbers_of
from scaleprof.synth.mesh import strategy_of
from scaleprof.synth.timeline import Timeline, drift_ppm, late_steps, offset_ns, on_host_clock
from scaleprof.trace import Kind

_AT_ONCE = 1 << 16  # values of a column that become text together: a job of thousands of ranks has millions
Columns = Iterable[tuple[str, Column]]


def truth_of(timeline: Timeline) -> dict[str, Any]:
    """The truth as plain data: the spec, the clocks by rank, who was late, the steps of every rank, every rank's part in every operation, and
    what the files lack."""
    values, tables = _plain(timeline), _tables(timeline)
    return values | {table: {name: column.tolist() for name, column in columns} for table, columns in tables}


def write_truth(timeline: Timeline, path: Path, *, operations: bool = True) -> None:
    """`truth.json`, one column a line; without `operations` it does not say what each rank's part in each operation is."""
    with path.open("w") as file:
        file.write("{\n")
        file.writelines(f' "{key}": {json.dumps(value)},\n' for key, value in _plain(timeline).items())
        tables = (one for one in _tables(timeline) if operations or one[0] != "collectives")
        for place, (table, columns) in enumerate(tables):
            file.write(f'{"," + chr(10) if place else ""} "{table}": {{')
            _write_columns(columns, file)
            file.write("\n }")
        file.write("\n}\n")


def _write_columns(columns: Columns, file: IO[str]) -> None:
    for place, (name, column) in enumerate(columns):
        file.write(f'{"," if place else ""}\n  "{name}": [')
        for first in range(0, len(column), _AT_ONCE):
            text = json.dumps(column[first : first + _AT_ONCE].tolist())[1:-1]
            file.write(f"{', ' if first else ''}{text}")
        file.write("]")


def _plain(timeline: Timeline) -> dict[str, Any]:
    return {
        SYNTHETIC_KEY: True,
        "schema_version": SCHEMA_VERSION,
        "spec": dataclasses.asdict(timeline.spec),
        "strategy": strategy_of(timeline.spec),
        "mesh": {name: one.size for name, one in timeline.mesh.dimensions.items()},
    }


def _tables(timeline: Timeline) -> Iterator[tuple[str, Columns]]:
    yield "clocks", _clocks(timeline)
    yield "stragglers", _stragglers(timeline)
    yield "steps", _steps_of_all(timeline)
    yield "collectives", columns_of(timeline)
    yield "damage", damage_of(timeline, *numbers_of(timeline))


def _clocks(timeline: Timeline) -> Columns:
    spec, ranks = timeline.spec, range(timeline.spec.ranks)
    yield "rank", np.arange(spec.ranks)
    yield "host", np.array([host_of(rank, spec.ranks_per_host) for rank in ranks], dtype=object)
    yield "offset_ns", np.array([offset_ns(spec, rank) for rank in ranks], dtype=np.int64)
    yield "drift_ppm", np.array([drift_ppm(spec, rank) for rank in ranks])


def _stragglers(timeline: Timeline) -> Columns:
    """A row for each step in which the late rank is late: why, and by how much."""
    spec, steps = timeline.spec, np.array(list(late_steps(timeline.spec)), dtype=np.int64)
    yield "rank", np.full(len(steps), spec.late_rank)
    yield "step", steps
    yield "cause", np.full(len(steps), spec.late_cause, dtype=object)
    yield "late_ns", np.full(len(steps), spec.ns(spec.late_ms))


def host_of(rank: int, ranks_per_host: int) -> str:
    """The name of a rank's host."""
    return f"synthetic-host-{rank // ranks_per_host}"


def _steps_of_all(timeline: Timeline) -> Columns:
    parts = [_steps(timeline, rank) for rank in range(timeline.spec.ranks)]
    return ((name, np.concatenate([part[name] for part in parts])) for name in parts[0])


def _steps(timeline: Timeline, rank: int) -> dict[str, Ints]:
    """A step is from the end of its predecessor's device work to the end of its own; the first of all has none and is left out.

    Where several things go on at once, compute counts first, then a transfer, then waiting for a neighbour in the pipeline, then for a collective.
    """
    spec, plan = timeline.spec, timeline.plan_of(rank)
    start, end = timeline.start_ns[rank], timeline.end_ns[rank]

    def shown(begin: Ints, until: Ints) -> Spans:
        return union(Spans(*(on_host_clock(spec, rank, times.ravel()) for times in (begin, until))))

    def busy(*kinds: Kind) -> Spans:
        kernels = plan.kernels_of(*kinds)
        return shown(start[:, kernels], end[:, kernels])

    cuts = on_host_clock(spec, rank, timeline.done_ns[rank])
    windows = Spans(cuts[:-1], cuts[1:])
    compute, comm, copies = busy(Kind.COMPUTE), busy(Kind.COLLECTIVE, Kind.P2P), busy(Kind.COPY)
    kernels, met = list(plan.collectives), timeline.met_ns[rank][:, : len(plan.operations)]
    pairs = [place for place, segment in enumerate(plan.operations) if segment.kind == Kind.P2P]
    transfer = shown(met, end[:, kernels])
    for_neighbour = shown(start[:, kernels][:, pairs], met[:, pairs])
    exposed = covered(subtract(comm, compute), windows)
    sent = covered(subtract(transfer, compute), windows)
    bubble = covered(subtract(for_neighbour, union(compute, transfer)), windows)
    columns = {
        "rank": np.full(spec.steps, rank),
        "step": np.arange(1, spec.steps + 1),
        "start_ns": windows.start,
        "end_ns": windows.end,
        "window_ns": windows.end - windows.start,
        "compute_ns": covered(compute, windows),
        "exposed_comm_ns": exposed,
        "exposed_wait_ns": exposed - sent - bubble,
        "exposed_transfer_ns": sent,
        "bubble_ns": bubble,
        "exposed_memory_ns": covered(subtract(subtract(copies, compute), comm), windows),
        "comm_ns": covered(comm, windows),
        "overlapped_ns": covered(intersect(comm, compute), windows),
    }
    leaves = ("compute", "exposed_comm", "exposed_memory")
    return columns | {"idle_ns": columns["window_ns"] - sum(columns[f"{leaf}_ns"] for leaf in leaves)}
