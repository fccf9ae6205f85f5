"""What the nodes of a run's graph are to somebody who changes them: what each transfer sends, since when it could, and who does the same work."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.replay.chain_nodes import Doing
from scaleprof.analyses.replay.run_graph import MEETING, RunGraph
from scaleprof.intervals import Ints
from scaleprof.models.communication import cost_model

OWN_WORK = (
    Doing.HOST, Doing.COMPUTE, Doing.COPY, Doing.INPUT, Doing.GC, Doing.COMPILE, Doing.CHECKPOINT, Doing.ENCODE, Doing.LAUNCH,
    Doing.SYNC_BATCH_NORM,
)  # fmt: skip
"""What a rank does by itself, and may take longer for than others."""
SMALL_BYTES = 4096
"""An operation of so few bytes takes the latency of its link, and hardly anything else."""


@dataclass(frozen=True)
class KnownNodes:
    """The graph of a run, and what is known of its nodes; columns by transfer have one entry for each of `transfers`."""

    view: RunView
    run: RunGraph

    @cached_property
    def transfers(self) -> Ints:
        """Nodes that send."""
        return np.flatnonzero(self.run.is_transfer & (self.run.row >= 0))

    @cached_property
    def of_transfers(self) -> dict[str, NDArray[np.object_]]:
        """Of each of these: op, group and bytes."""
        columns: dict[str, NDArray[np.object_]] = {}
        for name in ("op", "group", "bytes"):
            values = np.empty(len(self.transfers), dtype=object)
            for rank in self.run.ranks:
                here = np.flatnonzero(self.run.rank[self.transfers] == rank)
                column = self.view.fact("collectives")[rank][name]
                values[here] = np.array(column, dtype=object)[self.run.row[self.transfers[here]]]
            columns[name] = values
        return columns

    @cached_property
    def latency_ns(self) -> NDArray[np.float64]:
        """Of each transfer what its link's latency takes of it: by the line through operations of its kind, or as long as the smallest ones take."""
        bytes = self.of_transfers["bytes"].astype(np.float64)
        dur = self.run.graph.dur_ns[self.transfers].astype(np.float64)
        usable = (bytes > 0) & (dur > 0)
        small = usable & (bytes <= SMALL_BYTES)
        least = float(np.median(dur[small])) if small.any() else 0.0
        latency = np.full(len(dur), least)
        keys = np.array(
            [f"{op} {group}" for op, group in zip(self.of_transfers["op"], self.of_transfers["group"], strict=True)],
            dtype=object,
        )
        for key in sorted(set(keys.tolist())):
            here = (keys == key) & usable
            if here.any():
                model = cost_model(bytes[here], dur[here])
                if model.has_latency:
                    latency[keys == key] = model.line.alpha_ns
        found: NDArray[np.float64] = np.minimum(latency, dur)
        return found

    @property
    def knows_latency(self) -> bool:
        """Whether anything tells the latency of the links from their bandwidth."""
        return bool((self.latency_ns > 0).any())

    @cached_property
    def is_gradient(self) -> NDArray[np.bool_]:
        """Of each transfer: an all-reduce or reduce-scatter that is not one of synchronised batch normalisation, and not small."""
        reduces = np.isin(self.of_transfers["op"], ("all_reduce", "reduce_scatter"))
        return reduces & ~self.of_batch_norm & (self.of_transfers["bytes"].astype(np.float64) > SMALL_BYTES)

    @cached_property
    def of_batch_norm(self) -> NDArray[np.bool_]:
        """Of each transfer: the host issued it within synchronised batch normalisation."""
        issuers = self.issuers
        kind = np.where(issuers >= 0, self.run.kind[issuers], -1)
        found: NDArray[np.bool_] = kind == Doing.SYNC_BATCH_NORM
        return found

    @cached_property
    def issuers(self) -> Ints:
        """Of each transfer the node of the host at whose end it was issued, or -1."""
        graph, run = self.run.graph, self.run
        issuer = np.full(len(graph), -1, dtype=np.int64)
        from_host = run.on_host[graph.source] & ~run.on_host[graph.target]
        issuer[graph.target[from_host]] = graph.source[from_host]
        found: Ints = issuer[self.arrivals]
        return found

    @cached_property
    def arrivals(self) -> Ints:
        """Of each transfer the node of its arrival; itself where it has none of its own."""
        run = self.run
        ranks = max(run.ranks) + 1
        arrives = np.flatnonzero((run.kind == Doing.OPERATION) & ~run.is_transfer & (run.rank != MEETING))
        key = run.operation[arrives] * ranks + run.rank[arrives]
        order = np.argsort(key, kind="stable")
        wanted = run.operation[self.transfers] * ranks + run.rank[self.transfers]
        place = np.minimum(np.searchsorted(key[order], wanted), max(len(key) - 1, 0))
        if not len(key):
            return self.transfers
        there = (key[order][place] == wanted) & (run.operation[self.transfers] >= 0)
        found: Ints = np.where(there, arrives[order][place], self.transfers)
        return found

    @cached_property
    def computed_ns(self) -> NDArray[np.float64]:
        """Of each transfer of gradients how long its rank computed what is sent: since the one before was issued, and for the first of a step at
        the pace of the others; 0 where there is but one, for nothing then says when the backward pass began."""
        run, here = self.run, self.is_gradient
        nodes, after = self.transfers[here], self._computed_last
        bytes = self.of_transfers["bytes"][here].astype(np.float64)
        worked = np.cumsum(np.where(np.isin(run.kind, OWN_WORK), run.graph.dur_ns, 0))
        found = np.zeros(len(nodes))
        for rank in run.ranks:
            for step in run.steps.tolist():
                own = np.flatnonzero((run.rank[nodes] == rank) & (run.step[nodes] == step) & (after >= 0))
                own = own[np.argsort(after[own], kind="stable")]
                if len(own) > 1 and len(set(run.graph.lane[after[own]].tolist())) == 1:
                    found[own[1:]] = np.diff(worked[after[own]])
                    found[own[0]] = found[own[1:]].sum() * bytes[own[0]] / max(bytes[own[1:]].sum(), 1.0)
        return found

    @cached_property
    def _computed_last(self) -> Ints:
        """Of each transfer of gradients the node after which it is issued: of the host, or of the device's stream that it waits for; or -1."""
        run, graph, arrivals = self.run, self.run.graph, self.arrivals[self.is_gradient]
        entry = np.where(run.kind[arrivals - 1] == Doing.JOIN, arrivals - 1, arrivals)
        issuing = np.flatnonzero(run.kind[graph.source] != Doing.OPERATION)
        order = issuing[np.argsort(run.end_ns[graph.source[issuing]], kind="stable")]
        last = np.full(len(graph), -1, dtype=np.int64)
        last[graph.target[order]] = graph.source[order]
        found: Ints = last[entry]
        return found

    @cached_property
    def roles(self) -> dict[int, tuple[int, ...]]:
        """Ranks that do the same work: those of one stage of a pipeline."""
        of: dict[object, list[int]] = {}
        for rank in self.run.ranks:
            of.setdefault(self.view.ranks[rank].coordinates.get("pp"), []).append(rank)
        return {rank: tuple(peers) for peers in of.values() for rank in peers}

    @cached_property
    def stretches(self) -> Ints:
        """Of each node that is a rank's own work which stretch of its step it belongs to, the same on all ranks of its role; else -1.

        Where they do as many things, one after another, each is a stretch; else what lies between two operations that the host issued.
        """
        run = self.run
        own = np.flatnonzero(np.isin(run.kind, OWN_WORK) & (run.rank != MEETING))
        stretch = np.full(len(run.rank), -1, dtype=np.int64)
        issues = np.zeros(len(run.rank), dtype=np.int64)
        np.add.at(issues, self.issuers[self.issuers >= 0], 1)
        first_lane = {rank: int(run.graph.lane[run.rank == rank].min()) for rank in run.ranks}
        lane = run.graph.lane[own] - np.array([first_lane[rank] for rank in run.rank[own].tolist()])
        group = (run.step[own] - run.step.min()) * (int(lane.max(initial=0)) + 1) + lane
        for number in np.unique(group).tolist():
            of_group = own[group == number]
            by_rank = {rank: of_group[run.rank[of_group] == rank] for rank in run.ranks}
            for peers in set(self.roles.values()):
                _number(run, stretch, issues, [by_rank[rank] for rank in peers], number * _MOST_STRETCHES)
        return stretch


def _number(run: RunGraph, stretch: Ints, issues: Ints, parts: Sequence[Ints], first: int) -> None:
    """Number the stretches of one lane in one step, a part for each rank."""
    alike = all(len(part) == len(parts[0]) and (run.kind[part] == run.kind[parts[0]]).all() for part in parts)
    for part in parts:
        if alike:
            stretch[part] = first + np.arange(len(part))
        else:
            before = np.cumsum(issues[part]) - issues[part]
            stretch[part] = first + before


_MOST_STRETCHES = 1_000_000
