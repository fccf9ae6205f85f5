"""The graph of a run: the chains of all its ranks on one clock, tied together by the operations that they took part in (`method` 7.1).

Of each matched operation a rank has two nodes, the arrival, which takes no time, and the transfer; between them stands the meeting of all, on a lane
of its own, at the last arrival. What the times contradict by less than the clocks' error is let pass: the edge gets a negative lag.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.replay.chain_nodes import Doing
from scaleprof.analyses.replay.joined import SLACK_NS, Base, Meetings, Part, chains_of, meetings_in, on_wires
from scaleprof.intervals import Ints
from scaleprof.models.replay import NEVER, Graph, Schedule, schedule
from scaleprof.results import Table

MEETING = -1
"""The rank of a meeting."""


@dataclass(frozen=True)
class RunGraph:
    """What was observed in some steps of a run, as a graph; columns have one entry for each node."""

    graph: Graph
    origin_ns: int
    """Of all its times, on the run's clock."""
    rank: Ints
    """`MEETING` for meetings."""
    step: Ints
    kind: Ints
    """`Doing`."""
    on_host: NDArray[np.bool_]
    name: list[str]
    start_ns: Ints
    """From the origin, on the run's clock; likewise the ends."""
    end_ns: Ints
    delay_ns: Ints
    """What the graph does not explain: a node began so much after all that it waits for."""
    operation: Ints
    """The number of a matched operation (in `RunView.matches`), of its arrivals, meeting and transfers; else -1."""
    is_transfer: NDArray[np.bool_]
    row: Ints
    """Of an operation's nodes the row in the fact on collectives; else -1."""
    steps: Ints
    ranks: tuple[int, ...]
    edge_is_inferred: NDArray[np.bool_]
    is_wait: NDArray[np.bool_]
    """Of each edge: the end of an operation that the host, or a stream, waits for."""
    is_meeting: NDArray[np.bool_]
    """Of each edge: it leads into or out of a meeting."""
    contradicted: int
    """Edges whose times contradict one another by more than the clocks explain."""

    @cached_property
    def schedule(self) -> Schedule:
        """How to work it out."""
        return schedule(self.graph)

    @property
    def exact_ns(self) -> Ints:
        """Durations with which a replay gives every observed time: unexplained delays are a part of them."""
        return self.graph.dur_ns + self.delay_ns

    @cached_property
    def _marks(self) -> tuple[Ints, Ints]:
        """By rank the nodes that end last in the first step and in the last one: of its host, or of the device behind it where it launches to one."""
        own = (self.rank != MEETING) & (self.kind != Doing.OPERATION)
        if (self.kind == Doing.LAUNCH).any():
            own &= ~self.on_host
        found = []
        for step in (int(self.steps[0]), int(self.steps[-1])):
            for rank in self.ranks:
                here = np.flatnonzero(own & (self.rank == rank) & (self.step == step))
                found.append(int(here[np.argmax(self.end_ns[here])]))
        marks = np.array(found, dtype=np.int64).reshape(2, -1)
        return marks[0], marks[1]

    def step_ns(self, end_ns: Ints) -> NDArray[np.float64]:
        """How long a step takes, mean over ranks, if nodes end then: ns, of shape () or (scenarios,).

        From the end of the first step to the end of the last one, so that what was before the graph begins says nothing; of a single step from its
        begin.
        """
        first, last = self._marks
        count = len(self.steps) - 1
        if not count:
            begins = np.array([int(self.start_ns[self.rank == rank].min()) for rank in self.ranks])
            alone: NDArray[np.float64] = end_ns[..., last].mean(axis=-1) - begins.mean()
            return alone
        time: NDArray[np.float64] = (end_ns[..., last].mean(axis=-1) - end_ns[..., first].mean(axis=-1)) / count
        return time


def run_graph(view: RunView) -> RunGraph | None:
    """The graph of the steps that all ranks have; None where a rank has none, or its clock cannot be compared."""
    tables = {rank: table for rank, table in view.fact("chains").items() if len(table)}
    if not tables or len(tables) < len(view.ranks) or len(tables) < view.info.world_size:
        return None
    steps = _common_steps(tables)
    if not len(steps):
        return None
    parts = {rank: _on_one_clock(view, rank, _of_steps(table, steps)) for rank, table in sorted(tables.items())}
    if any(part is None for part in parts.values()):
        return None
    return _joined(view, {rank: part for rank, part in parts.items() if part is not None}, steps)


