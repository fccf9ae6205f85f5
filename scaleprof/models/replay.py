"""Graphs of what waits for what, and when everything happens in them (`method` 7.1-7.3): lanes of nodes one after another, and edges between lanes.

A node begins when the node before it on its lane and all nodes with an edge to it have ended, each some lag ago. `schedule` cuts the lanes once into
stretches that need nothing from one another and can be worked out together, a wave at a time, by sums and running maxima; scenarios with other
durations or lags share it. Times are int64 ns from the origin of the graph, so that a replay is exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints

NEVER = -(2**44)
"""Before everything: the release of a node that may begin at once, and the lag of an edge that is cut."""
_APART = 2**46
"""Between the running maxima of two stretches."""
LONGEST_NS = 2**43
"""2.4 hours: a graph must be shorter."""


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of their lanes, and within a lane of their places; a node's number is its row."""

    lane: Ints
    """Ascending from 0, without a gap."""
    dur_ns: Ints
    lag_ns: Ints
    """Between the end of the node before it on its lane and this node's begin; without meaning for the first."""
    release_ns: Ints
    """Not before; `NEVER` for any time."""
    source: Ints
    """Of each edge between lanes the node that must have ended."""
    target: Ints
    """The node that waits for it."""
    edge_lag_ns: Ints

    def __post_init__(self) -> None:
        count = len(self.lane)
        assert count == len(self.dur_ns) == len(self.lag_ns) == len(self.release_ns), (
            "columns of nodes differ in length"
        )
        assert len(self.source) == len(self.target) == len(self.edge_lag_ns), "columns of edges differ in length"
        assert not count or (self.lane[0] == 0 and np.isin(np.diff(self.lane), (0, 1)).all()), (
            "lanes must ascend by one"
        )
        assert not count or (self.dur_ns.min() >= 0 and self.dur_ns.sum() < LONGEST_NS * (self.lane[-1] + 1))
        if len(self.source):
            both = np.concatenate((self.source, self.target))
            assert both.min() >= 0 and both.max() < count, "an edge leads to no node"

    def __len__(self) -> int:
        return len(self.lane)

    @cached_property
    def is_first(self) -> NDArray[np.bool_]:
        """Which nodes are the first of their lanes."""
        first = np.ones(len(self), dtype=np.bool_)
        first[1:] = self.lane[1:] != self.lane[:-1]
        return first

    def ready(self, end_ns: Ints) -> Ints:
        """When each node could begin, if the nodes ended then: what the node before it, its edges and its release allow."""
        ready = self.release_ns.copy()
        after = np.flatnonzero(~self.is_first)
        ready[after] = np.maximum(ready[after], end_ns[after - 1] + self.lag_ns[after])
        np.maximum.at(ready, self.target, end_ns[self.source] + self.edge_lag_ns)
        return ready


@dataclass(frozen=True)
class _Wave:
    """Stretches of lanes that need nothing from one another: rows `first:last` of the schedule."""

    first: int
    last: int
    stretch: Ints
    """Which stretch each row belongs to, from 0."""
    begins: Ints
    """Of each row: where its stretch begins, from `first`."""
    edges: slice
    """Of the schedule, ascending by target."""
    heads: Ints
    """Where a new target begins among these edges."""
    targets: Ints
    """From `first`, one for each head."""


