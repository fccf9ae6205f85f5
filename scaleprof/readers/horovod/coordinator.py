"""What a Horovod timeline adds to the trace of a rank: the operations of the job, each fused one once, as communication of this rank.

Rank 0 alone writes a timeline, on the clock of its host. When an operation ended is the same for all ranks, since none can leave it earlier; when it
began for a rank is when that rank had handed over its last tensor, and the operation before it had left the wire, which Horovod gives to one at a
time. The recorder of each rank wrote down the first; without it the coordinator's ticks say so, which the response cache hides. Where neither does,
an operation has its time on the wire, and nobody can tell for whom it waited.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scaleprof.errors import BrokenFile
from scaleprof.intervals import Ints, Spans
from scaleprof.readers.horovod.caveats import about_the_end
from scaleprof.readers.horovod.fusion import Groups, groups_of, tensors_of
from scaleprof.readers.horovod.readiness import HEARD, OF_HOROVOD, ON_WIRE, Ready, readiness, spans_on_rank
from scaleprof.readers.horovod.timeline import Timeline, moved, read_timeline
from scaleprof.readers.recorded.waits import attributed
from scaleprof.readers.windows import step_at
from scaleprof.remote import AnyPath
from scaleprof.run import RANK_FILE, ProcessGroup, RankFiles, read_rank_info
from scaleprof.trace import UNKNOWN, Comm, Events, Kind, Trace

GROUP = "horovod"
CATEGORY = "horovod"
LANE = "horovod operations"
_OWN = ".scaleprof."
"""In the name of a tensor of the recorder's own."""


def with_timeline(trace: Trace, files: RankFiles) -> Trace:
    """The trace with the timeline's operations as its communication. Where they cannot be, it says why."""
    assert files.timeline is not None
    try:
        ahead_ns = _ahead_ns(trace, files.timeline)
        timeline = read_timeline(files.timeline)
    except BrokenFile as error:
        return _with_caveat(trace, f"{files.timeline.name} was left out: {error.path.name} {error.reason}")
    if (reason := _why_not(trace, files, timeline, ahead_ns)) is not None:
        return _with_caveat(trace, f"{files.timeline.name} {reason}")
    return _joined(trace, files, moved(timeline, ahead_ns or 0), ahead_ns or 0)


def _with_caveat(trace: Trace, caveat: str) -> Trace:
    return dataclasses.replace(trace, caveats=(*trace.caveats, caveat))


def _why_not(trace: Trace, files: RankFiles, timeline: Timeline, ahead_ns: int | None) -> str | None:
    """Why the timeline cannot be read into this trace; None where it can."""
    ran = trace.comm.row[trace.comm.row >= 0]
    names = {trace.names.text[name] for name in trace.events.name[ran].tolist()}
    theirs = not all(OF_HOROVOD in name for name in names)
    if theirs and (trace.has_device or files.folder is None):
        return "was left aside: this rank's own trace has the operations with their times"
    unplaced = "so that its operations cannot be placed in this rank's time"
    if not timeline.anchored:
        return f"does not say when it started, {unplaced}"
    if ahead_ns is None:
        return f"has the clock of another host, which nobody compared with this one's, {unplaced}"
    return None


def _joined(trace: Trace, files: RankFiles, timeline: Timeline, ahead_ns: int) -> Trace:
    assert files.timeline is not None
    groups = groups_of(timeline)
    ready = readiness(trace, files, timeline, groups, ahead_ns=ahead_ns)
    rows = [
        number
        for number, members in enumerate(tensors_of(timeline))
        if ready[number].takes_part and not any(_OWN in timeline.tensors[one] for one in members)
    ]
    chosen = np.array(rows, dtype=np.int64)
    parts = [ready[row] for row in rows]
    times = [np.array([getattr(one, name) for one in ready], dtype=np.int64) for name in ("ready_ns", "done_ns")]
    every = spans_on_rank(groups, *times)
    spans = Spans(every.start[chosen], every.end[chosen])
    placed, place_of = _with_events(trace, groups, chosen, spans)
    placed = _without(placed, np.array([row for part in parts for row in part.rows], dtype=np.int64))
    comm = _comm(placed, groups, parts, chosen, spans, place_of)
    ranks = max(trace.info.world_size, int(timeline.ticks.rank.max(initial=0)) + 1)
    stated = trace.info.process_groups or (ProcessGroup(GROUP, tuple(range(ranks)), "all ranks", _backend(groups)),)
    info = dataclasses.replace(
        trace.info,
        world_size=ranks,
        process_groups=stated,
        backend=trace.info.backend or _backend(groups) or None,
        framework=trace.info.framework if trace.info.framework not in (None, "pytorch") else "horovod",
    )
    said = _caveats(timeline, parts, files.timeline, trace.rank)
    joined = dataclasses.replace(placed, info=info, comm=comm, caveats=(*trace.caveats, *said))
    return dataclasses.replace(joined, blocked=attributed(joined.blocked, joined.events, joined.comm))


