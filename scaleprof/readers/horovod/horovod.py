"""Horovod timelines to Traces: what the coordinator, rank 0, saw of the communication.

A fused operation becomes one event per activity, whatever number of tensors it carried. Negotiations and the ticks of ranks stand on one lane
per tensor, operations on a lane of their own. There is no compute in the file, and of steps only the rounds in which the same tensors come
again: these count as not profiled, so that no account is made of them.

Without a response cache the coordinator says of every operation when it heard of each rank. Then each of them has a Trace of its own: its part in
the operations, from when it was heard to their end.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.clock import HostClock
from scaleprof.errors import BrokenFile, InputError
from scaleprof.intervals import EMPTY, Ints, Spans
from scaleprof.readers.base import FileFacts
from scaleprof.readers.comm import op_of
from scaleprof.readers.families import is_own
from scaleprof.readers.horovod.caveats import caveats_of
from scaleprof.readers.horovod.fusion import WIRE, Groups, groups_of, latest_before
from scaleprof.readers.horovod.readiness import heard_of, is_heard, spans_on_rank, titles_of
from scaleprof.readers.horovod.timeline import NEGOTIATE, Timeline, read_timeline
from scaleprof.readers.json_text.text import head_of
from scaleprof.readers.windows import step_at, steps_of
from scaleprof.remote import AnyPath
from scaleprof.results import Table
from scaleprof.run import MOST_RANKS, ProcessGroup, RankFiles, RankInfo
from scaleprof.trace import UNKNOWN, Comm, Copies, Events, Ids, Kind, Lanes, Names, Samples, Steps, Trace

_HEAD_BYTES = 1 << 20
GROUP = "horovod"
_SIGNS = re.compile(rb'"start_time_since_epoch_in_micros"\s*:|"name"\s*:\s*"NEGOTIATE_[A-Z]+"')
_TIME = re.compile(rb'"ts"\s*:')
_TICK = re.compile(rb'"ph"\s*:\s*"X"\s*,\s*"name"\s*:\s*"([0-9]{1,7})"')
_NEGOTIATION, _READY, _OPERATION, _COLLECTIVE, _ACTIVITY, _MARK = (
    "negotiation", "ready", "operation", "collective", "activity", "mark",
)  # fmt: skip
_KIND_OF_CATEGORY = {_COLLECTIVE: Kind.COLLECTIVE, _OPERATION: Kind.PHASE}
_KINDS_OF_ACTIVITIES = (
    (re.compile(r"(MEMCPY|COPY)_"), Kind.COPY),
    (re.compile(r"ALLOCATE_|INIT_FUSION_BUFFER"), Kind.ALLOC),
    (re.compile(r"QUEUE$|WAIT_FOR_|INIT_"), Kind.OTHER),
)
"""Waiting here is the coordinator's: no calling thread is blocked in it."""


def facts_of(path: AnyPath) -> FileFacts | None:
    """What the head of the file says; None if it is no Horovod timeline, BrokenFile if it is one without any event.

    The rank is left out, though it is always rank 0 that writes: a timeline is a run of its own, and what another tool wrote of rank 0 in the
    same folder is no second window of it. The world size is the number of ranks that announced tensors.
    """
    head = head_of(path, _HEAD_BYTES)
    if head.lstrip()[:1] != b"[" or not _SIGNS.search(head):
        return None
    if len(head) < _HEAD_BYTES and not _TIME.search(head):
        raise BrokenFile(path, "is a Horovod timeline without any event: the job ended before its first operation")
    ranks = [rank for found in _TICK.finditer(head) if (rank := int(found[1])) < MOST_RANKS]
    return FileFacts(path, world_size=max(ranks) + 1 if ranks else None)


def read_horovod(files: RankFiles, own: Sequence[str] = ()) -> Trace:
    """A rank's Trace from the coordinator's timeline; activities that one of the user's patterns fits communicate."""
    timeline = read_timeline(files.traces[0])
    groups = groups_of(timeline)
    steps, source = _steps(timeline, groups)
    ready_ns = _ready_ns(timeline, groups, files.rank)
    names, events, group = _events(timeline, groups, steps, own, ready_ns=ready_ns, of_rank_0=files.rank == 0)
    comm = _comm(groups, _rows_of(names, events, _COLLECTIVE), group, ready_ns)
    copies = np.flatnonzero((names.kind == Kind.COPY)[events.name])
    left_out = [f"{path.name} was left out: a run has one timeline" for path in files.traces[1:]]
    return Trace(
        info=_rank_info(files, timeline, heard=ready_ns is not None),
        names=names,
        lanes=Lanes(
            device=np.full(len(timeline.tensors) + 1, -1, dtype=np.int32),
            stream=np.arange(len(timeline.tensors) + 1, dtype=np.int64),
            label=("operations", *timeline.tensors),
        ),
        events=events,
        comm=comm,
        copies=Copies(
            row=copies.astype(np.int32),
            direction=("",) * len(copies),
            pageable=np.zeros(len(copies), dtype=np.bool_),
            bytes=groups.bytes[group[copies]],
        ),
        steps=steps,
        samples=Samples(np.zeros(0, dtype=np.int64), {}),
        waits=EMPTY,
        caveats=(*left_out, *_caveats(timeline, groups, files, heard=ready_ns is not None)),
        step_source=source,
        extra={name: count for name, count in timeline.counts.items() if count},
    )