@dataclass(frozen=True)
class Schedule:
    """A graph in the order in which it can be worked out."""

    graph: Graph
    order: Ints
    """Rows of the schedule to nodes of the graph."""
    _source: Ints
    """Rows; edges between lanes, and from one stretch of a lane to its next."""
    _edge: Ints
    """The edge of the graph, or -1 - node for what leads to that node from its lane."""
    _waves: tuple[_Wave, ...] = field(repr=False)

    def ends(self, dur_ns: Ints, edge_lag_ns: Ints | None = None) -> Ints:
        """When each node ends.

        `dur_ns` has the shape (nodes,) or (scenarios, nodes), and so has the answer; `edge_lag_ns` (edges,) or (scenarios, edges) in place of the
        graph's own, `NEVER` to cut an edge.
        """
        graph = self.graph
        single = dur_ns.ndim == 1
        dur = np.ascontiguousarray(np.atleast_2d(dur_ns)[:, self.order])
        lag = np.where(graph.is_first, 0, graph.lag_ns)[self.order]
        release = graph.release_ns[self.order]
        lags = np.atleast_2d(graph.edge_lag_ns if edge_lag_ns is None else edge_lag_ns)
        within = self._edge >= 0
        edge_lag = np.empty((len(lags), len(self._edge)), dtype=np.int64)
        edge_lag[:, within] = lags[:, self._edge[within]]
        edge_lag[:, ~within] = graph.lag_ns[-1 - self._edge[~within]]
        end = np.zeros(dur.shape, dtype=np.int64)
        for wave in self._waves:
            end[:, wave.first : wave.last] = self._of_wave(wave, end, dur, lag, release, edge_lag)
        answer = np.empty_like(end)
        answer[:, self.order] = end
        ends: Ints = answer[0] if single else answer
        return ends

    def _of_wave(self, wave: _Wave, end: Ints, dur: Ints, lag: Ints, release: Ints, edge_lag: Ints) -> Ints:
        here = slice(wave.first, wave.last)
        of = dur[:, here]
        ready = np.repeat(release[None, here], len(of), axis=0)
        if len(wave.heads):
            arrived = end[:, self._source[wave.edges]] + edge_lag[:, wave.edges]
            latest = np.maximum.reduceat(arrived, wave.heads, axis=1)
            ready[:, wave.targets] = np.maximum(ready[:, wave.targets], latest)
        if len(wave.stretch) == wave.stretch[-1] + 1:  # nothing but single nodes
            return np.maximum(ready, 0) + of
        # end[i] = sum[i] + max over j <= i of (ready[j] + dur[j] - sum[j]), sums of what follows the first node of the stretch.
        total = np.cumsum(of + lag[here], axis=1)
        total -= total[:, wave.begins]
        ready[:, np.unique(wave.begins)] = np.maximum(ready[:, np.unique(wave.begins)], 0)
        apart = wave.stretch * _APART
        latest = np.maximum.accumulate(ready + of - total + apart, axis=1) - apart
        return latest + total


def schedule(graph: Graph) -> Schedule:
    """The order in which a graph can be worked out. ValueError where nodes wait for one another in a circle."""
    first_of_lane = np.flatnonzero(graph.is_first)
    size_of_lane = np.diff(np.append(first_of_lane, len(graph)))
    place = np.arange(len(graph)) - np.repeat(first_of_lane, size_of_lane)
    wave = np.zeros(len(graph), dtype=np.int64)
    for number, (lanes, since, until) in enumerate(_rounds(graph, place, size_of_lane)):
        for lane, start, stop in zip(lanes.tolist(), since.tolist(), until.tolist(), strict=True):
            wave[first_of_lane[lane] + start : first_of_lane[lane] + stop] = number
    order = np.lexsort((np.arange(len(graph)), wave))
    row = np.empty(len(graph), dtype=np.int64)
    row[order] = np.arange(len(graph))
    begins = graph.is_first.copy()
    begins[1:] |= wave[1:] != wave[:-1]
    linked = np.flatnonzero(begins & ~graph.is_first)
    source = np.concatenate((row[graph.source], row[linked - 1]))
    target = np.concatenate((row[graph.target], row[linked]))
    edge = np.concatenate((np.arange(len(graph.source)), -1 - linked))
    by_target = np.argsort(target, kind="stable")
    waves = tuple(_waves(wave[order], begins[order], target[by_target]))
    return Schedule(graph, order, source[by_target], edge[by_target], waves)


_AHEAD = 32
"""Edges of each lane that are looked at together."""


