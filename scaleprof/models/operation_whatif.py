"""What stragglers cost, from a table of operations replayed with the durations of an even job (StragglerAnalysis, OSDI'25, arXiv 2505.05713).

Even means: every computation of a type takes the mean of that type over all ranks, stages, micro-batches and steps; every transfer and collective
takes the median of theirs from the moment its last member has begun. S is the mean step without pauses between operations over the even one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.models.operation_graph import (
    CLIP,
    EMBEDDING,
    GATHER,
    LAYERNORM,
    OPTIMIZER,
    SCATTER,
    SEPARATE,
    TRANSFERS,
    Name,
    OperationGraph,
    in_order,
)

Floats = NDArray[np.float64]
Recorded = NDArray[np.float32]

EXCHANGES = frozenset((*TRANSFERS, GATHER, SCATTER, SEPARATE, LAYERNORM, EMBEDDING, CLIP))
"""Types whose even duration is the median; the others compute."""
NEGATIVE_S = 0.01
"""A transfer that ends this long before its last member begins takes no time; smaller contradictions are the clocks' and stay."""
WORST_PERCENT = 3
"""Of the ranks, one at least: those that M_W sets right."""


@dataclass(frozen=True)
class Operations:
    """Times of every operation in s: a node of the graph per row, a column per step and data-parallel rank.

    In the precision in which they were recorded, in which they are also subtracted: nothing is then more exact than it was measured.
    """

    graph: OperationGraph
    names: tuple[Name, ...]
    steps: tuple[int, ...]
    replicas: int
    start: Recorded
    """Shape (nodes, steps * replicas): the columns of one step lie together."""
    duration: Recorded
    ranks: dict[tuple[int, int], int]
    """Global rank by data-parallel rank and stage."""

    @property
    def end(self) -> Recorded:
        """Start plus duration."""
        return self.start + self.duration


@dataclass(frozen=True)
class Slowdown:
    """What an uneven job loses. Factors are mean step times over the even job's: above 1 is slower."""

    measured_s: Floats
    """By step, shape (steps,)."""
    no_delay_s: Floats
    """Replayed without pauses between operations."""
    even_s: Floats
    """Replayed with even durations."""
    by_stage: dict[int, float]
    by_replica: dict[int, float]
    by_type: dict[str, float]
    by_rank: dict[int, float]
    """Of a rank the smaller one of its stage's and of its data-parallel rank's."""
    worst_ranks: tuple[int, ...]
    worst_share: float
    """M_W: share of the loss that goes where the worst 3 % of the ranks become even."""
    last_stage_share: float
    """M_S: the same for the last stage."""

    @property
    def factor(self) -> float:
        """S."""
        return float(self.no_delay_s.mean() / self.even_s.mean())

    @property
    def delays(self) -> float:
        """The measured step over the one without pauses."""
        return float(self.measured_s.mean() / self.no_delay_s.mean())


