"""Applies edits to a run's graph: other durations, other lags, and nothing else, so that several are replayed jointly (`method` 7.4).

An edit changes what it is about and keeps the rest as it was observed, delays that nothing explains included; without any edit a replay gives the
measurement again.
"""

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.chain_nodes import Doing
from scaleprof.analyses.edits import Edit
from scaleprof.analyses.run_graph import MEETING, RunGraph
from scaleprof.errors import OptionError
from scaleprof.intervals import Ints
from scaleprof.models.communication import bus_factor, cost_model
from scaleprof.models.replay import NEVER

OWN_WORK = (
    Doing.HOST, Doing.COMPUTE, Doing.COPY, Doing.INPUT, Doing.GC, Doing.COMPILE, Doing.CHECKPOINT, Doing.ENCODE, Doing.LAUNCH,
    Doing.SYNC_BATCH_NORM,
)  # fmt: skip
"""What a rank does by itself, and may take longer for than others."""
LONGEST_LAUNCH_NS = 1_000_000
"""What a host does longer than this between two launches is no launching, and no graph saves it."""
SMALL_BYTES = 4096
"""An operation of so few bytes takes the latency of its link, and hardly anything else."""


@dataclass(frozen=True)
class Editor:
    """Applies edits to the graph of a run."""

    view: RunView
    run: RunGraph

    def step_ms(self, edits: Sequence[Edit]) -> list[float]:
        """How long a step takes with each of the edits, mean over ranks; all are worked out side by side."""
        both = [self.applied(edit) for edit in edits]
        ends = self.run.schedule.ends(np.array([dur for dur, _ in both]), np.array([lag for _, lag in both]))
        times: list[float] = (self.run.step_ns(ends) / 1e6).tolist()
        return times

    def changes(self, edit: Edit) -> bool:
        """Whether an edit changes anything of this run."""
        dur, lag = self.applied(edit)
        return bool((dur != self.run.exact_ns).any() or (lag != self.run.graph.edge_lag_ns).any())

    def applied(self, edit: Edit) -> tuple[Ints, Ints]:
        """Durations of nodes (delays included) and lags of edges, in ns. OptionError for what this run does not have."""
        dur, lag = self.run.graph.dur_ns.astype(np.float64), self.run.graph.edge_lag_ns.copy()
        for change in _CHANGES:
            change(self, edit, dur, lag)
        exact: Ints = np.rint(np.maximum(dur, 0)).astype(np.int64) + self.run.delay_ns
        return exact, lag

    # ---- what is known of nodes ----
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
        return reduces & ~self._of_batch_norm & (self.of_transfers["bytes"].astype(np.float64) > SMALL_BYTES)

    @cached_property
    def _of_batch_norm(self) -> NDArray[np.bool_]:
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


