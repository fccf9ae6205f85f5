"""A Horovod timeline as spans: the text decoded, begins paired with their ends.

The file is a list of events; each tensor is a "process" of it. A tensor is negotiated (`NEGOTIATE_<OP>`, with a tick for every rank that
announced it), then the operation (`<OP>`) runs as a sequence of activities. These two stand outermost, so whatever is still open on a
tensor when the next one begins has lost its end; an end without a begin belongs to nothing (barriers and joins leave such). Everything
is in file order, which is the order of events; times only say how long.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scaleprof.errors import BrokenFile
from scaleprof.intervals import Ints
from scaleprof.readers.json_text.decimals import ns_of_us
from scaleprof.readers.json_text.text import pieces, tail_of
from scaleprof.readers.schema import Number, whole
from scaleprof.remote import AnyPath
from scaleprof.run import MOST_RANKS
from scaleprof.trace import UNKNOWN, Ids

NEGOTIATE = "NEGOTIATE_"
_OPERATIONS = ("ALLREDUCE", "ALLGATHER", "BROADCAST", "ALLTOALL", "REDUCESCATTER", "ADASUM", "JOIN", "BARRIER")
_BEGIN, _END, _READY, _MARK = range(4)
_PHASES = {"B": _BEGIN, "E": _END, "X": _READY, "i": _MARK}
_RANK = re.compile(r"[0-9]{1,7}")
_NOTHING = msgspec.Raw(b"")
_LATEST_NS = 2**62  # so that a start and a duration, too, add up within 64 bits
_TAIL_BYTES = 256


class _Arguments(msgspec.Struct, gc=False, frozen=True):
    name: Number = None
    dtype: Number = None
    shape: Number = None
    epoch_us: Number = msgspec.field(name="start_time_since_epoch_in_micros", default=None)


class _Event(msgspec.Struct, gc=False, frozen=True):
    ph: str
    name: str = ""
    ts: msgspec.Raw = _NOTHING
    pid: Number = None
    args: _Arguments | None = None


_ONE = msgspec.json.Decoder(_Event)
_MANY = msgspec.json.Decoder(list[_Event])


@dataclass(frozen=True)
class SpanTable:
    """Spans, as columns."""

    start_ns: Ints
    end_ns: Ints
    begun: Ints
    """The place of its begin among the events of the file."""
    ended: Ints
    """The place of its end; one past the last where the file has none."""
    name: Ids
    tensor: Ids
    said: Ids
    """What its end says of type and shape: row in `Timeline.outputs`, or -1."""
    open: NDArray[np.bool_]
    """Still open when the file ended; it is closed there."""

    def __len__(self) -> int:
        return len(self.start_ns)

    def rows(self, chosen: NDArray[np.bool_] | Ints) -> "SpanTable":
        """Chosen spans."""
        return SpanTable(**{column: values[chosen] for column, values in vars(self).items()})


@dataclass(frozen=True)
class Ticks:
    """When the coordinator heard from a rank that it has a tensor ready."""

    time_ns: Ints
    begun: Ints
    """The place in the file."""
    tensor: Ids
    rank: Ids


@dataclass(frozen=True)
class Timeline:
    """One file, one row per tensor: a fused operation stands here as often as it has tensors."""

    negotiations: SpanTable
    operations: SpanTable
    """In the order in which they begin."""
    activities: SpanTable
    """By operation, then in their order."""
    operation: Ints
    """For each activity, its row in `operations`."""
    ticks: Ticks
    marks_ns: Ints
    """Starts of the coordinator's cycles, where they were marked."""
    names: tuple[str, ...]
    tensors: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    """Distinct (dtype, shape)."""
    anchored: bool
    """Whether the file says when it started: times are unix times then, else they count from an origin nobody knows."""
    cut_off: bool
    counts: dict[str, int]
    """What was lost or stood alone."""


class _Ids(dict[Any, int]):
    """Numbers distinct things in the order in which they are first asked for."""

    def __missing__(self, key: Any) -> int:
        self[key] = len(self)
        return self[key]