def _ready_ns(timeline: Timeline, groups: Groups, rank: int) -> Ints | None:
    """When the coordinator had heard of this rank, for each operation; None where it does not say so of nearly all, which leaves rank 0 alone."""
    if not is_heard(timeline, groups):
        if rank:
            raise InputError(f"rank {rank}: the timeline of rank 0 does not say when it was ready for the operations")
        return None
    return np.array(heard_of(timeline, groups, titles_of(timeline), rank), dtype=np.int64)


def _caveats(timeline: Timeline, groups: Groups, files: RankFiles, *, heard: bool) -> Iterator[str]:
    if files.rank == 0:
        yield from caveats_of(timeline, groups, files.traces[0])
    if heard:
        yield (
            f"when each operation began is when the coordinator heard of this rank, exact to a few of its cycles; when it ended is what rank 0 saw: "
            f"{files.traces[0].name} holds nothing else of the ranks"
        )


def rank_lags(trace: Trace) -> Table:
    """Who comes last. One row per operation and rank: the `negotiations` in which every rank was heard, in how many of them it was `last`,
    and its `mean_lag_ns` behind the first rank.

    A rank is heard when the coordinator's cycle processes what it said, so lags are exact to a few cycles. Empty where only one rank was heard.
    """
    names, events = trace.names, trace.events
    ticks, negotiations = _rows_of(names, events, _READY), _rows_of(names, events, _NEGOTIATION)
    within = latest_before(events.lane[ticks], ticks, events.lane[negotiations], negotiations)
    order = np.argsort(within, kind="stable")
    ticks, within = ticks[order], within[order]
    rank = [int(names.text[name]) for name in events.name[ticks].tolist()]
    everyone = len(set(rank))
    found: dict[tuple[str, int], list[int]] = {}
    edges = np.flatnonzero(np.diff(within, prepend=-1, append=-1)).tolist()
    for start, end in pairwise(edges):  # a loop over negotiations, few of all events
        heard = dict(zip(rank[start:end], events.start_ns[ticks[start:end]].tolist(), strict=True))
        if len(heard) < max(everyone, 2):
            continue
        op = op_of(names.text[events.name[negotiations[within[start]]]].removeprefix(NEGOTIATE))
        first_ns, last = min(heard.values()), next(reversed(heard))
        for one, time_ns in heard.items():
            entry = found.setdefault((op, one), [0, 0, 0])
            entry[0] += 1
            entry[1] += int(one == last)
            entry[2] += time_ns - first_ns
    rows = [[op, one, count, last, lag_ns / count] for (op, one), (count, last, lag_ns) in sorted(found.items())]
    return Table.of_rows(("op", "rank", "negotiations", "last", "mean_lag_ns"), rows)


def _rows_of(names: Names, events: Events, category: str) -> Ints:
    """The rows of a category, in order of time."""
    chosen = np.array([one == category for one in names.category], dtype=np.bool_)
    return np.flatnonzero(chosen[events.name])


def _rank_info(files: RankFiles, timeline: Timeline, *, heard: bool) -> RankInfo:
    used = Counter(timeline.names[name] for name in timeline.activities.name.tolist())
    for name in list(used):
        # With gloo, all-to-all is written as MPI_ALLTOALL.
        if not WIRE.fullmatch(name) or name == "MPI_ALLTOALL":
            del used[name]
    backend = used.most_common(1)[0][0].split("_")[0].lower() if used else None
    ranks = max(int(timeline.ticks.rank.max(initial=0)), files.rank) + 1
    return RankInfo(
        rank=files.rank,
        world_size=ranks,
        process_groups=(ProcessGroup(GROUP, tuple(range(ranks)), "all ranks"),) if heard else (),
        clock=HostClock(GROUP, GROUP) if heard else None,  # every time is one of the coordinator's
        device="cuda" if backend == "nccl" else None,
        backend=backend,
        framework="horovod",
    )


def _steps(timeline: Timeline, groups: Groups) -> tuple[Steps, str]:
    """The rounds as steps, else the whole trace as one. Where the last one would have ended the file does not say."""
    windows, source = groups.rounds, "rounds"
    if not len(windows.start):
        source = "whole trace"
        every = (timeline.operations, timeline.negotiations)
        start = np.concatenate([spans.start_ns for spans in every]).min(keepdims=True)
        windows = Spans(start, np.concatenate([spans.end_ns for spans in every]).max(keepdims=True))
    count = len(windows.start)
    steps = steps_of(np.arange(count), windows, windows)
    last = np.arange(count) == count - 1
    return dataclasses.replace(steps, profiled=np.zeros(count, dtype=np.bool_), perturbed=last), source


@dataclass(frozen=True)
class _Part:
    """Rows of one category."""

    category: str
    text: Callable[[int], str]
    """The name of a row, from its `which`."""
    which: NDArray[Any]
    spans: Spans
    step: Ids | Ints
    lane: Ids | int = 0
    group: Ints | int = -1


