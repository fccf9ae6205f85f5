"""A lane as tracks on which slices nest, with the parts of collectives inside them, and what ties slices to those of other ranks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.export.flows import Links
from scaleprof.export.lanes import Lane, Placed, Text, shortened
from scaleprof.export.nesting import in_order, tracks_of
from scaleprof.intervals import Ints
from scaleprof.trace import UNKNOWN, Comm, Trace

WAIT: Text = ("wait", "wait")
TRANSFER: Text = ("transfer", "transfer")
"""The parts of a collective or transfer."""
SENT: Text = ("data sent", "arrow")
ARRIVES: Text = ("data on their way", "arrow")
"""Marks without length: where an arrow begins or ends that the slice around it cannot have."""
_ADDED = (WAIT, TRANSFER, SENT, ARRIVES)


@dataclass(frozen=True)
class Split:
    """What is known across ranks of a rank's operations, by row of its table."""

    number: Ints
    """The same on all ranks; UNKNOWN where an operation was not matched. Likewise the others."""
    transfer_ns: Ints
    ranks: Ints
    clock_ns: Ints
    """By how much the split may be wrong because clocks are."""


@dataclass(frozen=True)
class Tie:
    """A slice's place in a chain of arrows."""

    operation: int
    comes: bool
    goes: bool


@dataclass(frozen=True)
class Track:
    """Slices that nest, in order; times in ns of the file."""

    label: str
    texts: Sequence[Text]
    name: Ints
    """In `texts`."""
    start: Ints
    end: Ints
    args: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """What is known besides, by place."""
    ties: Mapping[int, Tie] = field(default_factory=dict)
    """By place."""

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Operations:
    """The operations of a rank as its slices need them."""

    comm: Comm
    split: Split
    links: Links
    by_event: Mapping[int, Sequence[int]]
    """By event, the operations that it carried out."""
    carries: NDArray[np.bool_]
    """Of each event, whether it did; and one more, for a slice that is no event (row -1), which did not."""
    cut: Mapping[int, int]
    """By event whose operations were split: where waiting ends and transfer begins, in ns of the file."""
    link: Mapping[int, Sequence[int]]
    """By operation, its rows in the links."""

    def said(self, operation: int) -> dict[str, Any]:
        """What is known of an operation, for whoever selects its slice."""
        comm, split = self.comm, self.split
        said: dict[str, Any] = {"operation": shortened(comm.op[operation], 60)}
        if split.number[operation] != UNKNOWN:
            said["number"] = int(split.number[operation])
        for name, column in (("bytes", comm.bytes), ("seq", comm.seq), ("peer", comm.peer), ("ranks", split.ranks)):
            if column[operation] != UNKNOWN:
                said[name] = int(column[operation])
        for name, text in (("dtype", comm.dtype[operation]), ("group", comm.group[operation])):
            if text:
                said[name] = shortened(text, 60)
        if split.transfer_ns[operation] != UNKNOWN and split.clock_ns[operation] > 0:
            said["clock_error_us"] = int(split.clock_ns[operation]) / 1000
        return said

    def tie(self, link: int) -> Tie:
        """A link as a slice has it."""
        links = self.links
        return Tie(int(links.operation[link]), bool(links.comes[link]), bool(links.goes[link]))


def operations_of(trace: Trace, split: Split, links: Links, placed: Placed) -> Operations:
    """What the slices of a rank need to know of its operations."""
    by_event: dict[int, list[int]] = {}
    for operation, row in enumerate(trace.comm.row.tolist()):  # over operations, not events
        if row >= 0:
            by_event.setdefault(row, []).append(operation)
    told = np.flatnonzero((trace.comm.row >= 0) & (split.transfer_ns != UNKNOWN))
    row = trace.comm.row[told]
    start, dur = trace.events.start_ns[row], trace.events.dur_ns[row]
    begins = placed(start + np.maximum(dur - split.transfer_ns[told], 0))
    cut: dict[int, int] = {}
    for event, begin in zip(row.tolist(), begins.tolist(), strict=True):
        cut[event] = min(begin, cut.get(event, begin))  # transfer comes before waiting (`method` 1.3)
    link: dict[int, list[int]] = {}
    for place, operation in enumerate(links.row.tolist()):
        link.setdefault(operation, []).append(place)
    carries = np.zeros(len(trace.events) + 1, dtype=np.bool_)
    carries[list(by_event)] = True
    return Operations(trace.comm, split, links, by_event, carries, cut, link)


