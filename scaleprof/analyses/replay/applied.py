"""What each thing that an edit says does to the durations of nodes and the lags of edges (`method` 7.4), one function for each."""

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.analyses.replay.chain_nodes import Doing
from scaleprof.analyses.replay.edits import Edit
from scaleprof.analyses.replay.known_nodes import KnownNodes
from scaleprof.errors import OptionError
from scaleprof.intervals import Ints
from scaleprof.models.communication import bus_factor
from scaleprof.models.replay import NEVER

LONGEST_LAUNCH_NS = 1_000_000
"""What a host does longer than this between two launches is no launching, and no graph saves it."""


def _link(known: KnownNodes, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if edit.link == 1 and edit.latency == 1:
        return
    groups = known.of_transfers["group"]
    here = np.ones(len(groups), dtype=np.bool_) if not edit.group else groups == edit.group
    if not here.any():
        names = ", ".join(sorted({str(group) or "(unnamed)" for group in groups}))
        raise OptionError(f"no operation of this run is of group {edit.group!r}; there are: {names or 'none'}")
    latency, nodes = known.latency_ns[here], known.transfers[here]
    dur[nodes] = latency * edit.latency + (dur[nodes] - latency) / edit.link


def _compress(known: KnownNodes, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if edit.compress == 1:
        return
    here = known.is_gradient
    nodes, latency = known.transfers[here], known.latency_ns[here]
    dur[nodes] = np.minimum(latency, dur[nodes]) + np.maximum(dur[nodes] - latency, 0) * edit.compress
    if edit.encode_ns_per_byte < 0:
        dur[known.run.kind == Doing.ENCODE] = 0
    elif edit.encode_ns_per_byte:
        issuers = known.issuers[here]
        issued = issuers >= 0
        bytes = known.of_transfers["bytes"][here].astype(np.float64)
        np.add.at(dur, issuers[issued], bytes[issued] * edit.encode_ns_per_byte)


def _ranks(known: KnownNodes, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if edit.ranks is None:
        return
    run, now = known.run, len(known.run.ranks)
    members = np.zeros(int(run.operation.max(initial=0)) + 1, dtype=np.int64)
    nodes = known.transfers
    matched = run.operation[nodes] >= 0
    np.add.at(members, run.operation[nodes[matched]], 1)
    partial = matched & (members[run.operation[nodes]] != now)
    if now < 2 or partial.any() or not matched.any():
        raise OptionError(
            f"run {known.view.info.name} does not say what more ranks do: that needs collectives of all ranks, and only those"
        )
    factor = np.array([bus_factor(op, edit.ranks) / bus_factor(op, now) for op in known.of_transfers["op"]])
    hops = (edit.ranks - 1) / (now - 1)
    latency = np.minimum(known.latency_ns, dur[nodes])
    dur[nodes] = latency * hops + (dur[nodes] - latency) * factor
    if edit.batch == "global":
        dur[run.kind == Doing.COMPUTE] *= now / edit.ranks


def _merge(known: KnownNodes, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if edit.merge == 1:
        return
    run = known.run
    nodes, latency = known.transfers[known.is_gradient], known.latency_ns[known.is_gradient]
    arrived = run.start_ns[known.arrivals[known.is_gradient]]
    for rank in run.ranks:
        for step in run.steps.tolist():
            here = np.flatnonzero((run.rank[nodes] == rank) & (run.step[nodes] == step))
            here = here[np.argsort(arrived[here], kind="stable")]
            for first in range(0, len(here), edit.merge):
                *early, last = here[first : first + edit.merge].tolist()
                bytes_ns = np.maximum(dur[nodes[early]] - latency[early], 0).sum()
                dur[nodes[early]] = 0
                dur[nodes[last]] += bytes_ns


def _split(known: KnownNodes, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    """Of K equal parts the first is there (K-1)/K of the time earlier in which a bucket's gradients are computed, and the last with the bucket.

    One after another they take K latencies and the bytes. So the transfer begins earlier by the less of that time and of what K-1 parts take.
    """
    if edit.split == 1:
        return
    run, graph, here = known.run, known.run.graph, known.is_gradient
    nodes, arrivals, latency = known.transfers[here], known.arrivals[here], known.latency_ns[here]
    dur[nodes] += (edit.split - 1) * np.minimum(latency, dur[nodes])
    share = 1 - 1 / edit.split
    earlier = np.zeros(len(graph), dtype=np.int64)
    earlier[arrivals] = np.minimum(share * known.computed_ns, share * dur[nodes]).astype(np.int64)
    joined = np.flatnonzero(run.kind[arrivals - 1] == Doing.JOIN)
    earlier[arrivals[joined] - 1] = earlier[arrivals[joined]]
    waits = lag != NEVER
    lag[waits] -= earlier[graph.target[waits]]


def _batch_norm(known: KnownNodes, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if not edit.no_sync_batch_norm:
        return
    run = known.run
    dur[run.kind == Doing.SYNC_BATCH_NORM] = 0
    nodes = known.transfers[known.of_batch_norm]
    dur[nodes] = 0
    lag[np.isin(run.graph.source, nodes) & run.is_wait] = NEVER
    lag[np.isin(run.operation[run.graph.source], run.operation[nodes]) & run.is_meeting] = NEVER


def _no_stragglers(known: KnownNodes, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if not edit.no_stragglers:
        return
    run = known.run
    _level(known, dur, run.ranks, np.mean, with_itself=True)
    order = np.argsort(run.operation[known.transfers], kind="stable")
    nodes = known.transfers[order]
    nodes = nodes[run.operation[nodes] >= 0]
    _, head, size = np.unique(run.operation[nodes], return_index=True, return_counts=True)
    for first, many in zip(head.tolist(), size.tolist(), strict=True):  # operations, not events
        dur[nodes[first : first + many]] = np.median(dur[nodes[first : first + many]])


def _normal_rank(known: KnownNodes, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if edit.normal_rank is None:
        return
    if edit.normal_rank not in known.run.ranks:
        raise OptionError(f"there is no rank {edit.normal_rank}; there are: {', '.join(map(str, known.run.ranks))}")
    _level(known, dur, [edit.normal_rank], np.median, with_itself=False)


def _level(
    known: KnownNodes, dur: NDArray[np.float64], ranks: Sequence[int], middle: Callable[..., Any], *, with_itself: bool
) -> None:
    """The work of these ranks, stretch by stretch, as long as what the function makes of all ranks of their role, or of the others."""
    run = known.run
    keys, place = np.unique(known.stretches, return_inverse=True)
    row = np.searchsorted(np.array(run.ranks), run.rank)
    own = np.flatnonzero(known.stretches >= 0)
    totals = np.zeros((len(run.ranks), len(keys)))
    np.add.at(totals, (row[own], place[own]), dur[own])
    for rank in ranks:
        peers = [run.ranks.index(peer) for peer in known.roles[rank] if with_itself or peer != rank]
        if peers:
            mine = totals[run.ranks.index(rank)]
            wanted = middle(totals[peers], axis=0)
            factor = np.divide(wanted, mine, out=np.ones_like(mine), where=mine > 0)
            here = own[run.rank[own] == rank]
            dur[here] *= factor[place[here]]


def _overlap(known: KnownNodes, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    if not edit.overlap:
        return
    run = known.run
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


def _host(known: KnownNodes, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    run = known.run
    if edit.no_host_syncs:
        lag[run.is_wait & run.on_host[run.graph.target] & ~run.on_host[run.graph.source]] = NEVER
    dur[np.isin(run.kind, [Doing[one.upper()] for one in sorted(edit.without)])] = 0
    if edit.no_launches:
        launches = (run.kind == Doing.LAUNCH).any()
        if launches:
            dur[np.isin(run.kind, (Doing.HOST, Doing.LAUNCH)) & (run.graph.dur_ns <= LONGEST_LAUNCH_NS)] = 0


def _kernels(known: KnownNodes, edit: Edit, dur: NDArray[np.float64], lag: Ints) -> None:
    run = known.run
    for pattern, times in edit.kernels.items():
        names = {name for name in set(run.name) if fnmatch.fnmatchcase(name, pattern)}
        here = (run.kind == Doing.COMPUTE) & np.array([name in names for name in run.name], dtype=np.bool_)
        if not here.any():
            raise OptionError(f"no kernel of this run is called {pattern!r}")
        dur[here] /= times


CHANGES = (
    _no_stragglers,
    _normal_rank,
    _ranks,
    _link,
    _compress,
    _merge,
    _split,
    _batch_norm,
    _overlap,
    _host,
    _kernels,
)
"""In this order: ranks are levelled as they were measured, before anything else changes them."""