def _ahead_ns(trace: Trace, timeline: AnyPath) -> int | None:
    """By how much this rank's clock is ahead of the timeline's, in ns; None where they stand on two hosts and nobody compared them.

    Traces that other tools wrote name no host: that they ran at the same time is why they are read together.
    """
    record = timeline.parent / RANK_FILE
    if trace.rank == 0 or not record.exists():
        return 0
    theirs, mine = read_rank_info(record), trace.info
    if theirs.clock is not None and mine.clock is not None:
        if theirs.clock.id == mine.clock.id:
            return 0
        offsets = mine.clock.offsets
        return sum(offset.offset_ns for offset in offsets) // len(offsets) if offsets else None
    return 0 if theirs.host == mine.host else None


def _with_events(trace: Trace, groups: Groups, rows: Ints, spans: Spans) -> tuple[Trace, Ints]:
    """The trace with one event per operation on a lane of its own, and the row of each."""
    texts = [groups.wire_name[row] for row in rows.tolist()]
    known = {text: number + len(trace.names.text) for number, text in enumerate(dict.fromkeys(texts))}
    added = len(known)
    names = dataclasses.replace(
        trace.names,
        text=(*trace.names.text, *known),
        category=(*trace.names.category, *([CATEGORY] * added)),
        kind=np.append(trace.names.kind, np.full(added, Kind.COLLECTIVE, dtype=np.uint8)),
        by_rule=np.append(trace.names.by_rule, np.ones(added, dtype=np.bool_)),
    )
    lanes = dataclasses.replace(
        trace.lanes,
        device=np.append(trace.lanes.device, np.int32(-1)),
        stream=np.append(trace.lanes.stream, np.int64(-1)),
        label=(*trace.lanes.label, LANE),
    )
    events, count = trace.events, len(rows)
    start = np.concatenate((events.start_ns, spans.start))
    order = np.argsort(start, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    moved = np.append(place, -1)
    link = np.concatenate((np.where(events.link >= 0, moved[events.link], -1), np.full(count, -1)))
    step = np.concatenate((events.step, step_at(spans.start, trace.steps.windows)))
    name = np.array([known[text] for text in texts], dtype=np.int32)
    merged = Events(
        start_ns=start[order],
        dur_ns=np.concatenate((events.dur_ns, spans.end - spans.start))[order],
        name=np.concatenate((events.name, name))[order].astype(np.int32),
        lane=np.concatenate((events.lane, np.full(count, len(trace.lanes.label))))[order].astype(np.int32),
        step=step[order].astype(np.int32),
        link=link[order].astype(np.int32),
    )
    joined = dataclasses.replace(
        trace,
        names=names,
        lanes=lanes,
        events=merged,
        comm=dataclasses.replace(trace.comm, row=moved[trace.comm.row].astype(np.int32)),
        copies=dataclasses.replace(trace.copies, row=moved[trace.copies.row].astype(np.int32)),
        operations=dataclasses.replace(trace.operations, row=moved[trace.operations.row].astype(np.int32)),
    )
    return joined, place[len(events) :]


def _without(trace: Trace, carried: Ints) -> Trace:
    """The trace, in which the spans of single tensors stand aside where all of their name are part of an operation of the timeline."""
    ran = np.flatnonzero(trace.comm.row >= 0)
    left, gone = np.setdiff1d(ran, carried), np.intersect1d(ran, carried)
    name = trace.events.name
    aside = np.setdiff1d(name[trace.comm.row[gone]], name[trace.comm.row[left]])
    kind = trace.names.kind.copy()
    kind[aside] = Kind.OTHER
    return dataclasses.replace(trace, names=dataclasses.replace(trace.names, kind=kind))


def _comm(trace: Trace, groups: Groups, parts: Sequence[Ready], rows: Ints, spans: Spans, place: Ints) -> Comm:
    """The operations of the timeline, and what this rank issued that is in none of them; numbered as the coordinator ordered them.

    An operation of which nothing says when it was ready here has no row: its time on the wire is no time of this rank's.
    """
    carried = np.array([row for part in parts for row in part.rows], dtype=np.int64)
    before, number = trace.comm, rows.tolist()
    left = np.setdiff1d(np.arange(len(before.row)), carried)
    told = np.array([part.said_by != ON_WIRE for part in parts], dtype=np.bool_)
    ready = np.array([part.ready_ns for part in parts], dtype=np.int64)
    issued = np.where(told, ready, spans.start)
    when = np.concatenate((before.issued_ns[left], issued))
    order = np.argsort(when, kind="stable").tolist()

    def texts(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
        both = [*(first[one] for one in left.tolist()), *second]
        return tuple(both[one] for one in order)

    def numbers(first: NDArray[np.int64] | NDArray[np.int32], second: Ints) -> Ints:
        both: Ints = np.concatenate((first[left], second))[order].astype(np.int64)
        return both

    return Comm(
        row=numbers(before.row, np.where(told, place, -1)).astype(np.int32),
        issued_ns=numbers(before.issued_ns, issued),
        op=texts(before.op, [groups.op[one] for one in number]),
        bytes=numbers(before.bytes, _bytes(groups.bytes[rows], before, parts)),
        dtype=texts(before.dtype, [groups.dtype[one] for one in number]),
        group=texts(before.group, [part.group or GROUP for part in parts]),
        seq=numbers(before.seq, rows),
        peer=numbers(before.peer, np.full(len(rows), UNKNOWN)).astype(np.int32),
    )


def _bytes(said: Ints, issued: Comm, parts: Sequence[Ready]) -> Ints:
    """The sizes that the timeline says; where it does not, as of broadcasts on their root, those of the tensors that this rank handed over."""
    bytes = said.copy()
    for place in np.flatnonzero(said == UNKNOWN).tolist():
        own = issued.bytes[np.array(parts[place].rows, dtype=np.int64)]
        if len(own) and (own != UNKNOWN).all():
            bytes[place] = int(own.sum())
    return bytes


def _backend(groups: Groups) -> str:
    """What carries most of the operations out."""
    found: dict[str, int] = {}
    for name in groups.wire_name:
        backend = name.split("_")[0].lower()
        if backend in ("gloo", "nccl", "mpi", "ccl") and name != "MPI_ALLTOALL":  # so gloo's all-to-all is written
            found[backend] = found.get(backend, 0) + 1
    return max(found, key=lambda backend: found[backend], default="")


def _caveats(timeline: Timeline, parts: Sequence[Ready], path: AnyPath, rank: int) -> list[str]:
    by = Counter(part.said_by for part in parts)
    heard, untold = by[HEARD], by[ON_WIRE]
    own_ends = all(part.done_ns != UNKNOWN for part in parts if part.said_by != ON_WIRE)
    ends = "" if own_ends and by[ON_WIRE] < len(parts) else ": when each ended here is when it ended there"
    said = [f"the operations are those of {path.name}, seen by rank 0{ends}"]
    if heard:
        said.append(
            f"when {heard:,} of {len(parts):,} operations began on this rank is when the coordinator heard of it, exact to a few of its cycles"
        )
    if untold:
        said.append(
            f"when {untold:,} of {len(parts):,} operations began on this rank nobody wrote down: their time is that on the wire, and how long ranks "
            "waited for one another in them is not known"
        )
    if rank == 0:
        said += about_the_end(timeline)
    return said
