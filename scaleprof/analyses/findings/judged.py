"""What the rules for findings see of a run, and the words that they have in common."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.account.idle import Idle
from scaleprof.analyses.account.time import Leaves
from scaleprof.analyses.base import listed, severity_of
from scaleprof.analyses.remedies import REMEDIES
from scaleprof.results import Finding


@dataclass(frozen=True)
class Judged:
    """What the rules see of a run."""

    view: RunView
    leaves: Leaves
    idle: Idle | None
    sums: dict[str, int]
    """Idle time by group of causes, in ns; empty where nobody knows."""
    noise: float
    """What the step times vary by: half of the 95 % interval of their median, as a share of it."""

    def idle_share(self, group: str) -> float:
        """Idle for this reason, as a share of the step; 0 where that is not known."""
        return self.sums.get(group, 0) / self.leaves.window_ns

    @property
    def steps(self) -> str:
        """The steps that were judged, for evidence."""
        return listed(np.unique(self.leaves.rows["step"]).tolist())

    @property
    def exposed_share(self) -> float:
        """Exposed communication, all parts together."""
        return self.leaves.exposed_ns / self.leaves.window_ns


Rule = Callable[[Judged], Finding | None]
"""None where there is nothing to say."""


def finding_of(id: str, title: str, share: float, text: str, evidence: str) -> Finding:
    """A finding whose gain is a ceiling: that share of the step."""
    return Finding(id, title, severity_of(share), text, evidence, share, "ceiling", REMEDIES[id])


def where(of: Judged, group: str) -> str:
    """Ranks, steps and names behind idle time."""
    said = f"steps {of.steps}"
    if of.idle is not None:
        by_rank = {rank: of.idle.groups(cells.sum(axis=0))[group] for rank, cells in of.idle.by_rank.items()}
        worst = max(by_rank, key=lambda rank: by_rank[rank])
        said += f"; most on rank {worst}"
        causes = {int(cause) for cause in of.idle.causes_of(group)}
        names: dict[str, int] = {}
        for table in of.view.fact("idle_names").values():
            for cause, name, ns in zip(table["cause"].tolist(), table["name"], table["ns"].tolist(), strict=True):
                if cause in causes and name:
                    names[name] = names.get(name, 0) + ns
        if names:
            said += f"; mostly `{max(names, key=lambda name: names[name])[:80]}`"
    return said