class _Gathered:
    """The columns while they grow, one part per block of the file."""

    def __init__(self) -> None:
        self.names, self.tensors, self.outputs = _Ids(), _Ids(), _Ids()
        self.titles: dict[Any, str] = {}
        self.epoch_us: int | None = None
        self.parts: list[tuple[NDArray[Any], ...]] = []
        self.lost = 0

    def add(self, decoded: Sequence[_Event]) -> None:
        """The events of one block. The loops are over events because the decoder makes one object per event."""
        for event in decoded:
            if event.ph == "M" and event.name == "process_name" and event.args is not None:
                self._entitle(event.pid, event.args)
        events = [event for event in decoded if event.ph in _PHASES]
        time_ns, bad = ns_of_us([event.ts or b"?" for event in events])
        if bad.any():
            self.lost += int(bad.sum())
            events = [event for event, is_bad in zip(events, bad.tolist(), strict=True) if not is_bad]
            time_ns = time_ns[~bad]
        if not events:
            return
        count, names, tensors = len(events), self.names, self.tensors
        phase = np.fromiter((_PHASES[event.ph] for event in events), dtype=np.int8, count=count)
        name = np.fromiter((names[event.name] for event in events), dtype=np.int32, count=count)
        of_tensor = (tensors[event.pid] if event.ph != "i" else -1 for event in events)
        tensor = np.fromiter(of_tensor, dtype=np.int32, count=count)
        said = np.fromiter((self._said(event) for event in events), dtype=np.int32, count=count)
        self.parts.append((time_ns, phase, name, tensor, said))

    def _entitle(self, pid: Number, args: _Arguments) -> None:
        if args.name is not None:
            self.titles.setdefault(pid, str(args.name))
        if args.epoch_us is not None and self.epoch_us is None:
            epoch_us = whole(args.epoch_us)
            self.epoch_us = epoch_us if 0 <= epoch_us < _LATEST_NS // 1000 else None

    def _said(self, event: _Event) -> int:
        """The rank of a tick, the output of an operation's end."""
        if event.ph == "X":
            rank = int(event.name) if _RANK.fullmatch(event.name) else UNKNOWN
            return rank if rank < MOST_RANKS else UNKNOWN
        if event.ph == "E" and event.args is not None and event.args.shape is not None:
            return self.outputs[str(event.args.dtype or ""), str(event.args.shape)]
        return UNKNOWN


@dataclass(frozen=True)
class _Edges:
    """The events in file order."""

    time_ns: Ints
    phase: NDArray[np.int8]
    name: Ids
    tensor: Ids
    said: Ids


def read_timeline(path: AnyPath) -> Timeline:
    """The spans of a file. BrokenFile where it holds no operation and no negotiation."""
    gathered, unclosed = _Gathered(), False
    for piece in pieces(path, _MANY, _ONE):
        gathered.add(piece.events)
        gathered.lost += piece.lost
        unclosed = unclosed or piece.cut_off_at is not None
    if not gathered.parts:
        raise BrokenFile(path, "holds no event: the job ended before its first operation")
    edges = _Edges(*(np.concatenate(columns) for columns in zip(*gathered.parts, strict=True)))
    base_ns = (gathered.epoch_us or 0) * 1000
    if int(edges.time_ns.min()) + base_ns < 0 or int(edges.time_ns.max()) + base_ns >= _LATEST_NS:
        raise BrokenFile(path, "holds times that lie before 1970 or more than a century ahead")
    edges.time_ns[:] += base_ns
    # Up to release 0.19 the list was never closed: only an event that breaks off means that something is missing.
    cut_off = unclosed and not tail_of(path, _TAIL_BYTES).rstrip(b"\0 \r\n\t,").endswith((b"}", b"["))
    timeline = _understood(edges, gathered, cut_off=cut_off)
    if not len(timeline.operations) and not len(timeline.negotiations):
        raise BrokenFile(path, "holds no operation and no negotiation")
    return timeline


def moved(timeline: Timeline, by_ns: int) -> Timeline:
    """The same on a clock that is ahead by so much."""
    if not by_ns:
        return timeline

    def spans(table: SpanTable) -> SpanTable:
        return replace(table, start_ns=table.start_ns + by_ns, end_ns=table.end_ns + by_ns)

    return replace(
        timeline,
        negotiations=spans(timeline.negotiations),
        operations=spans(timeline.operations),
        activities=spans(timeline.activities),
        ticks=replace(timeline.ticks, time_ns=timeline.ticks.time_ns + by_ns),
        marks_ns=timeline.marks_ns + by_ns,
    )


