"""Applies edits to a run's graph: other durations, other lags, and nothing else, so that several are replayed jointly (`method` 7.4).

An edit changes what it is about and keeps the rest as it was observed, delays that nothing explains included; without any edit a replay gives the
measurement again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.analyses.replay.applied import CHANGES
from scaleprof.analyses.replay.edits import Edit
from scaleprof.analyses.replay.known_nodes import KnownNodes
from scaleprof.intervals import Ints

NODES_AT_ONCE = 8_000_000
"""Of all graphs that are replayed side by side: each takes some 60 bytes."""


@dataclass(frozen=True)
class Editor(KnownNodes):
    """Applies edits to the graph of a run."""

    def step_ms(self, edits: Sequence[Edit]) -> list[float]:
        """How long a step takes with each of the edits, mean over ranks; as many as memory allows are worked out side by side."""
        times: list[float] = []
        together = max(NODES_AT_ONCE // max(len(self.run.graph), 1), 1)
        for first in range(0, len(edits), together):
            both = [self.applied(edit) for edit in edits[first : first + together]]
            ends = self.run.schedule.ends(np.array([dur for dur, _ in both]), np.array([lag for _, lag in both]))
            times += (self.run.step_ns(ends) / 1e6).tolist()
        return times

    def changes(self, edit: Edit) -> bool:
        """Whether an edit changes anything of this run."""
        dur, lag = self.applied(edit)
        return bool((dur != self.run.exact_ns).any() or (lag != self.run.graph.edge_lag_ns).any())

    def applied(self, edit: Edit) -> tuple[Ints, Ints]:
        """Durations of nodes (delays included) and lags of edges, in ns. OptionError for what this run does not have."""
        dur, lag = self.run.graph.dur_ns.astype(np.float64), self.run.graph.edge_lag_ns.copy()
        for change in CHANGES:
            change(self, edit, dur, lag)
        exact: Ints = np.rint(np.maximum(dur, 0)).astype(np.int64) + self.run.delay_ns
        return exact, lag
