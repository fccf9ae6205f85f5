"""Runs whose graphs are known: two ranks of a host job made by hand, and views of recorded runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scaleprof.align import RankFacts, RunView, align
from scaleprof.analyses import ANALYSES
from scaleprof.pipeline import facts_of_rank
from scaleprof.readers import find_runs
from scaleprof.run import RankInfo, RunInfo
from scaleprof.trace import Blocked, Kind, Trace
from tests.making import HOST, WORKER, Event, Made, Step, make_trace

MS = 1_000_000


def ranked(
    rank: int,
    events: Sequence[tuple[int, Kind, int, int]],
    *,
    issued: Sequence[int],
    waits: Sequence[tuple[int, int, str, int]],
    length: int,
    ranks: int = 2,
    bytes: Sequence[int] = (),
    op: str = "all_reduce",
) -> Trace:
    """One rank of a host job with a single step; times in ms. `events` are (lane, kind, start, duration), `issued` says when each operation was,
    `waits` are (start, end, where, row of the operation or -1)."""
    made = Made(
        events=[Event(lane, kind, start * MS, dur * MS) for lane, kind, start, dur in events],
        steps=[Step(0, length * MS)],
        info=RankInfo(rank=rank, world_size=ranks, host="one"),
    )
    trace = make_trace(made)
    blocked = Blocked(
        start_ns=np.array([start * MS for start, *_ in waits], dtype=np.int64),
        dur_ns=np.array([(end - start) * MS for start, end, *_ in waits], dtype=np.int64),
        what=tuple(where for _, _, where, _ in waits),
        op=("",) * len(waits),
        comm=np.array([row for *_, row in waits], dtype=np.int32),
    )
    comm = replace(
        trace.comm,
        issued_ns=np.array([at * MS for at in issued], dtype=np.int64),
        bytes=np.array(list(bytes) or [4_000_000] * len(issued), dtype=np.int64),
        op=(op,) * len(issued),
    )
    return replace(trace, comm=comm, blocked=blocked)


def late_rank(rank: int) -> Trace:
    """Two ranks compute 50 and 90 ms, reduce in 60 ms once both are there, compute 40 ms more, and rest 10 ms: a step of 200 ms."""
    first = (50, 90)[rank]
    events = [
        (HOST, Kind.COMPUTE, 0, first),
        (WORKER, Kind.COLLECTIVE, first, 150 - first),
        (HOST, Kind.COMPUTE, 150, 40),
    ]
    return ranked(rank, events, issued=[first], waits=[(first + 10, 150, "Work.wait", 0)], length=200)


def view_of(traces: Sequence[Trace], coordinates: Mapping[int, Mapping[str, int]] | None = None) -> RunView:
    """The run of these ranks, as the pipeline aligns it; they share a clock, since they are on one host."""
    facts = {}
    for trace in traces:
        own = dict((coordinates or {}).get(trace.rank, {}))
        trace = replace(trace, info=replace(trace.info, world_size=len(traces), coordinates=own))
        tables = {name: fact(trace) for one in ANALYSES for name, fact in one.needs.items()}
        facts[trace.rank] = RankFacts(trace.info, tables)
    return align(RunInfo(name="made", world_size=len(traces)), facts)


def recorded(folder: Path) -> RunView:
    """The view of a recorded run."""
    [run] = find_runs([folder], ())
    facts = {rank: facts_of_rank(files) for rank, files in run.ranks.items()}
    return align(run.info, {rank: one for rank, one in facts.items() if isinstance(one, RankFacts)})
