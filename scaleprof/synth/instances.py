"""Every rank's part in every operation of communication, as columns: what `truth.json` says of them.

Rows are in order of step, stage, launch and rank. Both sides of a transfer, and all ranks of a collective, have one number.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.synth.damage import drops, first_step, is_written
from scaleprof.synth.operations import peer_of
from scaleprof.synth.plan import Segment
from scaleprof.synth.timeline import Timeline
from scaleprof.trace import Kind

Column = NDArray[Any]


def columns_of(timeline: Timeline) -> Iterator[tuple[str, Column]]:
    """The columns one after the other, so that not all of them are in memory at once; times are true ns.

    `wait_ns` lasts until the last rank, or the partner, has arrived, `transfer_ns` from then until this rank leaves.
    """
    numbers, per_step = numbers_of(timeline)
    steps = np.arange(timeline.steps, dtype=np.int64)[:, None]
    yield "step", _over(timeline, lambda stage: np.zeros(_shape(timeline, stage), dtype=np.int64), steps)
    yield "collective", _over(timeline, lambda stage: numbers[stage], steps * per_step)
    yield "group", _over(timeline, lambda stage: _groups(timeline, stage))
    yield (
        "op",
        _over(timeline, lambda stage: _of_operations(timeline, stage, [one.phase for one in _all(timeline, stage)])),
    )
    yield "seq", _seq(timeline)
    yield (
        "bytes",
        _over(timeline, lambda stage: _of_operations(timeline, stage, [one.bytes for one in _all(timeline, stage)])),
    )
    yield "rank", _over(timeline, lambda stage: np.broadcast_to(_ranks(timeline, stage), _shape(timeline, stage)))
    yield "peer", _over(timeline, lambda stage: _peers(timeline, stage))
    arrival, met, end = (_times(timeline, which) for which in ("start", "met", "end"))
    yield "arrival_ns", arrival
    yield "wait_ns", met - arrival
    yield "transfer_ns", end - met
    yield "end_ns", end
    yield "dropped", _dropped(timeline)


def numbers_of(timeline: Timeline) -> tuple[list[Ints], int]:
    """By stage the number of every operation of the first step, (operations, ranks), and how many numbers a step has."""
    known: dict[tuple[int, bool, int], Ints] = {}
    numbers, next_number = [], 0
    for stage, plan in enumerate(timeline.plans):
        rows = []
        for segment in plan.operations:
            key = (min(stage, stage + segment.peer), segment.backward, segment.micro_batch)
            if segment.kind == Kind.P2P and key in known:
                rows.append(known.pop(key))
                continue
            if segment.kind == Kind.P2P:
                row = np.arange(timeline.mesh.stage_ranks, dtype=np.int64)
                known[key] = row + next_number
            else:
                dimension = timeline.mesh.dimensions[segment.group]
                _, row = np.unique(dimension.place[timeline.mesh.ranks_of(stage)], return_inverse=True)
            rows.append(row + next_number)
            next_number += int(row.max()) + 1
        numbers.append(np.array(rows, dtype=np.int64).reshape(_shape(timeline, stage)))
    return numbers, next_number


def _all(timeline: Timeline, stage: int) -> tuple[Segment, ...]:
    return timeline.plans[stage].operations


def _ranks(timeline: Timeline, stage: int) -> Ints:
    ranks = timeline.mesh.ranks_of(stage)
    return np.arange(ranks.start, ranks.stop, dtype=np.int64)


def _shape(timeline: Timeline, stage: int) -> tuple[int, int]:
    return len(_all(timeline, stage)), timeline.mesh.stage_ranks


def _over(timeline: Timeline, of_stage: Any, per_step: Ints | None = None) -> Column:
    """A column from what each stage says of a step, (operations, ranks); `per_step` is added in each step."""
    once = np.concatenate([np.asarray(of_stage(stage)).ravel() for stage in range(timeline.mesh.stages)])
    if per_step is not None:
        return np.asarray(once[None, :] + per_step).ravel()
    return np.tile(once, timeline.steps)


def _of_operations(timeline: Timeline, stage: int, values: list[Any]) -> Column:
    column = np.array(values, dtype=object if values and isinstance(values[0], str) else np.int64)
    return np.broadcast_to(column[:, None], _shape(timeline, stage))


def _groups(timeline: Timeline, stage: int) -> Column:
    names = {
        group: np.array(
            [timeline.mesh.dimensions[group].group_name(rank) for rank in _ranks(timeline, stage)], dtype=object
        )
        for group in {one.group for one in _all(timeline, stage)}
    }
    rows = [names[one.group] for one in _all(timeline, stage)]
    return np.array(rows, dtype=object).reshape(_shape(timeline, stage))


def _peers(timeline: Timeline, stage: int) -> Column:
    nobody = np.full(timeline.mesh.stage_ranks, -1, dtype=np.int64)
    rows = [
        peer_of(timeline.mesh, one, 0) + _ranks(timeline, stage) if one.peer else nobody
        for one in _all(timeline, stage)
    ]
    return np.array(rows, dtype=np.int64).reshape(_shape(timeline, stage))


def _seq(timeline: Timeline) -> Column:
    steps = np.arange(timeline.steps, dtype=np.int64)[:, None, None]
    parts = []
    for stage, plan in enumerate(timeline.plans):
        table = np.array(plan.numbers, dtype=np.int64).reshape(-1, 2)
        numbers = table[None, :, :1] + steps * table[None, :, 1:]
        parts.append(np.broadcast_to(numbers, (timeline.steps, *_shape(timeline, stage))).reshape(timeline.steps, -1))
    return np.concatenate(parts, axis=1).ravel()


def _times(timeline: Timeline, which: str) -> Ints:
    parts = []
    for stage, plan in enumerate(timeline.plans):
        ranks = timeline.mesh.ranks_of(stage)
        if which == "met":
            times = timeline.met_ns[ranks, :, : len(plan.operations)]
        else:
            times = (timeline.start_ns if which == "start" else timeline.end_ns)[ranks][:, :, list(plan.collectives)]
        parts.append(times.transpose(1, 2, 0).reshape(timeline.steps, -1))
    return np.concatenate(parts, axis=1).ravel()


def _dropped(timeline: Timeline) -> Column:
    parts = []
    for stage in range(timeline.mesh.stages):
        table = np.zeros((timeline.mesh.stage_ranks, timeline.steps, _shape(timeline, stage)[0]), dtype=np.bool_)
        for place, rank in enumerate(_ranks(timeline, stage).tolist() if timeline.spec.drop else ()):
            if is_written(timeline.spec, rank):
                table[place] = drops(timeline, rank)
                table[place, : first_step(timeline.spec, rank)] = False
        parts.append(table.transpose(1, 2, 0).reshape(timeline.steps, -1))
    return np.concatenate(parts, axis=1).ravel()