class Replay:
    """The graph of one table, replayed with any durations."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self._row = {name: row for row, name in enumerate(operations.names)}
        self._order = in_order(operations.graph)
        self._grouped = frozenset(name for group in operations.graph.groups for name in group)
        self._optimizers = [row for name, row in self._row.items() if name[0] == OPTIMIZER]

    def durations(self) -> Floats:
        """As measured: of a computation from start to end, of an exchange from the last start of its members."""
        found, end = self.operations, self.operations.end
        lasts = found.duration.astype(np.float64)
        for group in found.graph.groups:
            rows = [self._row[name] for name in group]
            taken = end[rows] - self._together(group, found.start[rows].max(axis=0))
            lasts[rows] = np.where(taken <= -NEGATIVE_S, 0.0, taken)
        return lasts

    def even(self, durations: Floats) -> Floats:
        """Every operation with the mean or the median of its type."""
        even = durations.copy()
        types = np.array([name[0] for name in self.operations.names])
        for kind in np.unique(types):
            rows = types == kind
            even[rows] = np.median(durations[rows]) if kind in EXCHANGES else durations[rows].mean()
        return even

    def run(self, durations: Floats) -> tuple[Floats, Floats]:
        """Step times in s by step, shape (steps,): up to the last optimizer's end, and up to the last end of all."""
        graph, ends = self.operations.graph, np.zeros_like(durations)
        for unit in self._order:
            starts = []
            for name in unit:
                before = [self._row[one] for one in graph.after[name]]
                starts.append(ends[before].max(axis=0) if before else np.zeros(durations.shape[1]))
            begun = np.maximum.reduce(starts)
            if unit[0] in self._grouped:
                begun = self._together(unit, begun)
            for name in unit:
                ends[self._row[name]] = begun + durations[self._row[name]]
        return self._last(ends[self._optimizers]), self._last(ends)

    def _together(self, group: Sequence[Name], begun: NDArray[Any]) -> NDArray[Any]:
        """The last start over data-parallel ranks, too, where the group waits for them."""
        if group[0] not in self.operations.graph.across_replicas:
            return begun
        by_step = begun.reshape(-1, self.operations.replicas)
        return np.repeat(by_step.max(axis=1), self.operations.replicas)

    def _last(self, ends: Floats) -> Floats:
        whole = ends.max(axis=0).reshape(-1, self.operations.replicas)
        return np.asarray(whole.max(axis=1))


def slowdown(operations: Operations) -> Slowdown:
    """Everything the published analysis says of one job."""
    replay = Replay(operations)
    measured = replay.durations()
    even = replay.even(measured)
    even_s, even_all_s = replay.run(even)
    no_delay_s = replay.run(measured)[1]
    stage = np.array([name[2] for name in operations.names])
    replica = np.tile(np.arange(operations.replicas), len(operations.steps))
    kinds = np.array([_merged(name[0]) for name in operations.names])

    def only(rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> float:
        mixed = np.where(rows[:, None] & columns[None, :], measured, even)
        return float(replay.run(mixed)[0].mean() / even_s.mean())

    every_row, every_column = np.ones(len(stage), dtype=bool), np.ones(len(replica), dtype=bool)
    by_stage = {int(one): only(stage == one, every_column) for one in np.unique(stage)}
    by_replica = {int(one): only(every_row, replica == one) for one in np.unique(replica)}
    by_type = {str(one): only(kinds == one, every_column) for one in np.unique(kinds)}
    by_rank = {rank: min(by_replica[dp], by_stage[of]) for (dp, of), rank in operations.ranks.items()}
    worst = sorted(by_rank, key=lambda rank: (-by_rank[rank], rank))[: -(-len(by_rank) * WORST_PERCENT // 100)]
    uneven, loss = no_delay_s.mean(), no_delay_s.mean() - even_all_s.mean()

    def removed(right: Callable[[int, int], bool]) -> float:
        cells = np.array([[right(int(dp), int(of)) for dp in replica] for of in stage])
        return float((uneven - replay.run(np.where(cells, even, measured))[1].mean()) / loss) if loss else 0.0

    return Slowdown(
        measured_s=_measured(operations),
        no_delay_s=no_delay_s,
        even_s=even_s,
        by_stage=by_stage,
        by_replica=by_replica,
        by_type=by_type,
        by_rank=by_rank,
        worst_ranks=tuple(worst),
        worst_share=removed(lambda dp, of: operations.ranks[dp, of] in worst),
        last_stage_share=removed(lambda dp, of: of == stage.max()),
    )


def _merged(kind: str) -> str:
    """Transfers of one direction count as one type."""
    return f"{kind.split('-')[0]}-pp-comm" if kind in TRANSFERS else kind


def _measured(operations: Operations) -> Floats:
    """From the first start of a step to its last end."""

    def by_step(one: Recorded) -> Recorded:
        return one.reshape(len(operations.steps), -1)

    first = by_step(operations.start.min(axis=0)).min(axis=1)
    return np.asarray(by_step(operations.end.max(axis=0)).max(axis=1) - first, dtype=np.float64)