def _events(
    timeline: Timeline, groups: Groups, steps: Steps, own: Sequence[str], *, ready_ns: Ints | None, of_rank_0: bool
) -> tuple[Names, Events, Ints]:
    """The event table, and for each row its group or -1. Of other ranks than the coordinator only their part in the operations is known."""
    announced, ticks, marks_ns = timeline.negotiations, timeline.ticks, timeline.marks_ns
    name_of, number = timeline.names.__getitem__, np.arange(len(groups))
    step = groups.round if len(groups.rounds.start) else np.zeros(len(groups), dtype=np.int64)
    negotiations, heard, marks = (
        Spans(announced.start_ns, announced.end_ns),
        Spans(ticks.time_ns, ticks.time_ns),
        Spans(marks_ns, marks_ns),
    )
    begun = [step_at(spans.start, steps.windows) for spans in (negotiations, heard, marks)]
    on_wire = np.array([WIRE.fullmatch(name) is not None for name in timeline.names], dtype=np.bool_)
    other = np.flatnonzero(~on_wire[groups.activity_name])
    aside, group = Spans(groups.activities.start[other], groups.activities.end[other]), groups.activity_group[other]
    wire = groups.wire if ready_ns is None else spans_on_rank(groups, ready_ns, np.full(len(groups), UNKNOWN))
    parts = [
        _Part(_COLLECTIVE, groups.wire_name.__getitem__, number, wire, step, group=number),
        _Part(_NEGOTIATION, name_of, announced.name, negotiations, begun[0], announced.tensor + 1),
        _Part(_READY, str, ticks.rank, heard, begun[1], ticks.tensor + 1),
        _Part(_MARK, lambda _: "CYCLE_START", np.zeros(len(marks_ns), dtype=np.int64), marks, begun[2]),
        _Part(_OPERATION, groups.name.__getitem__, number, groups.span, step, group=number),
        _Part(_ACTIVITY, name_of, groups.activity_name[other], aside, step[group], group=group),
    ]
    return _table(parts if of_rank_0 else parts[:1], own)


def _table(parts: Sequence[_Part], own: Sequence[str]) -> tuple[Names, Events, Ints]:
    """All parts in order of time; at the same time a negotiation stands before its ticks."""
    names: dict[tuple[str, str], int] = {}
    name = []
    for part in parts:
        used, inverse = np.unique(part.which, return_inverse=True)
        ids = [names.setdefault((part.category, part.text(one)), len(names)) for one in used.tolist()]
        name.append(np.array(ids, dtype=np.int32)[inverse])
    start = np.concatenate([part.spans.start for part in parts])
    end = np.concatenate([part.spans.end for part in parts])
    order = np.argsort(start, kind="stable")
    step, lane, group = (
        np.concatenate([np.broadcast_to(getattr(part, column), len(part.which)) for part in parts])[order]
        for column in ("step", "lane", "group")
    )
    kinds = [_kind(category, text, own) for category, text in names]
    return (
        Names(
            text=tuple(text for _, text in names),
            category=tuple(category for category, _ in names),
            kind=np.array([kind for kind, _ in kinds], dtype=np.uint8),
            by_rule=np.array([by_rule for _, by_rule in kinds], dtype=np.bool_),
        ),
        Events(
            start_ns=start[order],
            dur_ns=(end - start)[order],
            name=np.concatenate(name)[order],
            lane=lane.astype(np.int32),
            step=step.astype(np.int32),
            link=np.full(len(order), -1, dtype=np.int32),
        ),
        group,
    )


def _kind(category: str, text: str, own: Sequence[str]) -> tuple[Kind, bool]:
    """What events of this name are, and whether a rule said so."""
    if category == _ACTIVITY and is_own(text, own):
        return Kind.COLLECTIVE, True
    if category == _ACTIVITY:
        found = [kind for pattern, kind in _KINDS_OF_ACTIVITIES if pattern.match(text)]
        return (found[0], True) if found else (Kind.OTHER, False)
    return _KIND_OF_CATEGORY.get(category, Kind.OTHER), True


def _comm(groups: Groups, rows: Ints, group: Ints, ready_ns: Ints | None) -> Comm:
    """One row per operation, in the order in which they began; who issued it when is in the file only where the coordinator heard of each rank.

    An operation of which that is not said has no time then: that on the wire is not comparable with the others.
    """
    named = ready_ns is not None
    row = np.zeros(len(groups), dtype=np.int32)
    row[group[rows]] = rows
    if ready_ns is not None:
        row[ready_ns == UNKNOWN] = -1
    unknown = np.full(len(groups), UNKNOWN, dtype=np.int64)
    return Comm(
        row=row,
        issued_ns=unknown if ready_ns is None else np.where(ready_ns == UNKNOWN, groups.wire.start, ready_ns),
        op=groups.op,
        bytes=groups.bytes,
        dtype=groups.dtype,
        group=((GROUP if named else ""),) * len(groups),
        seq=np.arange(len(groups)) if named else unknown,
        peer=unknown.astype(np.int32),
    )
