"""Which ranks do what with whom: the mesh of a job and its process groups, numbered as torch numbers them.

The mesh is row-major over (pp, dp, tp), dimensions of one rank left out. A mesh of one dimension uses the group of all ranks, named 0; else the
groups of each dimension are numbered in the order in which `init_device_mesh` makes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.run import ProcessGroup
from scaleprof.synth.spec import Spec

WORLD = ProcessGroup("0", (), "default_pg", "cuda:nccl")
"""The group of all ranks; its ranks are filled in."""
_ROLES = ("pp", "dp", "tp")


@dataclass(frozen=True)
class Dimension:
    """One direction in which the ranks share the work."""

    name: str
    groups: Ints
    """The ranks of each group, a row a group."""
    place: Ints
    """By rank: the row of its group."""
    coordinate: Ints
    """By rank: its place within the group."""
    first: int | None
    """The number of the first group; None where the only group is that of all ranks."""
    across: NDArray[np.bool_]
    """By rank: whether its group spans hosts."""

    @property
    def size(self) -> int:
        """Ranks of a group."""
        return int(self.groups.shape[1])

    def group_name(self, rank: int) -> str:
        """What torch calls the group of a rank."""
        return WORLD.name if self.first is None else str(self.first + int(self.place[rank]))

    def group(self, rank: int) -> ProcessGroup:
        """The group of a rank, with its ranks."""
        description = WORLD.description if self.first is None else f"mesh_{self.name}"
        members = tuple(self.groups[self.place[rank]].tolist())
        return ProcessGroup(self.group_name(rank), members, description, WORLD.backend)


@dataclass(frozen=True)
class Mesh:
    """The dimensions of a job that have more than one rank."""

    ranks: int
    stages: int
    dimensions: Mapping[str, Dimension]

    @property
    def stage_ranks(self) -> int:
        """Ranks of a stage: a block, data-parallel first and tensor-parallel innermost."""
        return self.ranks // self.stages

    def stage(self, rank: int) -> int:
        """The stage of a rank."""
        return rank // self.stage_ranks

    def ranks_of(self, stage: int) -> slice:
        """The ranks of a stage."""
        return slice(stage * self.stage_ranks, (stage + 1) * self.stage_ranks)

    def groups(self, rank: int) -> tuple[ProcessGroup, ...]:
        """All process groups of a rank, that of all ranks first."""
        world = ProcessGroup(WORLD.name, tuple(range(self.ranks)), WORLD.description, WORLD.backend)
        return (world, *(one.group(rank) for one in self.dimensions.values() if one.first is not None))


def mesh_of(spec: Spec) -> Mesh:
    """The mesh of a job."""
    sizes = {name: size for name, size in zip(_ROLES, (spec.pipeline, spec.data, spec.tensor), strict=True) if size > 1}
    grid = np.arange(spec.ranks, dtype=np.int64).reshape(tuple(sizes.values()))
    host = grid.ravel() // spec.ranks_per_host
    dimensions, made = {}, 1
    for axis, (name, size) in enumerate(sizes.items()):
        groups = grid.swapaxes(-1, axis).reshape(-1, size)
        place, coordinate = np.zeros(spec.ranks, dtype=np.int64), np.zeros(spec.ranks, dtype=np.int64)
        place[groups.ravel()] = np.repeat(np.arange(len(groups)), size)
        coordinate[groups.ravel()] = np.tile(np.arange(size), len(groups))
        spans = (host[groups] != host[groups[:, :1]]).any(axis=1)
        first = made if len(sizes) > 1 else None
        dimensions[name] = Dimension(name, groups, place, coordinate, first, spans[place])
        made += len(groups)
    return Mesh(spec.ranks, spec.pipeline, dimensions)


def strategy_of(spec: Spec) -> str:
    """The strategy in the recorder's words, joined by `+`: `ddp`, `fsdp2+tp`, `ddp+pp-1f1b`."""
    data = {"ddp": "ddp", "fsdp": "fsdp2"}[spec.strategy]
    words = [
        *([data] if spec.data > 1 else []),
        *(["tp"] if spec.tensor > 1 else []),
        *(["pp-1f1b"] if spec.pipeline > 1 else []),
    ]
    return "+".join(words) or data
