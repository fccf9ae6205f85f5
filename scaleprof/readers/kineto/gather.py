"""The raw columns of a rank while they grow: block after block, scanned or decoded, into memory that is never held twice.

A scanned block (`scan.py`) is columns already; what it leaves open (odd events, metadata of collectives) is decoded event by event, and one event
in a thousand is decoded besides, to see that the scan says the same.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.readers.base import Columns, CommNote, LaneKey
from scaleprof.readers.json_text.broken import BAD_TEXT, decode_event, is_one_object, lies_inside
from scaleprof.readers.json_text.decimals import ns_of_us
from scaleprof.readers.json_text.fragments import UNREADABLE, Fragments
from scaleprof.readers.json_text.scan import Block, Scanned, Scanner
from scaleprof.readers.kineto.grown import Grown, GrownSide
from scaleprof.readers.kineto.operations import Flops, counts_flops, flops_of_event
from scaleprof.readers.order import inverse, is_sorted
from scaleprof.readers.rules import HOST, Place, category_of, place_of, runs_on_device
from scaleprof.readers.schema import (
    FRAGMENT,
    NO_ARGUMENTS,
    ONE,
    STREAM_WAIT,
    Complete,
    Meta,
    note_of,
    speaks_of_comm,
    text_of,
    whole,
)
from scaleprof.trace import UNKNOWN, Ids

CHECKED_ROWS = 1000
"""One scanned event in so many is decoded too."""
_LATEST_NS = 2**62  # so that a start and a duration, too, add up within 64 bits
_MOST_FRAGMENTS = 50_000
_NEW_SHARE = 0.3
"""Where more of the events than this have a name of their own, learning names costs more than decoding events."""


class ScanDiffers(Exception):
    """An event that was decoded besides says something else than the scan."""


class _Ids(dict[Any, int]):
    """Numbers distinct things in the order in which they are first asked for."""

    def __missing__(self, key: Any) -> int:
        self[key] = len(self)
        return self[key]


@dataclass(frozen=True)
class _Rows:
    """The events of one block, as they go into the columns."""

    start_ns: Ints
    dur_ns: Ints
    name: Ids
    lane: Ids
    correlation: Ints
    copied: tuple[Ints, Ints]
    """Rows that copy or fill memory, and the bytes."""
    operations: tuple[Ints, Ints]
    """Rows that multiply matrices, convolve or attend, and the floating-point operations."""
    awaiting: tuple[Ints, Ints]
    """Rows in which a stream is told to wait, and for what."""
    notes: dict[int, CommNote]


class Gathered:
    """Everything read so far from the files of one rank."""

    def __init__(self) -> None:
        self.names, self.lanes = _Ids(), _Ids()
        self.labels: dict[LaneKey, str] = {}
        self.notes: dict[int, CommNote] = {}
        self.lost = self.without_duration = self.negative = 0
        self.lost_at: int | None = None
        """The byte of the JSON text where the first lost event begins, where that is known."""
        self.file_rows: list[int] = []
        """How many rows each file has given."""
        learn = weakref.WeakMethod(
            self._learn
        )  # a circle of references would keep the scan's buffers until some later collection
        self._scanner = Scanner(Fragments(lambda piece: learn()(piece)))  # type: ignore[misc]
        self._fragment_names, self._fragment_lanes = Grown(np.int32), Grown(np.int32)
        self._wanted = np.zeros((5, 0), dtype=np.bool_)
        self._file: NDArray[np.int16] | None = None
        self._start, self._dur = Grown(np.int64), Grown(np.int64)
        self._name, self._lane, self._correlation = Grown(np.int32), Grown(np.int32), Grown(np.int32)
        self._copied, self._operations, self._flops = GrownSide(), GrownSide(), Flops()
        self._awaiting, self._awaited = GrownSide(), _Ids()

    @property
    def rows(self) -> int:
        """How many events there are."""
        return self._start.count

    def counts(self) -> tuple[int, int, int, int]:
        """How many events there are, and what was odd about them: to come back to with `cut`."""
        return self.rows, self.lost, self.without_duration, self.negative

    def cut(self, counts: tuple[int, int, int, int]) -> None:
        """Forget the events, and what was odd about them, since then."""
        rows, self.lost, self.without_duration, self.negative = counts
        for column in (self._start, self._dur, self._name, self._lane, self._correlation):
            column.cut(rows)
        self._copied.cut(rows)
        self._operations.cut(rows)
        self._awaiting.cut(rows)
        self.notes = {row: note for row, note in self.notes.items() if row < rows}

    def move(self, rows: int, base_ns: int) -> bool:
        """Add the base time to the events from a row on; False where they would lie more than a century ahead."""
        starts = self._start.values[rows:]
        if len(starts) and int(starts.max()) + base_ns >= _LATEST_NS:
            return False
        starts += base_ns
        return True

    # ---- scanned blocks

    def scan(self, block: Block) -> Scanned | None:
        """A block's columns; None where the decoder is to read it."""
        learnt = self._fragment_names.count
        if learnt > _MOST_FRAGMENTS and learnt > _NEW_SHARE * self.rows:
            return None
        return self._scanner.scan(block)

    def _learn(self, text: bytes) -> int:
        """A new piece of text between the keys `ph` and `ts`: its name and its lane."""
        try:
            fragment = FRAGMENT.decode(b'{"ph":' + text + b"}")
        except BAD_TEXT:
            return UNREADABLE
        self._fragment_names.append(np.array([self.names[fragment.cat, fragment.name]]))
        self._fragment_lanes.append(np.array([self.lanes[fragment.cat, fragment.pid, fragment.tid]]))
        return self._fragment_names.count - 1

    def add_scanned(self, scanned: Scanned) -> None:
        """The events of a scanned block. ScanDiffers where decoding says something else."""
        for text in scanned.metas:
            self._add_meta(decode_event(text, ONE))
        count = len(scanned.start_ns)
        if not count:
            return
        fragment = np.maximum(scanned.fragment, 0)
        some = self._fragment_names.count > 0
        name = self._fragment_names.values.take(fragment) if some else np.zeros(count, dtype=np.int32)
        lane = self._fragment_lanes.values.take(fragment) if some else np.zeros(count, dtype=np.int32)
        linked, copying, speaking, counting, waiting = self._wants(name)
        is_odd = np.zeros(count, dtype=np.bool_)
        is_odd[scanned.odd] = True
        noted = np.zeros(count, dtype=np.bool_)
        noted[scanned.noted] = True
        notes = {}
        for row in np.flatnonzero((speaking | (noted & linked)) & ~is_odd).tolist():  # few of all events
            event = decode_event(scanned.text_of(row), ONE)
            if type(event) is Complete:
                notes[row] = note_of(event.name, event.args or NO_ARGUMENTS)
        counted = np.flatnonzero(counting & ~is_odd)
        waits = np.flatnonzero(waiting & ~is_odd)
        rows = _Rows(
            scanned.start_ns,
            scanned.dur_ns,
            name,
            lane,
            np.where(linked, scanned.correlation, UNKNOWN),
            tuple(part[copying[scanned.copied[0]]] for part in scanned.copied),  # type: ignore[arg-type]
            (counted, self._flops.of_texts(name[counted], scanned.texts_of(counted))),
            self._awaits(waits, [decode_event(scanned.text_of(row), ONE) for row in waits.tolist()]),
            notes,
        )
        self._check(rows, scanned, is_odd)
        if len(scanned.odd):
            rows = self._with_odd(rows, scanned)
        self._append(rows)

    def _check(self, rows: _Rows, scanned: Scanned, is_odd: NDArray[np.bool_]) -> None:
        for row in range(-self.rows % CHECKED_ROWS, len(rows.start_ns), CHECKED_ROWS):
            if is_odd[row]:
                continue
            event = decode_event(text := scanned.text_of(row), ONE)
            if event is None and is_one_object(text):  # too broken to be compared with, as one event may be
                continue
            if type(event) is not Complete or lies_inside(text):
                raise ScanDiffers
            (start_ns, dur_ns), bad = ns_of_us([event.ts, event.dur or b"0"])
            name = self.names[event.cat, event.name]
            correlation = whole(event.args.correlation) if event.args and self._wanted[0, name] else UNKNOWN
            exact = (start_ns, max(dur_ns, 0), name, self.lanes[event.cat, event.pid, event.tid], correlation)
            scan = (rows.start_ns[row], rows.dur_ns[row], rows.name[row], rows.lane[row], rows.correlation[row])
            if self._wanted[3, name] and flops_of_event(event) not in rows.operations[1][rows.operations[0] == row]:
                raise ScanDiffers
            if bad.any() or exact != scan:
                raise ScanDiffers

    def _with_odd(self, rows: _Rows, scanned: Scanned) -> _Rows:
        """The rows with what their odd events say, without those that say nothing."""
        texts = [(row, scanned.text_of(row)) for row in scanned.odd.tolist()]
        if any(lies_inside(text) for _, text in texts):
            raise ScanDiffers
        decoded = [(row, decode_event(text, ONE)) for row, text in texts]
        found = [(row, event) for row, event in decoded if type(event) is Complete]
        self.lost += sum(1 for _, event in decoded if event is None)
        exact, good = self._counted([event for _, event in found])
        at = np.array([row for row, _ in found], dtype=np.int64)[good]
        unread = np.setdiff1d([row for row, event in decoded if event is None or type(event) is Complete], at)
        if self.lost_at is None and len(unread):
            self.lost_at = scanned.place_of(int(unread[0]))
        columns = {}
        for column in ("start_ns", "dur_ns", "name", "lane", "correlation"):
            values = getattr(rows, column).astype(np.int64)
            values[at] = getattr(exact, column)
            columns[column] = values
        notes = {**rows.notes, **{int(at[row]): note for row, note in exact.notes.items()}}
        kept = np.ones(len(rows.start_ns), dtype=np.bool_)
        kept[scanned.odd] = False
        kept[at] = True
        new_row = np.where(kept, np.cumsum(kept) - 1, -1)
        return _Rows(
            **{column: values[kept] for column, values in columns.items()},
            copied=_completed(rows.copied, exact.copied, at, new_row),
            operations=_completed(rows.operations, exact.operations, at, new_row),
            awaiting=_completed(rows.awaiting, exact.awaiting, at, new_row),
            notes={int(new_row[row]): note for row, note in notes.items() if kept[row]},
        )

    # ---- decoded blocks

    def add_decoded(self, decoded: Sequence[Any]) -> None:
        """The events of a decoded block."""
        for event in decoded:
            self._add_meta(event)
        events = [event for event in decoded if type(event) is Complete]
        if events:
            self._append(self._counted(events)[0])

    def _counted(self, events: Sequence[Complete]) -> tuple[_Rows, NDArray[np.bool_]]:
        """The rows of events, and which events gave one; what is odd about them is counted."""
        rows, good, without_duration, negative = self._decoded(events)
        self.lost += int((~good).sum())
        self.without_duration += without_duration
        self.negative += negative
        return rows, good

    def _decoded(self, events: Sequence[Complete]) -> tuple[_Rows, NDArray[np.bool_], int, int]:
        """The rows of events, which events gave one, and how many have no duration or a negative one.

        The loops are over events because the decoder makes one object per event.
        """
        start_ns, bad = ns_of_us([event.ts for event in events])
        good = ~bad
        if bad.any():
            events = [event for event, is_good in zip(events, good.tolist(), strict=True) if is_good]
            start_ns = start_ns[good]
        dur_ns, none = ns_of_us([event.dur or b"0" for event in events])
        without_duration = sum(1 for event in events if not event.dur) + int(none.sum())
        ids, lanes = self.names, self.lanes
        name = np.fromiter((ids[event.cat, event.name] for event in events), dtype=np.int32, count=len(events))
        lane = np.fromiter(
            (lanes[event.cat, event.pid, event.tid] for event in events), dtype=np.int32, count=len(events)
        )
        linked, copying, speaking, counting, waiting = self._wants(name)
        correlation = np.full(len(events), UNKNOWN, dtype=np.int64)
        notes = {}
        for row in np.flatnonzero(linked).tolist():
            arguments = events[row].args
            if arguments is not None:
                correlation[row] = whole(arguments.correlation)
                if arguments.collective is not None:
                    notes[row] = note_of(events[row].name, arguments)
        for row in np.flatnonzero(speaking).tolist():
            notes[row] = note_of(events[row].name, events[row].args or NO_ARGUMENTS)
        sizes = [(row, whole((events[row].args or NO_ARGUMENTS).bytes)) for row in np.flatnonzero(copying).tolist()]
        known = [(row, size) for row, size in sizes if size != UNKNOWN]
        copied = (
            np.array([row for row, _ in known], dtype=np.int64),
            np.array([size for _, size in known], dtype=np.int64),
        )
        counted = np.flatnonzero(counting)
        flops = np.array([flops_of_event(events[row]) for row in counted.tolist()], dtype=np.int64)
        negative = int((dur_ns < 0).sum())
        waits = np.flatnonzero(waiting)
        awaiting = self._awaits(waits, [events[row] for row in waits.tolist()])
        counts = (counted, flops)
        rows = _Rows(start_ns, np.maximum(dur_ns, 0), name, lane, correlation, copied, counts, awaiting, notes)
        return rows, good, without_duration, negative

    def _awaits(self, rows: Ints, events: Sequence[Any]) -> tuple[Ints, Ints]:
        """What streams are told to wait for in these rows."""
        arguments = [(event.args if type(event) is Complete else None) or NO_ARGUMENTS for event in events]
        numbers = [self._awaited[whole(one.awaited_stream), whole(one.awaited_record)] for one in arguments]
        return rows, np.array(numbers, dtype=np.int64)

    # ---- both

    def _wants(self, name: Ids) -> list[NDArray[np.bool_]]:
        """By event, whether its correlation, its copied bytes, what it says of a collective, its operations, or what a stream waits for are wanted,
        as its name has it."""
        new = []
        for category, text in islice(self.names, self._wanted.shape[1], None):
            place = place_of(category_of(category))
            linked = place in (Place.KERNEL, Place.COPY, Place.CALL)
            speaking = speaks_of_comm(text, on_host=place in HOST)
            counting = place == Place.OPERATOR and counts_flops(text)
            waiting = (category, text) == STREAM_WAIT
            new.append((linked, place == Place.COPY, not linked and speaking, counting, waiting))
        if new:
            self._wanted = np.concatenate((self._wanted, np.array(new, dtype=np.bool_).T), axis=1)
        if not self.names:  # no event of the first block could be read yet
            return [np.zeros(len(name), dtype=np.bool_) for _ in self._wanted]
        return [wanted.take(name) for wanted in self._wanted]

    def _add_meta(self, event: Any) -> None:
        if type(event) is Meta and event.name == "thread_name":
            text = text_of(event.args.name) if event.args else ""
            for on_device in (False, True):
                self.labels[LaneKey(on_device, event.pid, event.tid)] = text

    def _append(self, rows: _Rows) -> None:
        before = self.rows
        self.notes.update((before + row, note) for row, note in rows.notes.items())
        self._copied.append(rows.copied, before)
        self._operations.append(rows.operations, before)
        self._awaiting.append(rows.awaiting, before)
        self._start.append(rows.start_ns)
        self._dur.append(rows.dur_ns)
        self._name.append(rows.name)
        self._lane.append(rows.lane)
        self._correlation.append(rows.correlation)

    def sort(self) -> None:
        """Put the events in the order of time, column by column in place: a sorted copy of them all would be held twice."""
        if is_sorted(self._start.values):
            return
        order = np.argsort(self._start.values, kind="stable")
        for column in (self._start, self._dur, self._name, self._lane, self._correlation):
            column.values[:] = column.values[order]
        self._file = _file_of_rows(self.file_rows, self.rows)[order] if len(self.file_rows) > 1 else self._file
        row_of = inverse(order, len(order))
        self._copied.move(row_of)
        self._operations.move(row_of)
        self._awaiting.move(row_of)
        self.notes = {int(row_of[row]): note for row, note in self.notes.items()}

    def columns(self) -> Columns:
        """Everything gathered: in file order, or in the order of time if it was sorted."""
        keys = [LaneKey(runs_on_device(category_of(category)), pid, tid) for category, pid, tid in self.lanes]
        lanes = _Ids()
        lane_of = np.array([lanes[key] for key in keys], dtype=np.int32)
        raw_lane = self._lane.values
        return Columns(
            start_ns=self._start.values,
            dur_ns=self._dur.values,
            name=self._name.values,
            lane=lane_of[raw_lane] if len(keys) else raw_lane,
            correlation=self._correlation.values,
            file=_file_of_rows(self.file_rows, self.rows) if self._file is None else self._file,
            copied=self._copied.values,
            operations=self._operations.values,
            awaiting=self._awaiting.values,
            awaited=tuple(self._awaited),
            names=[(category_of(category), text) for category, text in self.names],
            lanes=tuple(lanes),
            lane_labels=self.labels,
            notes=self.notes,
        )


def _completed(known: tuple[Ints, Ints], exact: tuple[Ints, Ints], at: Ints, new_row: Ints) -> tuple[Ints, Ints]:
    """A side table of a block with that of its odd events, which stand `at` these rows, by the rows that are kept (-1 for the others)."""
    numbers = dict(zip(known[0].tolist(), known[1].tolist(), strict=True))
    numbers |= dict(zip(at[exact[0]].tolist(), exact[1].tolist(), strict=True))
    kept = [row for row in sorted(numbers) if new_row[row] >= 0]
    return new_row[kept], np.array([numbers[row] for row in kept], dtype=np.int64)


def _file_of_rows(counts: Sequence[int], rows: int) -> NDArray[np.int16]:
    """The file of each row. Where there is one file, a column of zeros that takes no memory."""
    if sum(1 for count in counts if count) < 2 and not (len(counts) > 1 and rows):
        return np.broadcast_to(np.int16(0), rows)
    return np.repeat(np.arange(len(counts), dtype=np.int16), counts)