def _rounds(graph: Graph, place: Ints, size_of_lane: Ints) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Lanes that come further in a round, from which place to which: as far as all they wait for was done in the rounds before."""
    order = np.argsort(graph.target, kind="stable")
    source, target = graph.source[order], graph.target[order]
    source_lane, source_place, target_place = graph.lane[source], place[source], place[target]
    lanes = np.arange(len(size_of_lane))
    # By lane: the first edge into it that is not known to be met, and the end of its edges.
    next_edge, last_edge = (np.searchsorted(graph.lane[target], lanes, side=side) for side in ("left", "right"))
    done = np.zeros(len(size_of_lane), dtype=np.int64)
    ahead = np.arange(_AHEAD)
    while (done < size_of_lane).any():
        active = lanes[next_edge < last_edge]
        while len(active):
            edge = next_edge[active, None] + ahead
            beyond = edge >= last_edge[active, None]
            edge = np.minimum(edge, len(source) - 1)
            waits = ~beyond & (source_place[edge] >= done[source_lane[edge]])
            met = np.where(waits.any(axis=1), waits.argmax(axis=1), _AHEAD)
            next_edge[active] = np.minimum(next_edge[active] + met, last_edge[active])
            active = active[(met == _AHEAD) & (next_edge[active] < last_edge[active])]
        left = next_edge < last_edge
        reach = size_of_lane.copy()
        reach[left] = target_place[next_edge[left]]
        further = np.flatnonzero(reach > done)
        if not len(further):
            raise ValueError("the graph has a circle: nodes wait for one another")
        yield further, done[further], reach[further]
        done = reach


def _waves(wave: Ints, begins: NDArray[np.bool_], target: Ints) -> Iterator[_Wave]:
    """The rows and edges of each wave; all columns in the order of the schedule."""
    count = int(wave[-1]) + 1 if len(wave) else 0
    bounds = np.searchsorted(wave, np.arange(count + 1))
    edge_bounds = np.searchsorted(target, bounds)
    for first, last, edge_first, edge_last in zip(bounds, bounds[1:], edge_bounds, edge_bounds[1:], strict=False):
        starts = np.flatnonzero(begins[first:last])
        stretch = np.cumsum(begins[first:last]) - 1
        targets, heads = np.unique(target[edge_first:edge_last] - first, return_index=True)
        edges = slice(int(edge_first), int(edge_last))
        yield _Wave(int(first), int(last), stretch, starts[stretch], edges, heads, targets)


def reversed_graph(graph: Graph) -> Graph:
    """The graph read backwards: its nodes end so long before the end of everything as these begin after the origin; no releases."""
    last = len(graph) - 1
    lag = np.zeros(len(graph), dtype=np.int64)
    lag[:-1] = graph.lag_ns[1:]  # from this node to the next one
    return Graph(
        lane=(graph.lane[-1] - graph.lane)[::-1] if len(graph) else graph.lane,
        dur_ns=graph.dur_ns[::-1],
        lag_ns=lag[::-1],
        release_ns=np.full(len(graph), NEVER, dtype=np.int64),
        source=last - graph.target,
        target=last - graph.source,
        edge_lag_ns=graph.edge_lag_ns,
    )


def slack(graph: Graph, dur_ns: Ints) -> Ints:
    """By how much each node could take longer without anything ending later, ns; shape (nodes,)."""
    end = schedule(graph).ends(dur_ns)
    to_the_end = schedule(reversed_graph(graph)).ends(dur_ns[::-1])[::-1]
    left: Ints = int(end.max(initial=0)) - end - to_the_end + dur_ns
    return left


@dataclass(frozen=True)
class CriticalPath:
    """The chain of nodes that nothing but one another held up, from the origin to the end of the last one; one entry a node, in order of time.

    The pieces divide the time from the origin to the end exactly: before each node a gap, then the node itself.
    """

    node: Ints
    gap_ns: Ints
    """Time between the end of the node before and the begin of this one: lags, and delays that the graph does not explain."""
    dur_ns: Ints
    edge: Ints
    """The edge by which the node before holds this one up; -1 along a lane, -2 for the first."""

    @property
    def length_ns(self) -> int:
        """From the origin to the end."""
        return int(self.gap_ns.sum() + self.dur_ns.sum())


def critical_path(graph: Graph, start_ns: Ints, end_ns: Ints) -> CriticalPath:
    """Back from the node that ends last, each time to the one that held it up; of several the one before it on its lane."""
    if not len(graph):
        nothing = np.zeros(0, dtype=np.int64)
        return CriticalPath(nothing, nothing, nothing, nothing)
    by_target = np.argsort(graph.target, kind="stable")
    heads = np.searchsorted(graph.target[by_target], np.arange(len(graph) + 1))
    node = int(np.argmax(end_ns))
    path: list[tuple[int, int, int]] = []
    while True:  # along the path, not over all nodes
        edges = by_target[heads[node] : heads[node + 1]]
        arrived = end_ns[graph.source[edges]] + graph.edge_lag_ns[edges]
        best = int(arrived.max()) if len(edges) else NEVER
        on_lane = NEVER if graph.is_first[node] else int(end_ns[node - 1] + graph.lag_ns[node])
        if max(best, on_lane) < max(int(graph.release_ns[node]), 0):
            path.append((node, int(start_ns[node]), -2))
            break
        edge = -1 if on_lane >= best else int(edges[int(np.argmax(arrived))])
        before = node - 1 if edge == -1 else int(graph.source[edge])
        path.append((node, int(start_ns[node] - end_ns[before]), edge))
        node = before
    nodes, gaps, edges = (np.array(column, dtype=np.int64) for column in zip(*reversed(path), strict=True))
    return CriticalPath(nodes, gaps, (end_ns - start_ns)[nodes], edges)
