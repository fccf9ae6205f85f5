"""What the threads of a host do at any time, told by cause and by name: what idle time is laid over (`method` 1.4 and 1.6).

Of what covers a moment the first counts that explains most: spans that say what the host is at (garbage collection, checkpoint, compilation, input),
then calls that block or allocate, then communication on the host, then any operator or call. What covers nothing is a hole. A hole of the thread that
matters is filled by the other threads that launch work: the backward pass has a thread of its own, and the main thread waits for it without an event.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from scaleprof.analyses.account.loading import loading
from scaleprof.intervals import Ints, Spans, covered, union
from scaleprof.trace import Kind, Names, Trace

FAR = 1 << 61
"""Later than any time, and of which the difference to its negative is still an int64."""
NOBODY = -1
"""In place of a row of `Names`: nothing that has a name."""
BETWEEN_CALLS_NS = 100_000
"""A hole no longer than this, between two events of the launching threads, is the interpreter on its way from one call to the next."""
MOST_LANES = 8
"""Threads that are asked what they do; those that launch least are left out."""


class Cause(IntEnum):
    """Why nothing ran, in the finest division."""

    INPUT = 0
    """Waiting for the next batch."""
    SYNC = 1
    """In a call that waits for the device."""
    AFTER_SYNC = 2
    """Handing out work again, or doing what nothing was recorded of, after a call that let the device run dry."""
    ALLOC = 3
    COMPILE = 4
    """Loading modules, or compiling."""
    GC = 5
    CHECKPOINT = 6
    HOST_COMM = 7
    """Communication on the host: gloo, a store, MPI; on CPU runs also handing an operation to it."""
    SCHED = 8
    """The activity that ends the gap was launched before the gap began: the device takes its time, or waits for an event."""
    LAUNCH = 9
    """Between the start of the launch and the start of what it launches."""
    DISPATCH = 10
    """In any other operator or call of the runtime."""
    INTERPRETER = 11
    """Between two events, no further apart than `BETWEEN_CALLS_NS`."""
    UNTRACED = 12
    """No event for longer than that."""
    UNLINKED = 13
    """Nothing says what launched the activity that ends the gap, and no span says what the host was at."""


_HOLE = -1
_LOADING, _OPERATORS, _CALLS = len(Cause), len(Cause) + 1, len(Cause) + 2
_CAUSE_OF = {_LOADING: Cause.COMPILE, _OPERATORS: Cause.DISPATCH, _CALLS: Cause.DISPATCH}
_ORDER = (Cause.GC, Cause.CHECKPOINT, Cause.COMPILE, Cause.INPUT, Cause.SYNC, Cause.ALLOC, Cause.HOST_COMM)
"""Of two that cover the same moment the earlier counts; behind them come operators, then calls."""
_OF_OPERATOR = (Cause.SYNC, Cause.ALLOC)
"""Calls that are named by the operator around them: `aten::item`, not `cudaStreamSynchronize`."""
_BY_KIND = {
    Kind.GC: Cause.GC,
    Kind.CHECKPOINT: Cause.CHECKPOINT,
    Kind.COMPILE: Cause.COMPILE,
    Kind.INPUT: Cause.INPUT,
    Kind.SYNC: Cause.SYNC,
    Kind.ALLOC: Cause.ALLOC,
    Kind.WAIT: Cause.HOST_COMM,
    Kind.COLLECTIVE: Cause.HOST_COMM,
    Kind.P2P: Cause.HOST_COMM,
    Kind.OP: _OPERATORS,
    Kind.LAUNCH: _CALLS,
}
_CALL = re.compile(r"(runtime|driver|enqueue|dequeue)$")
_CALL_OF_COMPILED = re.compile(r"Call CompiledFxGraph|Cache Lookup")
"""Running what was compiled, and finding it: the first says where the host is, the second is a call like any other; neither compiles."""
_STEP = "ProfilerStep#"
_PINNING = "aten::pin_memory"


def cause_of(kind: Kind) -> Cause:
    """Of a pause."""
    return Cause.GC if kind == Kind.GC else Cause.COMPILE


@dataclass(frozen=True)
class Doing:
    """All of time in pieces, by what is done: the first before the first edge, the last behind the last."""

    edges: Ints
    cause: Ints
    """A `Cause`, or -1 in a hole that was not told yet."""
    name: Ints
    """Row in `Names`, or NOBODY."""

    def at(self, times: Ints) -> Ints:
        """The piece each time lies in."""
        return np.searchsorted(self.edges, times, side="right")


def overlay(of: Spans, edges: Ints) -> tuple[Ints, Ints, Spans]:
    """Spans cut at sorted edges: for each part the span it is of, the piece between edges it lies in (0 is before the first), and the part itself."""
    first = np.searchsorted(edges, of.start, side="right")
    count = np.where(of.end > of.start, np.searchsorted(edges, of.end, side="left") - first + 1, 0)
    which = np.repeat(np.arange(len(count)), count)
    piece = np.arange(len(which)) + np.repeat(first - np.cumsum(count) + count, count)
    bounds = np.concatenate(([-FAR], edges, [FAR]))
    parts = Spans(np.maximum(of.start[which], bounds[piece]), np.minimum(of.end[which], bounds[piece + 1]))
    return which, piece, parts


class Host:
    """What the threads of one trace do, worked out thread by thread when it is asked for."""

    def __init__(self, trace: Trace, launches: Ints) -> None:
        """`launches`: the rows of the calls whose threads matter most."""
        counts = np.bincount(trace.events.lane[launches], minlength=len(trace.lanes.device))
        self.main = _main_lane(trace, counts)
        """The lane of the thread that runs the training loop, or -1 where no thread was recorded."""
        self._trace = trace
        by_count = [int(lane) for lane in np.argsort(-counts, kind="stable")[:MOST_LANES] if counts[lane]]
        self._lanes = list(dict.fromkeys([self.main, *by_count]))
        self._layers = _layers(trace)
        self._rows = np.zeros(0, dtype=np.int64)
        self._loading = loading(trace)
        self._pauses = _of_pauses(trace)
        self._by_lane: dict[int, Doing] = {}

    def look_at(self, within: Spans) -> None:
        """Take only the events that touch this set of times, or lie so near to it that they tell how long a hole is."""
        events = self._trace.events
        rows = np.flatnonzero((self._layers.of_name != _HOLE)[events.name]) if len(events) else self._rows
        near = union(Spans(within.start - BETWEEN_CALLS_NS - 1, within.end + BETWEEN_CALLS_NS + 1))
        self._rows = rows[covered(near, events.spans(rows)) > 0]
        self._within = within
        self._by_lane = {}

    def doing(self, lane: int) -> Doing:
        """What a thread does, holes filled by the others and told by their length."""
        chain = [one for one in dict.fromkeys([lane, *self._lanes]) if one >= 0]
        waits = _spread(self._trace.waits, Cause.HOST_COMM)
        return _told_holes(_first_of([self._pauses, *(self._of_lane(one) for one in chain), waits]))

    def named(self, doing: Doing, lane: int) -> Doing:
        """The same with holes named by the innermost Python frame or phase around them."""
        frames = _first_of([self._frames(one) for one in dict.fromkeys([lane, self.main]) if one >= 0])
        edges = _sorted([doing.edges, frames.edges])
        left = np.concatenate(([-FAR], edges))
        cause, name = doing.cause[doing.at(left)], doing.name[doing.at(left)]
        nameless = (name == NOBODY) & np.isin(cause, (Cause.INTERPRETER, Cause.UNTRACED))
        return Doing(edges, cause, np.where(nameless, frames.name[frames.at(left)], name))

    def _of_lane(self, lane: int) -> Doing:
        if lane not in self._by_lane:
            self._by_lane[lane] = self._find(lane)
        return self._by_lane[lane]

    def _find(self, lane: int) -> Doing:
        """By layer the outermost events of the thread, and at each moment the first layer that covers it."""
        events = self._trace.events
        rows = self._rows[events.lane[self._rows] == lane]
        layer = self._layers.of_name[events.name[rows]]
        if lane != self.main:
            layer[self._layers.pins[events.name[rows]]] = _HOLE
        if len(self._layers.blocking):
            layer[np.isin(rows, self._layers.blocking)] = Cause.SYNC
        found: dict[int, tuple[Spans, Ints]] = {}
        for number in (*_ORDER, _LOADING, _OPERATORS, _CALLS):
            if number == _LOADING:
                here = self._loading.lane == lane
                if here.any():
                    found[number] = _outermost(self._loading.of(here), self._loading.name[here])
                continue
            chosen = rows[layer == number]
            if number == _CALLS and _OPERATORS in found:
                spans, _ = found[_OPERATORS]
                chosen = chosen[~_hits(spans, events.start_ns[chosen])[1]]  # most calls stand inside operators
            if len(chosen):
                found[number] = _outermost(events.spans(chosen), events.name[chosen].astype(np.int64))
        edges = _sorted([np.column_stack(spans).ravel() for spans, _ in found.values()])
        left = np.concatenate(([-FAR], edges))
        cause, name = np.full(len(left), _HOLE, dtype=np.int64), np.full(len(left), NOBODY, dtype=np.int64)
        for number, (spans, names) in reversed(found.items()):  # what counts first is written last
            place, hit = _hits(spans, left)
            cause[hit] = _CAUSE_OF.get(number, number)
            named = hit & (name == NOBODY) if number in _OF_OPERATOR else hit
            name[named] = names[place[named]]
        return Doing(edges, cause, name)

    def _frames(self, lane: int) -> Doing:
        events = self._trace.events
        rows = np.flatnonzero((events.lane == lane) & self._layers.frames[events.name] & (events.dur_ns > 0))
        rows = rows[covered(self._within, events.spans(rows)) > 0]
        return _innermost(events.spans(rows), events.name[rows].astype(np.int64))


@dataclass(frozen=True)
class _Layers:
    """What is decided by name, and the few calls that are decided one by one."""

    of_name: Ints
    pins: NDArray[np.bool_]
    """Names that are input on the main thread only: elsewhere they run beside it."""
    frames: NDArray[np.bool_]
    blocking: Ints
    """Launches that came back only when what they launched had ended: copies from pageable memory."""


def _layers(trace: Trace) -> _Layers:
    names = trace.names
    of_name = np.array([_BY_KIND.get(Kind(kind), _HOLE) for kind in names.kind.tolist()], dtype=np.int64)
    calls = np.array([_CALL.search(category) is not None for category in names.category], dtype=bool)
    operators = np.array([category == "cpu_op" for category in names.category], dtype=bool)
    compiled = np.array([_CALL_OF_COMPILED.search(text) is not None for text in names.text], dtype=bool)
    lookups = np.array(["Cache Lookup" in text for text in names.text], dtype=bool)
    of_name[compiled & (names.kind == Kind.COMPILE)] = _HOLE
    of_name[lookups & (names.kind == Kind.COMPILE)] = _CALLS
    plain = np.isin(names.kind, (Kind.OTHER, Kind.LAUNCH))
    of_name[plain & calls] = _CALLS
    of_name[plain & operators] = _OPERATORS
    if not trace.has_device:
        of_name[names.kind == Kind.LAUNCH] = Cause.HOST_COMM
        of_name[names.kind == Kind.COMPUTE] = _OPERATORS
    pins = np.array([text.startswith(_PINNING) for text in names.text], dtype=bool)
    return _Layers(of_name, pins, _are_frames(names), _blocking(trace))


def _are_frames(names: Names) -> NDArray[np.bool_]:
    """Spans that say where in the program a hole is, though not why."""
    pairs = zip(names.category, names.text, names.kind.tolist(), strict=True)
    return np.array(
        [
            category == "python_function"
            or (kind in (Kind.PHASE, Kind.IO) and not text.startswith(_STEP))
            or (kind == Kind.COMPILE and _CALL_OF_COMPILED.search(text) is not None)
            for category, text, kind in pairs
        ],
        dtype=bool,
    )


def _blocking(trace: Trace) -> Ints:
    events, copies = trace.events, trace.copies
    rows = copies.row[copies.pageable].astype(np.int64)
    rows = rows[events.link[rows] >= 0]
    calls = events.link[rows].astype(np.int64)
    ends = events.start_ns + events.dur_ns if len(rows) else events.start_ns
    return np.unique(calls[ends[calls] >= ends[rows]])


def _main_lane(trace: Trace, launches: Ints) -> int:
    """The host's lane with most steps; where none has any, with most phases, or waiting for input, or launching, or computing most."""
    events, on_host = trace.events, trace.lanes.device < 0
    if not len(events) or not on_host.any():
        return NOBODY
    kind, texts = trace.names.kind, trace.names.text
    is_step = np.array([text.startswith(_STEP) for text in texts], dtype=bool)
    pins = np.array([text.startswith(_PINNING) for text in texts], dtype=bool)
    phases, inputs = kind == Kind.PHASE, (kind == Kind.INPUT) & ~pins
    for chosen in (phases & is_step, phases, inputs, None, np.isin(kind, (Kind.OP, Kind.COMPUTE))):
        if chosen is None:
            count = launches
        elif chosen.any():
            count = np.bincount(events.lane[chosen[events.name]], minlength=len(on_host))
        else:
            continue
        if count[on_host].any():
            return int(np.where(on_host, count, -1).argmax())
    return NOBODY


