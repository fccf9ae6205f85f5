"""When a rank was ready for each operation of a Horovod timeline: by its own notes, by its own profiler, or as the coordinator heard of it."""

import dataclasses
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.intervals import Ints, Spans
from scaleprof.readers.horovod.fusion import Groups, latest_before, negotiated, tensors_of
from scaleprof.readers.horovod.issues import issues_in
from scaleprof.readers.horovod.timeline import Timeline
from scaleprof.run import RankFiles
from scaleprof.trace import UNKNOWN, Comm, Trace

CLOCK_NS = 100_000
"""A rank's notes and the timeline count from two readings of one clock: so much they may differ about what came first."""
NOTED, HEARD, ON_WIRE = range(3)
"""What says when an operation began on this rank: its recorder or profiler, the coordinator's ticks, or nothing."""
NEARLY_ALL = 0.9
"""Of the operations; the last ones may have been cut off."""
OF_HOROVOD = ":Horovod"
"""Between a tensor and the kind of its operation, in the names that TensorFlow's profiler has for them."""


@dataclass(frozen=True)
class Ready:
    """This rank's part in one operation of the timeline."""

    ready_ns: int = UNKNOWN
    """When its last tensor was handed over; UNKNOWN where nothing says that."""
    said_by: int = ON_WIRE
    done_ns: int = UNKNOWN
    """When it was over on this rank, where its own profiler says so."""
    rows: tuple[int, ...] = ()
    """Rows of this rank's own table of operations that it carried out."""
    group: str = ""
    takes_part: bool = True


def readiness(trace: Trace, files: RankFiles, timeline: Timeline, groups: Groups, *, ahead_ns: int = 0) -> list[Ready]:
    """One entry for each operation of the timeline, which is on this rank's clock; that one is `ahead_ns` ahead of rank 0's."""
    titles = titles_of(timeline)
    own = _noted(trace.comm, files, titles, groups.span.start - ahead_ns) or _profiled(trace, titles, groups)
    heard = heard_of(timeline, groups, titles, trace.rank)
    found = []
    for one, heard_ns in zip(own, heard, strict=True):
        if one.said_by == ON_WIRE and heard_ns != UNKNOWN:
            one = dataclasses.replace(one, ready_ns=heard_ns, said_by=HEARD)
        found.append(one)
    return found


def titles_of(timeline: Timeline) -> list[list[str]]:
    """The names of the tensors of each operation."""
    return [[timeline.tensors[tensor] for tensor in members] for members in tensors_of(timeline)]


def is_heard(timeline: Timeline, groups: Groups) -> bool:
    """Whether the coordinator says of nearly every negotiation and operation when it heard of each rank, as it does without a response cache."""
    ranks = np.unique(timeline.ticks.rank).tolist()
    wanted = NEARLY_ALL * len(timeline.negotiations) * len(ranks)
    if len(ranks) < 2 or not len(groups) or len(timeline.ticks.rank) < wanted:
        return False
    titles = titles_of(timeline)
    known = [np.array(heard_of(timeline, groups, titles, rank)) != UNKNOWN for rank in ranks]
    return bool(np.all(known, axis=0).mean() >= NEARLY_ALL)


def spans_on_rank(groups: Groups, ready_ns: Ints, done_ns: Ints) -> Spans:
    """From where each operation was ready on a rank and the wire was free, to its end: the rank's own where that is known, else on the wire."""
    begin, end = groups.wire.start, groups.wire.end
    before = np.maximum.accumulate(np.append(np.int64(-(2**62)), end))[:-1]
    end = np.where(done_ns == UNKNOWN, end, done_ns)
    start = np.maximum(np.where(ready_ns == UNKNOWN, begin, ready_ns), np.minimum(before, begin))
    start = np.minimum(start, begin)
    return Spans(start, np.maximum(end, start))