def _understood(edges: _Edges, gathered: _Gathered, *, cut_off: bool) -> Timeline:
    names = tuple(gathered.names)
    spans, outermost, orphans, unended = _paired(edges, names)
    alone = outermost == np.arange(len(spans))
    negotiating = np.array([name.startswith(NEGOTIATE) for name in names], dtype=np.bool_)[spans.name]
    chosen = np.flatnonzero(alone & ~negotiating)
    chosen = chosen[np.argsort(spans.begun[chosen], kind="stable")]
    operation = np.full(len(spans) + 1, -1, dtype=np.int64)
    operation[chosen] = np.arange(len(chosen))
    inner = np.flatnonzero(~alone & (operation[outermost] >= 0))
    inner = inner[np.lexsort((spans.begun[inner], operation[outermost[inner]]))]
    heard = np.flatnonzero((edges.phase == _READY) & (edges.said >= 0))
    return Timeline(
        negotiations=spans.rows(alone & negotiating),
        operations=spans.rows(chosen),
        activities=spans.rows(inner),
        operation=operation[outermost[inner]],
        ticks=Ticks(edges.time_ns[heard], heard, edges.tensor[heard], edges.said[heard]),
        marks_ns=edges.time_ns[edges.phase == _MARK],
        names=names,
        tensors=tuple(gathered.titles.get(pid, f"tensor {pid}") for pid in gathered.tensors),
        outputs=tuple(gathered.outputs),
        anchored=gathered.epoch_us is not None,
        cut_off=cut_off,
        counts={
            "events_lost": gathered.lost,
            "ends_without_begin": orphans,
            "begins_without_end": unended,
            "activities_without_operation": int((~alone & (operation[outermost] < 0)).sum()),
        },
    )


def _paired(edges: _Edges, names: Sequence[str]) -> tuple[SpanTable, Ints, int, int]:
    """All spans, tensor by tensor; the outermost span that each lies in (or -1); how many ends had no begin, and begins in the middle no end."""
    outer = np.array([name.startswith(NEGOTIATE) or name in _OPERATIONS for name in names], dtype=np.bool_)
    rows = np.flatnonzero((edges.phase == _BEGIN) | (edges.phase == _END))
    rows = rows[np.argsort(edges.tensor[rows], kind="stable")]
    begins = edges.phase[rows] == _BEGIN
    another = np.diff(edges.tensor[rows], prepend=-1) != 0
    opens = begins & outer[edges.name[rows]]
    segment = np.cumsum(another | opens) - 1
    starts = np.flatnonzero(another | opens)
    level, orphan = _levels(begins, segment, starts)
    kept = np.flatnonzero(~orphan)
    kept = kept[np.lexsort((kept, level[kept], segment[kept]))]
    at = np.flatnonzero(begins[kept])
    after = np.minimum(at + 1, len(kept) - 1)
    has_end = (
        ~begins[kept[after]] & (level[kept[at]] == level[kept[after]]) & (segment[kept[at]] == segment[kept[after]])
    )
    begin, end = rows[kept[at]], rows[kept[after]]
    where, depth = segment[kept[at]], level[kept[at]]
    # An end that is lost stands where the tensor's next outermost span begins; at the end of the file the span is open.
    following = np.append(starts, len(rows))[where + 1]
    next_row = rows[np.minimum(following, len(rows) - 1)]
    goes_on = (following < len(rows)) & (edges.tensor[next_row] == edges.tensor[begin])
    ended = np.where(has_end, end, np.where(goes_on, next_row, len(edges.time_ns)))
    last_ns = int(edges.time_ns.max())
    end_ns = np.where(has_end | goes_on, edges.time_ns[np.minimum(ended, len(edges.time_ns) - 1)], last_ns)
    spans = SpanTable(
        start_ns=edges.time_ns[begin],
        end_ns=np.maximum(end_ns, edges.time_ns[begin]),
        begun=begin,
        ended=ended,
        name=edges.name[begin],
        tensor=edges.tensor[begin],
        said=np.where(has_end, edges.said[end], UNKNOWN).astype(np.int32),
        open=~has_end & ~goes_on,
    )
    is_outer = outer[spans.name] & (depth == 1)
    outer_of_segment = np.full(len(starts) + 1, -1, dtype=np.int64)
    outer_of_segment[where[is_outer]] = np.flatnonzero(is_outer)
    first = np.where(is_outer | (depth > 1), outer_of_segment[where], -1)
    return spans, first, int(orphan.sum()), int((~has_end & goes_on).sum())


def _levels(begins: NDArray[np.bool_], segment: Ints, starts: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """How deep each begin and end is nested within its segment (from 1), and which ends close nothing."""
    height = np.cumsum(np.where(begins, 1, -1))
    height -= np.append(0, height)[starts][segment]
    # The lowest height so far in each segment: lifting every earlier segment above all later ones lets one running minimum serve all.
    lift = segment * (2 * len(begins) + 2)
    floor = np.minimum(np.minimum.accumulate(height - lift) + lift, 0)
    before = np.append(0, floor[:-1])
    before[starts] = 0
    orphan = ~begins & (floor < before)
    depth = height - floor
    return np.where(begins, depth, depth + 1), orphan