def _sorted(parts: Sequence[Ints]) -> Ints:
    """All numbers of sorted parts, each once."""
    together = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *parts]), kind="stable")
    return together[np.append(True, together[1:] != together[:-1])] if len(together) else together


def _hits(of: Spans, times: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """For each time the span it may lie in, and whether it does. The spans are sorted and do not overlap."""
    place = np.maximum(np.searchsorted(of.start, times, side="right") - 1, 0)
    hit: NDArray[np.bool_] = (of.start[place] <= times) & (times < of.end[place])
    return place, hit


def _outermost(of: Spans, name: Ints) -> tuple[Spans, Ints]:
    """The spans that no other contains, cut so that none overlaps, with their names; given by start."""
    if (of.start[1:] == of.start[:-1]).any():
        order = np.lexsort((-of.end, of.start))
        of, name = Spans(of.start[order], of.end[order]), name[order]
    before = np.concatenate(([-FAR], np.maximum.accumulate(of.end)[:-1]))
    kept = of.end > before
    return Spans(np.maximum(of.start, before)[kept], of.end[kept]), name[kept]


def _innermost(of: Spans, name: Ints) -> Doing:
    """At each moment the name of the innermost of spans that lie in one another. Where they only overlap, a name may last too long."""
    count = len(name)
    order = np.lexsort((-of.end, of.start))
    start, end, name = of.start[order], of.end[order], name[order]
    depth = np.arange(count) - np.searchsorted(np.sort(end), start, side="right")
    keys = np.sort(depth * count + np.arange(count))
    place = np.searchsorted(keys, (depth - 1) * count + np.arange(count)) - 1
    parent = np.where((depth > 0) & (place >= 0), keys[place] % max(count, 1), NOBODY)
    above = np.where(parent >= 0, name[parent], NOBODY) if count else name
    times = np.concatenate((end, start))
    begins = np.arange(2 * count) >= count
    inner_first = np.concatenate((-np.arange(count), np.arange(count)))
    order = np.lexsort((inner_first, begins, times))
    times, names = times[order], np.concatenate((above, name))[order]
    last = np.append(times[1:] != times[:-1], True)[: count * 2]
    told = np.concatenate(([NOBODY], names[last]))
    return Doing(times[last], np.full(len(told), Cause.UNTRACED, dtype=np.int64), told)


def _of_pauses(trace: Trace) -> Doing:
    """The pauses that a recording noted: all threads stand still in them, or wait for what is made."""
    spans, names = _outermost(trace.pauses.spans, trace.pauses.name)
    edges = _sorted([np.column_stack(spans).ravel()])
    left = np.concatenate(([-FAR], edges))
    cause, name = np.full(len(left), _HOLE, dtype=np.int64), np.full(len(left), NOBODY, dtype=np.int64)
    if len(names):
        place, hit = _hits(spans, left)
        name[hit] = names[place[hit]]
        cause[hit] = [cause_of(Kind(kind)) for kind in trace.names.kind[name[hit]].tolist()]
    return Doing(edges, cause, name)


def _spread(of: Spans, cause: Cause) -> Doing:
    """A set as pieces of one cause without a name."""
    edges = np.column_stack(of).ravel()
    return Doing(
        edges,
        np.where(np.arange(len(edges) + 1) % 2 == 1, int(cause), _HOLE),
        np.full(len(edges) + 1, NOBODY, dtype=np.int64),
    )


def _first_of(parts: Sequence[Doing]) -> Doing:
    """At each moment what the first does that does anything."""
    if len(parts) == 1:
        return parts[0]
    edges = _sorted([part.edges for part in parts])
    left = np.concatenate(([-FAR], edges))
    cause, name = np.full(len(left), _HOLE, dtype=np.int64), np.full(len(left), NOBODY, dtype=np.int64)
    for part in reversed(parts):
        here = part.at(left)
        hit = (part.cause[here] != _HOLE) & ((part.name[here] != NOBODY) | (part.cause[here] != Cause.UNTRACED))
        cause[hit], name[hit] = part.cause[here][hit], part.name[here][hit]
    return Doing(edges, cause, name)


def _told_holes(doing: Doing) -> Doing:
    """Holes by length: the interpreter between two events, or no trace of anything."""
    hole = doing.cause == _HOLE
    start, end = np.concatenate(([-FAR], doing.edges)), np.concatenate((doing.edges, [FAR]))
    since = np.maximum.accumulate(np.where(hole, -FAR, end))
    until = np.minimum.accumulate(np.where(hole, FAR, start)[::-1])[::-1]
    short = until - since <= BETWEEN_CALLS_NS
    cause = np.where(hole, np.where(short, int(Cause.INTERPRETER), int(Cause.UNTRACED)), doing.cause)
    return Doing(doing.edges, cause, doing.name)