def tracks_of_lane(lane: Lane, operations: Operations) -> Iterator[Track]:
    """The lane's slices on as few tracks as they need, each with the parts of its collectives."""
    carried = _carried(lane, operations)
    cuts = {
        place: operations.cut[row]
        for place in carried
        if (row := int(lane.row[place])) in operations.cut and lane.end[place] > lane.start[place]
    }
    split, level = lane.start.copy(), np.zeros(len(lane), dtype=np.int64)
    if cuts:
        split[list(cuts)], level[list(cuts)] = list(cuts.values()), 1
    order = in_order(lane.start, lane.end, level)
    track = tracks_of(lane.start[order], lane.end[order], split[order])
    for number in range(int(track.max()) + 1 if len(track) else 0):
        label = lane.label if not number else f"{lane.label} ({number + 1})"
        yield _track(label, lane, order[track == number], carried, cuts, operations)


def _carried(lane: Lane, operations: Operations) -> dict[int, Sequence[int]]:
    """By place of the lane, the operations that stand there."""
    if lane.operation is not None:
        return {place: [operation] for place, operation in enumerate(lane.operation.tolist())}
    here = np.flatnonzero(operations.carries[lane.row])
    return {place: operations.by_event[int(lane.row[place])] for place in here.tolist()}


def _track(
    label: str,
    lane: Lane,
    places: Ints,
    carried: Mapping[int, Sequence[int]],
    cuts: Mapping[int, int],
    operations: Operations,
) -> Track:
    """The slices at these places of the lane, the parts of those that are cut, and marks."""
    divided = [place for place in places.tolist() if place in cuts]
    cut = np.array([cuts[place] for place in divided], dtype=np.int64)
    mine = [place for place in places.tolist() if place in carried]
    links = {
        place: [link for operation in carried[place] for link in operations.link.get(operation, ())] for place in mine
    }
    marks = [link for of_place in links.values() for link in of_place if operations.links.at_ns[link] != UNKNOWN]
    marked = operations.links.at_ns[marks]
    added = [lane.start[divided], cut, marked], [cut, lane.end[divided], marked]
    start, end = (np.concatenate((of[places], *more)) for of, more in zip((lane.start, lane.end), added, strict=True))
    base, sides = len(lane.texts), np.where(operations.links.comes[marks], 3, 2)
    name = np.concatenate((lane.name[places], base + np.repeat([0, 1], len(divided)), base + sides))
    level = np.concatenate((np.isin(places, divided), np.full(len(start) - len(places), 2))).astype(np.int64)
    # Where each slice comes from: a place of the lane, or a mark.
    source = np.concatenate((places, np.full(2 * len(divided), -1), -2 - np.arange(len(marks))))
    some = np.flatnonzero((end > start) | (source != -1))
    order = some[in_order(start[some], end[some], level[some])]
    at = {origin: row for row, origin in enumerate(source[order].tolist()) if origin != -1}
    args: dict[int, Mapping[str, Any]] = {at[place]: said for place, said in lane.args.items() if place in at}
    args |= {at[place]: _said(lane, place, carried[place], cuts, operations) for place in mine}
    args |= {at[-2 - row]: {"number": int(operations.links.operation[link])} for row, link in enumerate(marks)}
    ties = {
        at[place]: operations.tie(link)
        for place, of_place in links.items()
        for link in of_place
        if operations.links.at_ns[link] == UNKNOWN
    }
    ties |= {at[-2 - row]: operations.tie(link) for row, link in enumerate(marks)}
    texts = (*lane.texts, *_ADDED) if divided or marks else lane.texts
    return Track(label, texts, name[order], start[order], end[order], args, ties)


def _said(
    lane: Lane, place: int, carries: Sequence[int], cuts: Mapping[int, int], operations: Operations
) -> dict[str, Any]:
    said = operations.said(carries[0])
    if len(carries) > 1:
        said["operations"] = len(carries)
    if place in cuts:
        said["wait_us"] = (cuts[place] - int(lane.start[place])) / 1000
        said["transfer_us"] = (int(lane.end[place]) - cuts[place]) / 1000
    return said