def _noted(comm: Comm, files: RankFiles, titles: Sequence[Sequence[str]], begins: Ints) -> list[Ready]:
    """From the notes of both ranks: rank 0's say the how manyth time of its tensors an operation is, this rank's when it had that one ready.

    Empty where this rank has none. `begins` are the operations' on the clock of rank 0.
    """
    mine = issues_in(files.folder) if files.folder is not None else None
    if mine is None or files.timeline is None or not len(mine):
        return []
    theirs = mine if files.rank == 0 else issues_in(files.timeline.parent)
    places = _places(comm, mine.time_ns)
    found = []
    for members, begin in zip(titles, begins.tolist(), strict=True):  # a loop over operations, few of all events
        numbers = [(title, theirs.latest(title, begin + CLOCK_NS)) for title in members]
        rows = [mine.row(title, nth) if nth is not None else None for title, nth in numbers]
        known = tuple(row for row in rows if row is not None)
        if not known:
            elsewhere = any(title in theirs.names for title in members) and not any(t in mine.names for t in members)
            found.append(Ready(takes_part=not elsewhere))  # of a process set without this rank
            continue
        whole = len(known) == len(rows)
        ready_ns = max(mine.time_ns[row] for row in known) if whole else UNKNOWN
        said_by = NOTED if whole else ON_WIRE
        of_comm = tuple(places[row] for row in known if row in places)
        found.append(Ready(ready_ns, said_by, rows=of_comm, group=mine.group[known[0]]))
    return found


def _places(comm: Comm, time_ns: Sequence[int]) -> dict[int, int]:
    """For each note its row in the rank's table of operations, in which others may stand between them; both keep the order of one time."""
    by_time: dict[int, list[int]] = {}
    for place, issued_ns in enumerate(comm.issued_ns.tolist()):
        if issued_ns != UNKNOWN:
            by_time.setdefault(issued_ns, []).append(place)
    waiting = {moment: iter(places) for moment, places in by_time.items()}
    found = {note: next(waiting.get(moment, iter(())), None) for note, moment in enumerate(time_ns)}
    return {note: place for note, place in found.items() if place is not None}


def _profiled(trace: Trace, titles: Sequence[Sequence[str]], groups: Groups) -> list[Ready]:
    """From this rank's own profiler, where it saw each tensor from being handed over to being done, under the timeline's name.

    A tensor is handed over before the operation begins on rank 0, and is done after that.
    """
    comm, events = trace.comm, trace.events
    seen: dict[str, list[tuple[int, int, int]]] = {}
    for place in np.flatnonzero(comm.row >= 0).tolist():
        row = comm.row[place]
        title, _, kind = trace.names.text[events.name[row]].rpartition(OF_HOROVOD)
        if title and kind:
            start = int(events.start_ns[row])
            seen.setdefault(title, []).append((start, start + int(events.dur_ns[row]), place))
    for spans in seen.values():
        spans.sort()
    found = []
    for members, begin in zip(titles, groups.span.start.tolist(), strict=True):
        met = []
        for title in members:
            spans = seen.get(title, [])
            place = bisect_right(spans, (begin + CLOCK_NS, 0, 0)) - 1
            if place >= 0 and spans[place][1] >= begin - CLOCK_NS:
                met.append(spans[place])
        rows = tuple(place for _, _, place in met)
        if met and len(met) == len(members):
            ready_ns, done_ns = max(start for start, _, _ in met), max(end for _, end, _ in met)
            found.append(Ready(ready_ns, NOTED, done_ns, rows))
        else:
            found.append(Ready(rows=rows))
    return found


def heard_of(timeline: Timeline, groups: Groups, titles: Sequence[Sequence[str]], rank: int) -> list[int]:
    """When the coordinator had heard of all tensors of an operation from this rank; UNKNOWN where it did not say so of each."""
    operations, ticks, negotiations = timeline.operations, timeline.ticks, timeline.negotiations
    agreed = negotiated(operations, negotiations)
    of = np.flatnonzero(ticks.rank == rank)
    within = latest_before(ticks.tensor[of], ticks.begun[of], negotiations.tensor, negotiations.begun)
    tick_ns = np.full(len(negotiations) + 1, UNKNOWN, dtype=np.int64)
    tick_ns[within[within >= 0]] = ticks.time_ns[of[within >= 0]]
    by_tensor = np.where(agreed >= 0, tick_ns[agreed], UNKNOWN)
    found = []
    for first, members in zip(groups.first.tolist(), titles, strict=True):
        times = by_tensor[first : first + len(members)]
        found.append(int(times.max()) if (times != UNKNOWN).all() else UNKNOWN)
    return found