def _link(editor: Editor, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if edit.link == 1 and edit.latency == 1:
        return
    groups = editor.of_transfers["group"]
    here = np.ones(len(groups), dtype=np.bool_) if not edit.group else groups == edit.group
    if not here.any():
        known = ", ".join(sorted({str(group) or "(unnamed)" for group in groups}))
        raise OptionError(f"no operation of this run is of group {edit.group!r}; there are: {known or 'none'}")
    latency, nodes = editor.latency_ns[here], editor.transfers[here]
    dur[nodes] = latency * edit.latency + (dur[nodes] - latency) / edit.link


def _compress(editor: Editor, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if edit.compress == 1:
        return
    here = editor.is_gradient
    nodes, latency = editor.transfers[here], editor.latency_ns[here]
    dur[nodes] = np.minimum(latency, dur[nodes]) + np.maximum(dur[nodes] - latency, 0) * edit.compress
    if edit.encode_ns_per_byte < 0:
        dur[editor.run.kind == Doing.ENCODE] = 0
    elif edit.encode_ns_per_byte:
        issuers = editor.issuers[here]
        known = issuers >= 0
        bytes = editor.of_transfers["bytes"][here].astype(np.float64)
        np.add.at(dur, issuers[known], bytes[known] * edit.encode_ns_per_byte)


def _ranks(editor: Editor, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if edit.ranks is None:
        return
    run, now = editor.run, len(editor.run.ranks)
    members = np.zeros(int(run.operation.max(initial=0)) + 1, dtype=np.int64)
    nodes = editor.transfers
    matched = run.operation[nodes] >= 0
    np.add.at(members, run.operation[nodes[matched]], 1)
    partial = matched & (members[run.operation[nodes]] != now)
    if now < 2 or partial.any() or not matched.any():
        raise OptionError(
            f"run {editor.view.info.name} does not say what more ranks do: that needs collectives of all ranks, and only those"
        )
    factor = np.array([bus_factor(op, edit.ranks) / bus_factor(op, now) for op in editor.of_transfers["op"]])
    hops = (edit.ranks - 1) / (now - 1)
    latency = np.minimum(editor.latency_ns, dur[nodes])
    dur[nodes] = latency * hops + (dur[nodes] - latency) * factor
    if edit.batch == "global":
        dur[run.kind == Doing.COMPUTE] *= now / edit.ranks


def _merge(editor: Editor, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if edit.merge == 1:
        return
    run = editor.run
    nodes, latency = editor.transfers[editor.is_gradient], editor.latency_ns[editor.is_gradient]
    arrived = run.start_ns[editor.arrivals[editor.is_gradient]]
    for rank in run.ranks:
        for step in run.steps.tolist():
            here = np.flatnonzero((run.rank[nodes] == rank) & (run.step[nodes] == step))
            here = here[np.argsort(arrived[here], kind="stable")]
            for first in range(0, len(here), edit.merge):
                *early, last = here[first : first + edit.merge].tolist()
                bytes_ns = np.maximum(dur[nodes[early]] - latency[early], 0).sum()
                dur[nodes[early]] = 0
                dur[nodes[last]] += bytes_ns


def _batch_norm(editor: Editor, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if not edit.no_sync_batch_norm:
        return
    run = editor.run
    dur[run.kind == Doing.SYNC_BATCH_NORM] = 0
    nodes = editor.transfers[editor._of_batch_norm]
    dur[nodes] = 0
    lag[np.isin(run.graph.source, nodes) & run.is_wait] = NEVER
    lag[np.isin(run.operation[run.graph.source], run.operation[nodes]) & run.is_meeting] = NEVER


def _no_stragglers(editor: Editor, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if not edit.no_stragglers:
        return
    run = editor.run
    _level(editor, dur, run.ranks, np.mean, with_itself=True)
    order = np.argsort(run.operation[editor.transfers], kind="stable")
    nodes = editor.transfers[order]
    nodes = nodes[run.operation[nodes] >= 0]
    _, head, size = np.unique(run.operation[nodes], return_index=True, return_counts=True)
    for first, many in zip(head.tolist(), size.tolist(), strict=True):  # operations, not events
        dur[nodes[first : first + many]] = np.median(dur[nodes[first : first + many]])


def _normal_rank(editor: Editor, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if edit.normal_rank is None:
        return
    if edit.normal_rank not in editor.run.ranks:
        raise OptionError(f"there is no rank {edit.normal_rank}; there are: {', '.join(map(str, editor.run.ranks))}")
    _level(editor, dur, [edit.normal_rank], np.median, with_itself=False)


def _level(
    editor: Editor, dur: NDArray[np.float64], ranks: Sequence[int], middle: Callable[..., Any], *, with_itself: bool
) -> None:
    """The work of these ranks, stretch by stretch, as long as what the function makes of all ranks of their role, or of the others."""
    run = editor.run
    keys, place = np.unique(editor.stretches, return_inverse=True)
    row = np.searchsorted(np.array(run.ranks), run.rank)
    own = np.flatnonzero(editor.stretches >= 0)
    totals = np.zeros((len(run.ranks), len(keys)))
    np.add.at(totals, (row[own], place[own]), dur[own])
    for rank in ranks:
        peers = [run.ranks.index(peer) for peer in editor.roles[rank] if with_itself or peer != rank]
        if peers:
            mine = totals[run.ranks.index(rank)]
            wanted = middle(totals[peers], axis=0)
            factor = np.divide(wanted, mine, out=np.ones_like(mine), where=mine > 0)
            here = own[run.rank[own] == rank]
            dur[here] *= factor[place[here]]


def _overlap(editor: Editor, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if not edit.overlap:
        return
    run = editor.run
    graph = run.graph
    waits = np.flatnonzero(run.is_wait & (run.kind[graph.source] == Doing.OPERATION))
    for rank in run.ranks:
        for step in run.steps.tolist():
            here = waits[(run.rank[graph.target[waits]] == rank) & (run.step[graph.target[waits]] == step)]
            if len(here):
                last = int(graph.target[here].max())
                ends = graph.target[here] < last
                # Joins of one wait follow one another on their lane.
                between = np.cumsum(run.kind[: last + 1][::-1] != Doing.JOIN)[::-1]
                apart = between[graph.target[here]] > 0
                lag[here[ends & apart]] = NEVER


def _host(editor: Editor, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    run = editor.run
    if edit.no_host_syncs:
        lag[run.is_wait & run.on_host[run.graph.target] & ~run.on_host[run.graph.source]] = NEVER
    dur[np.isin(run.kind, [Doing[one.upper()] for one in sorted(edit.without)])] = 0
    if edit.no_launches:
        launches = (run.kind == Doing.LAUNCH).any()
        if launches:
            dur[np.isin(run.kind, (Doing.HOST, Doing.LAUNCH)) & (run.graph.dur_ns <= LONGEST_LAUNCH_NS)] = 0


def _kernels(editor: Editor, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    run = editor.run
    for pattern, times in edit.kernels.items():
        names = {name for name in set(run.name) if fnmatch.fnmatchcase(name, pattern)}
        here = (run.kind == Doing.COMPUTE) & np.array([name in names for name in run.name], dtype=np.bool_)
        if not here.any():
            raise OptionError(f"no kernel of this run is called {pattern!r}")
        dur[here] /= times


_CHANGES = (_no_stragglers, _normal_rank, _ranks, _link, _compress, _merge, _batch_norm, _overlap, _host, _kernels)
"""In this order: ranks are levelled as they were measured, before anything else changes them."""
