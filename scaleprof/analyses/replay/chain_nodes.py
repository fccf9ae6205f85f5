"""Nodes of the chain of one rank: what a part of it was, when, and what it waited for."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.trace import Trace

HOST_LANE = 0


class Doing(IntEnum):
    """What a node is."""

    HOST = 0
    """The host, at nothing that has a name of its own."""
    COMPUTE = 1
    COPY = 2
    OPERATION = 3
    """A collective or a transfer, waiting for others included."""
    WAIT = 4
    """The way back from a wait, or a wait for what nobody knows."""
    JOIN = 5
    """The end of an operation that is waited for; takes no time."""
    INPUT = 6
    GC = 7
    COMPILE = 8
    CHECKPOINT = 9
    ENCODE = 10
    """Compression of gradients before they are sent, or after."""
    SYNC_BATCH_NORM = 11
    """The host's own part of synchronised batch normalisation."""
    SYNC = 12
    """The way back from a synchronisation with the device."""
    LAUNCH = 13


@dataclass(frozen=True)
class Window:
    """Steps that follow one another, seen whole."""

    rows: Ints
    """In `Trace.steps`."""
    start_ns: int
    end_ns: int


@dataclass
class Nodes:
    """Columns of nodes, as they are put together."""

    lane: Ints
    step: Ints
    """Row in `Trace.steps`."""
    kind: Ints
    name: list[str]
    start_ns: Ints
    end_ns: Ints
    after: Ints
    """Another node that this one waits for, by row; -1 for none but the one before it on its lane."""
    lag_ns: Ints
    operation: Ints
    """Row in the fact on collectives, or -1."""
    is_inferred: NDArray[np.bool_]
    """That it waits for `after` was not recorded."""
    is_bound: NDArray[np.bool_]
    """The end of this operation was seen; else it is only known not to be later."""


def nodes_of(
    lane: int, step: Ints, kind: Ints, start_ns: Ints, end_ns: Ints, name: Sequence[str] | None = None
) -> Nodes:
    """Nodes of one lane that wait for nothing."""
    count = len(start_ns)
    none = np.full(count, -1, dtype=np.int64)
    return Nodes(
        lane=np.full(count, lane, dtype=np.int64),
        step=np.asarray(step, dtype=np.int64),
        kind=np.asarray(kind, dtype=np.int64),
        name=list(name) if name is not None else [""] * count,
        start_ns=start_ns,
        end_ns=end_ns,
        after=none,
        lag_ns=np.zeros(count, dtype=np.int64),
        operation=none.copy(),
        is_inferred=np.zeros(count, dtype=np.bool_),
        is_bound=np.ones(count, dtype=np.bool_),
    )


def step_at(trace: Trace, when: Ints) -> Ints:
    """The row of the step in which the host was at each time, the first one before all."""
    found: Ints = np.maximum(np.searchsorted(trace.steps.host_start_ns, when, side="right") - 1, 0)
    return found


def table_of(trace: Trace, parts: Sequence[Nodes]) -> Table:
    """Nodes of all lanes as a table."""

    def column(name: str) -> NDArray[np.int64]:
        return np.concatenate([getattr(part, name) for part in parts]) if parts else np.zeros(0, dtype=np.int64)

    return Table(
        {
            "lane": column("lane"),
            "step": trace.steps.index[column("step")],
            "kind": column("kind").astype(np.int8),
            "name": [name for part in parts for name in part.name],
            "start_ns": column("start_ns"),
            "dur_ns": column("end_ns") - column("start_ns"),
            "after": column("after"),
            "after_lag_ns": column("lag_ns"),
            "operation": column("operation"),
            "is_inferred": column("is_inferred").astype(np.bool_),
            "is_bound": column("is_bound").astype(np.bool_),
        }
    )
