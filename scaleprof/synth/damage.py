"""What the files of a job lack, and how it is taken from them; all of it stands in `truth.json`."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import Timeline

_DROPS = 2  # apart from the seeds of the jitter and of the exits
_MOST_STEPPED_BACK = 4096
_BETWEEN_EVENTS = b" \n,}]"


def is_written(spec: Spec, rank: int) -> bool:
    """Whether a rank has files."""
    return rank < (spec.ranks_written or spec.ranks) and rank not in spec.missing_ranks


def first_step(spec: Spec, rank: int) -> int:
    """The first step in a rank's trace file."""
    return spec.late_start_steps if rank in spec.late_ranks else 0


def drops(timeline: Timeline, rank: int) -> NDArray[np.bool_]:
    """Which operations are missing from a rank's file: (steps, operations), in the order of launch."""
    shape = (timeline.steps, len(timeline.plan_of(rank).operations))
    if not timeline.spec.drop:
        return np.zeros(shape, dtype=np.bool_)
    drawn = np.random.default_rng([timeline.spec.seed, rank, _DROPS, 0, 0]).random(shape)
    dropped: NDArray[np.bool_] = drawn < timeline.spec.drop
    return dropped


def dropped_of(timeline: Timeline, rank: int) -> dict[int, frozenset[int]]:
    """The same by step, without the steps that lack nothing."""
    table = drops(timeline, rank)
    return {
        step: frozenset(np.flatnonzero(table[step]).tolist()) for step in np.flatnonzero(table.any(axis=1)).tolist()
    }


def cut_off(path: Path, share: float) -> None:
    """Leave only the first part of a file's bytes, so that it ends in the middle of an event."""
    size = max(1, int(path.stat().st_size * share))
    if path.suffix != ".gz":
        with path.open("rb") as file:
            file.seek(max(0, size - _MOST_STEPPED_BACK))
            size -= len(before := file.read(min(size, _MOST_STEPPED_BACK))) - len(before.rstrip(_BETWEEN_EVENTS))
    os.truncate(path, size)


def damage_of(timeline: Timeline, numbers: Sequence[Ints], per_step: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """The columns of what was removed, a row each: rank, step, collective (its number) and kind; -1 where it is not about one.

    Kinds: `kernels` and `all` (dropped events), `lost <word>` (from all files), `step` (before the profiler began), `cut` and `missing` (files).
    `numbers` are those of each stage's operations, (operations, ranks), of which a step has `per_step`.
    """
    spec, rows = timeline.spec, list[tuple[int, int, int, str]]()
    rows += [(-1, -1, -1, f"lost {word}") for word in spec.lose]
    for rank in range(spec.ranks):
        if not is_written(spec, rank):
            rows.append((rank, -1, -1, "missing"))
            continue
        if rank in spec.cut_ranks:
            rows.append((rank, -1, -1, "cut"))
        rows += [(rank, step, -1, "step") for step in range(first_step(spec, rank))]
        stage = timeline.mesh.stage(rank)
        own = numbers[stage][:, rank - timeline.mesh.ranks_of(stage).start]
        for step, operation in np.argwhere(drops(timeline, rank)).tolist():
            if step >= first_step(spec, rank):
                rows.append((rank, step, int(own[operation]) + step * per_step, spec.drop_what))
    for place, name in enumerate(("rank", "step", "collective", "kind")):
        yield name, np.array([row[place] for row in rows], dtype=object if name == "kind" else np.int64)