def _common_steps(tables: Mapping[int, Table]) -> Ints:
    """The last steps in a row that all ranks have."""
    common: Ints | None = None
    for table in tables.values():
        of = np.unique(np.asarray(table["step"]))
        common = of if common is None else np.intersect1d(common, of)
    if common is None or not len(common):
        return np.zeros(0, dtype=np.int64)
    breaks = np.flatnonzero(np.diff(common) != 1)
    return common[breaks[-1] + 1 :] if len(breaks) else common


def _of_steps(table: Table, steps: Ints) -> Table:
    """The rows of these steps; what waited for a row of another step waits for nothing."""
    keep = np.isin(np.asarray(table["step"]), steps)
    new = np.full(len(table) + 1, -1, dtype=np.int64)
    new[np.flatnonzero(keep)] = np.arange(int(keep.sum()))
    columns: dict[str, Any] = {
        name: np.asarray(column)[keep] for name, column in table.columns.items() if name != "name"
    }
    columns["name"] = [text for text, kept in zip(table["name"], keep.tolist(), strict=True) if kept]
    columns["after"] = new[np.asarray(columns["after"])]
    return Table(columns)


def _on_one_clock(view: RunView, rank: int, table: Table) -> Part | None:
    clock = view.clocks.of_rank.get(rank)
    if clock is None or (clock.offset_ns is None and len(view.ranks) > 1):
        return None
    start = np.asarray(table["start_ns"])
    end = start + np.asarray(table["dur_ns"])

    def shifted(times: Ints) -> Ints:
        drift = np.rint((times - clock.at_ns) * ((clock.drift_ppm or 0.0) / 1e6)).astype(np.int64)
        moved: Ints = times - (clock.offset_ns or 0) - drift
        return moved

    return Part(
        lane=np.asarray(table["lane"]),
        step=np.asarray(table["step"]),
        kind=np.asarray(table["kind"]).astype(np.int64),
        name=list(table["name"]),
        start_ns=shifted(start),
        end_ns=shifted(end),
        after=np.asarray(table["after"]),
        lag_ns=np.asarray(table["after_lag_ns"]),
        row=np.asarray(table["operation"]),
        is_inferred=np.asarray(table["is_inferred"]),
        is_bound=np.asarray(table["is_bound"]),
        error_ns=int(clock.error_ns or 0),
    )


@dataclass
class _Drawn:
    """All nodes and edges, in any order; nodes of the chains first, then arrivals, then meetings."""

    columns: dict[str, Ints]
    name: list[str]
    source: list[Ints]
    target: list[Ints]
    lag: list[Ints]
    flags: list[tuple[bool, bool]]
    """Of each block of edges: whether it is a wait for an operation, and whether it belongs to a meeting."""
    inferred: list[NDArray[np.bool_]]

    def connect(
        self,
        source: Ints,
        target: Ints,
        lag: Ints,
        *,
        is_wait: bool = False,
        is_meeting: bool = False,
        inferred: NDArray[np.bool_] | None = None,
    ) -> None:
        """Edges between nodes, by their numbers here."""
        self.source.append(source)
        self.target.append(target)
        self.lag.append(lag)
        self.flags.append((is_wait, is_meeting))
        self.inferred.append(np.zeros(len(source), dtype=np.bool_) if inferred is None else inferred)


def _joined(view: RunView, parts: Mapping[int, Part], steps: Ints) -> RunGraph:
    """The chains of all ranks, tied together."""
    base = chains_of(parts)
    meets = meetings_in(view, base)
    wired, meets = on_wires(base, meets)
    split = np.flatnonzero(meets.number >= 0)
    count = len(base.rank)
    arrival = np.full(count, -1, dtype=np.int64)
    arrival[split] = count + np.arange(len(split))
    drawn = _nodes(base, meets, split, wired)
    entry = np.where(arrival >= 0, arrival, np.arange(count))
    # A thread carries out one operation after another, wherever the bytes of the first one are.
    follows = wired[(wired + 1 < count) & (base.lane[np.minimum(wired + 1, count - 1)] == base.lane[wired])]
    drawn.connect(follows, entry[follows + 1], np.zeros(len(follows), dtype=np.int64))
    waiting = np.flatnonzero(base.after >= 0)
    of_join = base.kind[waiting] == Doing.JOIN
    for is_wait in (False, True):
        here = waiting[of_join == is_wait]
        drawn.connect(base.after[here], entry[here], base.lag[here], is_wait=is_wait, inferred=base.inferred[here])
    whole = split[meets.synchronises[split]]
    meeting = count + len(split) + np.searchsorted(meets.numbers, meets.number[whole])
    nothing = np.zeros(len(whole), dtype=np.int64)
    drawn.connect(arrival[whole], meeting, nothing, is_meeting=True)
    drawn.connect(meeting, whole, nothing, is_meeting=True)
    held = split[~meets.synchronises[split] & (meets.held_by[split] >= 0)]
    drawn.connect(arrival[meets.held_by[held]], held, np.zeros(len(held), dtype=np.int64), is_meeting=True)
    return _observed(drawn, steps, tuple(parts), max((part.error_ns for part in parts.values()), default=0))


