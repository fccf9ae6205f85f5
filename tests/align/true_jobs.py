"""Synthetic jobs as the facts of their ranks, without files: what a reader would have found, and the truth of every row."""

from dataclasses import dataclass

import numpy as np

from scaleprof.align.matching import Matches, match
from scaleprof.align.meetings import Book
from scaleprof.align.offsets import Clocks, clocks_of_run
from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.run import ProcessGroup, RankInfo
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import offset_ns, on_host_clock, simulate
from scaleprof.synth.truth import truth_of


@dataclass(frozen=True)
class TrueJob:
    """What the ranks of a job say of their operations, and which of them are one."""

    spec: Spec
    tables: dict[int, Table]
    instance: dict[int, Ints]
    """By rank and row, the number of the operation."""
    groups: dict[int, tuple[ProcessGroup, ...]]

    def matches(self) -> Matches:
        """As the analysis matches them."""
        return match(self.tables, self.groups)

    def settled(self) -> Matches:
        """With the help of the clocks."""
        return match(self.tables, self.groups, self.clocks().end_times(self.tables))

    def clocks(self) -> Clocks:
        """As the analysis knows them."""
        infos = {
            rank: RankInfo(rank=rank, world_size=self.spec.ranks, host=f"host-{rank // self.spec.ranks_per_host}")
            for rank in self.tables
        }
        return clocks_of_run(infos, Book(self.matches(), self.tables).sample)

    def ahead_ns(self, rank: int, shown_ns: int) -> float:
        """By how much a rank's clock truly is ahead when it shows a time."""
        host = rank // self.spec.ranks_per_host
        drifts = self.spec.clock_drift_ppm
        drift = (drifts[host] if host < len(drifts) else 0.0) * 1e-6
        offset = offset_ns(self.spec, rank)
        return offset + (shown_ns - offset - _BEGIN_NS) * drift / (1 + drift)


_BEGIN_NS = 1_800_000_000_000_000_000


def true_job(spec: Spec, *, numbered: bool = True) -> TrueJob:
    """The job of a spec, without what it says is dropped; `numbered` with sequence numbers."""
    truth = {name: np.array(column) for name, column in truth_of(simulate(spec))["collectives"].items()}
    tables, instance = {}, {}
    members: dict[str, set[int]] = {}
    for rank in range(spec.ranks):
        mine = truth["rank"] == rank
        for name in np.unique(truth["group"][mine]).tolist():
            members.setdefault(name, set()).add(rank)
        here = np.flatnonzero(mine & ~truth["dropped"])
        here = here[np.argsort(truth["arrival_ns"][here], kind="stable")]
        start, end = (on_host_clock(spec, rank, truth[name][here]) for name in ("arrival_ns", "end_ns"))
        count = len(here)
        tables[rank] = Table(
            {
                "step": truth["step"][here],
                "op": truth["op"][here].tolist(),
                "bytes": truth["bytes"][here],
                "dtype": ["float"] * count,
                "group": truth["group"][here].tolist(),
                "seq": truth["seq"][here] if numbered else np.full(count, -1),
                "issued_ns": start,
                "start_ns": start,
                "dur_ns": end - start,
                "peer": truth["peer"][here],
            }
        )
        instance[rank] = truth["collective"][here]
    groups = [ProcessGroup(name, tuple(sorted(ranks))) for name, ranks in members.items()]
    return TrueJob(
        spec, tables, instance, {rank: tuple(group for group in groups if rank in group.ranks) for rank in tables}
    )
