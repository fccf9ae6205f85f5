"""The operations of a Horovod timeline: the copies of a fused one counted once, their sizes, and the rounds in which tensors come again.

A fused operation is written once per tensor, all tensors passing each stage (begin, then begin and end of every activity) before any passes
the next. Stages are compared, not times: the copies of a stage may lie far apart on a busy machine, and with several streams different
operations overlap.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from scaleprof.intervals import EMPTY, Ints, Spans
from scaleprof.readers.comm import element_bytes, op_of
from scaleprof.readers.horovod.timeline import SpanTable, Timeline
from scaleprof.trace import UNKNOWN, Ids

WIRE = re.compile(r"(GLOO|NCCL|MPI|CCL|DDL|MLSL)_\w+")
"""Activities that communicate."""
_SHAPE = re.compile(r"\[([0-9]{1,18}(, ?[0-9]{1,18})*)?\]")
_OUTPUT_IS_A_PART = ("reduce_scatter",)  # the file knows what rank 0 was left with, not the whole
_SENDS_NOTHING = ("barrier", "join")
_LARGEST = 2**62


@dataclass(frozen=True)
class Groups:
    """What ran as one operation, in the order in which they began."""

    first: Ints
    """The first of its rows in `Timeline.operations`; the others follow it."""
    name: tuple[str, ...]
    span: Spans
    activities: Spans
    """Each activity once for all tensors, in the order of groups."""
    activity_name: Ids
    activity_group: Ints
    wire: Spans
    """From the first to the last activity on the wire; the whole operation where there is none."""
    wire_name: tuple[str, ...]
    op: tuple[str, ...]
    bytes: Ints
    """UNKNOWN where the size of any tensor is not in the file."""
    dtype: tuple[str, ...]
    round: Ints
    """The round in which it ran, or -1 before the first."""
    rounds: Spans
    """From where the first tensor of a round is announced to where the next round begins; the last one ends with its last operation."""

    def __len__(self) -> int:
        return len(self.first)


def groups_of(timeline: Timeline) -> Groups:
    """The operations, fused ones as one."""
    operations = timeline.operations
    of_operation = fused(timeline)
    first, span = _merged(of_operation, operations)
    group = of_operation[timeline.operation]
    place = np.arange(len(group)) - np.searchsorted(timeline.operation, timeline.operation)
    rows, activities = _merged(group * (int(place.max(initial=0)) + 1) + place, timeline.activities)
    name, group = timeline.activities.name[rows], group[rows]
    titles = tuple(timeline.names[one] for one in operations.name[first].tolist())
    wire, wire_name = _wires(timeline, titles, span, activities, name, group)
    op = tuple(op_of(title).lower() for title in titles)
    bytes, dtype = _sizes(timeline, of_operation, op)
    round, rounds = _rounds(timeline, of_operation, first, span)
    return Groups(first, titles, span, activities, name, group, wire, wire_name, op, bytes, dtype, round, rounds)


def fused(timeline: Timeline) -> Ints:
    """For each operation of a tensor the number of its group."""
    operations, activities = timeline.operations, timeline.activities
    count = len(operations)
    if count < 2:
        return np.zeros(count, dtype=np.int64)
    first = np.searchsorted(timeline.operation, np.arange(count + 1))
    stages = np.diff(first)
    a, b = np.arange(count - 1), np.arange(1, count)
    joined = (operations.name[a] == operations.name[b]) & (operations.begun[b] < operations.ended[a])
    joined &= (stages[a] == stages[b]) | operations.open[a] | operations.open[b]
    both = np.minimum(stages[a], stages[b])
    pair = np.repeat(a, both)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(both) - both, both)
    x, y = first[pair] + place, first[pair + 1] + place
    begun, ended, name = activities.begun, activities.ended, activities.name
    good = (name[x] == name[y]) & (begun[y] < ended[x]) & (begun[x] < ended[y])
    good &= (place > 0) | (operations.begun[pair + 1] < begun[x])
    more = place + 1 < both[pair]
    good[more] &= (ended[x[more]] < begun[y[more] + 1]) & (ended[y[more]] < begun[x[more] + 1])
    joined &= np.bincount(pair, weights=~good, minlength=count - 1) == 0
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(~joined)))


def tensors_of(timeline: Timeline) -> list[list[int]]:
    """The tensors of each group, as rows of `Timeline.tensors`."""
    group, tensor = fused(timeline), timeline.operations.tensor.tolist()
    edges = [*np.flatnonzero(np.diff(group, prepend=-1)).tolist(), len(tensor)]
    return [tensor[start:end] for start, end in pairwise(edges)] if tensor else []


def _merged(key: Ints, spans: SpanTable) -> tuple[Ints, Spans]:
    """For each distinct key, in order, a row that stands for it and one span from the earliest begin to the latest end."""
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    start, end = spans.start_ns[first], spans.end_ns[first]
    np.minimum.at(start, inverse, spans.start_ns)
    np.maximum.at(end, inverse, spans.end_ns)
    return first, Spans(start, end)


def _wires(
    timeline: Timeline, titles: Sequence[str], span: Spans, activities: Spans, name: Ids, group: Ints
) -> tuple[Spans, tuple[str, ...]]:
    """When each group was on the wire, and by what. A hierarchical operation goes there several times, with copies between."""
    on_wire = np.flatnonzero(np.array([WIRE.fullmatch(text) is not None for text in timeline.names])[name])
    start, end = span.start.copy(), span.end.copy()
    wired = np.unique(group[on_wire])
    start[wired], end[wired] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    np.minimum.at(start, group[on_wire], activities.start[on_wire])
    np.maximum.at(end, group[on_wire], activities.end[on_wire])
    parts: dict[int, dict[str, None]] = {}
    for one, text in zip(group[on_wire].tolist(), name[on_wire].tolist(), strict=True):
        parts.setdefault(one, {})[timeline.names[text]] = None
    return Spans(start, end), tuple("+".join(parts.get(one, [title])) for one, title in enumerate(titles))


def _sizes(timeline: Timeline, group: Ints, op: Sequence[str]) -> tuple[Ints, tuple[str, ...]]:
    """Bytes and element type of each group."""
    outputs = [*(_output_bytes(dtype, shape) for dtype, shape in timeline.outputs), UNKNOWN]
    said = timeline.operations.said
    of_tensor = np.array(outputs, dtype=np.int64)[said]
    known = np.maximum(of_tensor, 0)
    bytes = np.zeros(len(op), dtype=np.int64)
    np.add.at(bytes, group, known)
    unknown = np.array([one in _OUTPUT_IS_A_PART for one in op], dtype=np.bool_)
    unknown[group[of_tensor == UNKNOWN]] = True
    unknown |= np.bincount(group, weights=known, minlength=len(op)) >= _LARGEST  # the sum of whole numbers overflowed
    nothing = np.array([one in _SENDS_NOTHING for one in op], dtype=np.bool_)
    dtypes = [""] * len(op)
    for one, row in zip(group.tolist(), said.tolist(), strict=True):
        if row >= 0:
            dtypes[one] = dtypes[one] or timeline.outputs[row][0]
    return np.where(nothing, 0, np.where(unknown, UNKNOWN, bytes)), tuple(dtypes)


def _output_bytes(dtype: str, shape: str) -> int:
    """`float32`, `[512, 256]` in bytes; UNKNOWN for what is no shape or no known type."""
    bytes = element_bytes(dtype) if _SHAPE.fullmatch(shape) else UNKNOWN
    for length in re.findall("[0-9]+", shape) if bytes > 0 else ():
        bytes *= int(length)
        if bytes >= _LARGEST:
            return UNKNOWN
    return bytes


def _rounds(timeline: Timeline, group: Ints, first: Ints, span: Spans) -> tuple[Ints, Spans]:
    """The round of each group, and the rounds: one begins where a tensor comes that the current one has had.

    Only tensors that come as often as most do are looked at: an operation that is called several times a step, or in some steps only,
    must not cut them.
    """
    operations = timeline.operations
    times = np.bincount(operations.tensor, minlength=len(timeline.tensors))
    often, tensors = np.unique(times[times > 1], return_counts=True)
    round = np.full(len(first), -1, dtype=np.int64)
    if not len(often):
        return round, EMPTY
    usual = often[len(often) - 1 - int(np.argmax(tensors[::-1]))]
    regular = (times == usual)[operations.tensor]
    seen: set[int] = set()
    number, tensor = -1, operations.tensor.tolist()
    for one, end in enumerate([*first[1:].tolist(), len(operations)]):  # a loop over operations, few of all events
        members = [tensor[row] for row in range(int(first[one]), end) if regular[row]]
        if members and (number < 0 or not seen.isdisjoint(members)):
            number, seen = number + 1, set()
        seen.update(members)
        round[one] = number
    agreed = negotiated(operations, timeline.negotiations)
    announced = np.append(timeline.negotiations.start_ns, 0)[agreed]
    begin = np.where(agreed >= 0, announced, operations.start_ns)
    start = np.full(number + 1, np.iinfo(np.int64).max)
    np.minimum.at(start, round[group[regular]], begin[regular])
    start = np.maximum.accumulate(start)
    end_ns = max(int(span.end[round == number].max()), int(start[-1]))
    return round, Spans(start, np.append(start[1:], end_ns))


def negotiated(operations: SpanTable, negotiations: SpanTable) -> Ints:
    """The negotiation since the last operation on its tensor, for each operation; -1 where there is none."""
    found = latest_before(operations.tensor, operations.begun, negotiations.tensor, negotiations.begun)
    before = latest_before(operations.tensor, operations.begun, operations.tensor, operations.begun)
    agreed = np.append(negotiations.begun, -1)[found]
    return np.where(agreed > np.append(operations.begun, -1)[before], found, -1)


def latest_before(lane: Ids, at: Ints, among_lane: Ids, among_at: Ints) -> Ints:
    """For each (lane, at) the place of the last of the others on the same lane and before it, or -1."""
    count = len(among_at)
    lanes, places = np.concatenate((among_lane, lane)), np.concatenate((among_at, at))
    other = np.arange(len(lanes)) < count
    order = np.lexsort((other, places, lanes))
    position = np.maximum.accumulate(np.where(other[order], np.arange(len(order)), -1))
    found = np.full(len(lanes), -1, dtype=np.int64)
    same = (position >= 0) & (lanes[order[position]] == lanes[order])
    found[order] = np.where(same, order[position], -1)
    return found[count:]