def _nodes(base: Base, meets: Meetings, split: Ints, wired: Ints) -> _Drawn:
    count, lanes = len(base.rank), int(base.lane.max()) + 1
    lane, place = base.lane.copy(), 2 * np.arange(count) + 1
    lane[wired], place[wired] = 2 * lanes + base.rank[wired], meets.place_on_wire[wired]
    met = meets.place
    kind = np.concatenate((base.kind, np.full(len(split) + len(met), Doing.OPERATION)))
    is_transfer = np.zeros(len(kind), dtype=np.int64)
    is_transfer[:count] = (base.kind == Doing.OPERATION).astype(np.int64)
    columns = {
        "rank": np.concatenate((base.rank, base.rank[split], np.full(len(met), MEETING))),
        "lane": np.concatenate((lane, base.lane[split], base.lane[met] + lanes)),
        "place": np.concatenate((place, 2 * split, 2 * met)),
        "step": np.concatenate((base.step, base.step[split], base.step[met])),
        "kind": kind,
        "on_host": np.concatenate((base.on_host, np.zeros(len(split) + len(met), dtype=np.bool_))),
        "start": np.concatenate((meets.begin, base.start[split], meets.latest)),
        "end": np.concatenate((meets.end, base.start[split], meets.latest)),
        "operation": np.concatenate((meets.number, meets.number[split], meets.number[met])),
        "row": np.concatenate((base.row, base.row[split], np.full(len(met), -1))),
        "is_transfer": is_transfer,
    }
    names = [*base.name, *(base.name[node] for node in split.tolist()), *(base.name[node] for node in met.tolist())]
    return _Drawn(columns, names, [], [], [], [], [])


def _observed(drawn: _Drawn, steps: Ints, ranks: tuple[int, ...], error_ns: int) -> RunGraph:
    """The graph with what was observed; lags that times contradict give way, and what no edge explains is a delay."""
    columns = drawn.columns
    order = np.lexsort((columns["place"], columns["lane"]))
    row = np.empty(len(order), dtype=np.int64)
    row[order] = np.arange(len(order))
    of = {name: column[order] for name, column in columns.items()}
    origin = int(of["start"].min())
    start, end = of["start"] - origin, of["end"] - origin
    _, lane = np.unique(of["lane"], return_inverse=True)
    source, target = (row[np.concatenate(side)] for side in (drawn.source, drawn.target))
    lag = np.concatenate(drawn.lag)
    sizes = [len(block) for block in drawn.source]
    room = start[target] - end[source]
    contradicted = int((room < np.minimum(lag, 0) - SLACK_NS - 2 * error_ns).sum())
    on_lane = np.zeros(len(lane), dtype=np.int64)
    on_lane[1:] = np.where(lane[1:] == lane[:-1], np.minimum(start[1:] - end[:-1], 0), 0)
    first = np.ones(len(lane), dtype=np.bool_)
    first[1:] = lane[1:] != lane[:-1]
    free = first & ~np.isin(np.arange(len(lane)), target)
    graph = Graph(lane, end - start, on_lane, np.where(free, start, NEVER), source, target, np.minimum(lag, room))
    return RunGraph(
        graph=graph,
        origin_ns=origin,
        rank=of["rank"],
        step=of["step"],
        kind=of["kind"],
        on_host=of["on_host"].astype(np.bool_),
        name=[drawn.name[place] for place in order.tolist()],
        start_ns=start,
        end_ns=end,
        delay_ns=start - graph.ready(end),
        operation=of["operation"],
        is_transfer=of["is_transfer"].astype(np.bool_),
        row=of["row"],
        steps=steps,
        ranks=ranks,
        edge_is_inferred=np.concatenate(drawn.inferred),
        is_wait=np.repeat([is_wait for is_wait, _ in drawn.flags], sizes),
        is_meeting=np.repeat([is_meeting for _, is_meeting in drawn.flags], sizes),
        contradicted=contradicted,
    )
