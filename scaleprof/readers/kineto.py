"""Reads what torch.profiler (Kineto) writes, `.json` and `.json.gz`, into raw columns.

Only complete events (phase X) become rows; M events name the threads. Times stay text until they are whole ns. An event that cannot be
decoded costs itself, a file that ends too early its end; both are counted.
"""

import dataclasses
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.errors import BrokenFile
from scaleprof.intervals import Ints
from scaleprof.readers.base import Columns, CommNote, LaneKey
from scaleprof.readers.decimals import ns_of_us
from scaleprof.readers.rules import Place, category_of, place_of, runs_on_device
from scaleprof.readers.schema import MANY, NO_ARGUMENTS, ONE, SPEAKS_OF_COMM, Complete, Meta, note_of, text_of, whole
from scaleprof.readers.text import pieces
from scaleprof.trace import UNKNOWN, Ids

_LATEST_NS = 2**62  # so that a start and a duration, too, add up within 64 bits


class _Ids(dict[Any, int]):
    """Numbers distinct things in the order in which they are first asked for."""

    def __missing__(self, key: Any) -> int:
        self[key] = len(self)
        return self[key]


class _Gathered:
    """The columns while they grow, one part per block of a file."""

    def __init__(self) -> None:
        self.names, self.lanes = _Ids(), _Ids()
        self.labels: dict[LaneKey, str] = {}
        self.notes: dict[int, CommNote] = {}
        self.parts: list[tuple[NDArray[Any], ...]] = []
        self.rows = self.lost = self.without_duration = self.negative = 0
        self.cut_off: set[int] = set()
        self._wanted = np.zeros((3, 0), dtype=np.bool_)

    def add(self, decoded: list[Any], *, file: int) -> None:
        """The events of one block. The loops are over events because the decoder makes one object per event."""
        events = [event for event in decoded if type(event) is Complete]
        for meta in decoded:
            if type(meta) is Meta and meta.name == "thread_name":
                self._label(meta)
        if not events:
            return
        start_ns, bad = ns_of_us([event.ts for event in events])
        if bad.any():
            self.lost += int(bad.sum())
            events = [event for event, is_bad in zip(events, bad.tolist(), strict=True) if not is_bad]
            start_ns = start_ns[~bad]
            if not events:
                return
        dur_ns, none = ns_of_us([event.dur or b"0" for event in events])
        self.without_duration += sum(1 for event in events if not event.dur) + int(none.sum())
        self.negative += int((dur_ns < 0).sum())
        ids, lanes = self.names, self.lanes
        name = np.fromiter((ids[event.cat, event.name] for event in events), dtype=np.int32, count=len(events))
        linked, copying, speaking = self._wants(name)
        lane = np.fromiter(
            (lanes[event.cat, event.pid, event.tid] for event in events), dtype=np.int32, count=len(events)
        )
        correlation = np.full(len(events), UNKNOWN, dtype=np.int64)
        copied = np.full(len(events), UNKNOWN, dtype=np.int64)
        for row in linked.tolist():
            arguments = events[row].args
            if arguments is not None:
                correlation[row] = whole(arguments.correlation)
                if arguments.collective is not None:
                    self.notes[self.rows + row] = note_of(events[row].name, arguments)
        for row in copying.tolist():
            copied[row] = whole((events[row].args or NO_ARGUMENTS).bytes)
        for row in speaking.tolist():
            self.notes[self.rows + row] = note_of(events[row].name, events[row].args or NO_ARGUMENTS)
        files = np.full(len(events), file, dtype=np.int16)
        self.parts.append((start_ns, np.maximum(dur_ns, 0), name, lane, correlation, files, copied))
        self.rows += len(events)

    def _wants(self, name: Ids) -> tuple[Ints, Ints, Ints]:
        """Rows whose correlation, copied bytes and notes about collectives are wanted, by their name."""
        new = []
        for category, text in islice(self.names, self._wanted.shape[1], None):
            place = place_of(category_of(category))
            linked = place in (Place.KERNEL, Place.COPY, Place.CALL)
            new.append((linked, place == Place.COPY, not linked and text.startswith(SPEAKS_OF_COMM)))
        if new:
            self._wanted = np.concatenate((self._wanted, np.array(new, dtype=np.bool_).T), axis=1)
        linked_rows, copying, speaking = (np.flatnonzero(wanted[name]) for wanted in self._wanted)
        return linked_rows, copying, speaking

    def _label(self, meta: Meta) -> None:
        text = text_of(meta.args.name) if meta.args else ""
        for on_device in (False, True):
            self.labels[LaneKey(on_device, meta.pid, meta.tid)] = text

    def column(self, place: int, dtype: type) -> NDArray[Any]:
        """One column of all blocks."""
        return np.concatenate([np.zeros(0, dtype=dtype), *(part[place] for part in self.parts)])


def read_columns(paths: Sequence[Path]) -> Columns:
    """The events of one rank's files. A later file that cannot be read costs itself; if none can, BrokenFile."""
    gathered, metadata, caveats = _Gathered(), dict[str, Any](), list[str]()
    broken: dict[int, BrokenFile] = {}
    for number, path in enumerate(paths):
        first_part, rows = len(gathered.parts), gathered.rows
        try:
            found = _read_file(path, gathered, number, caveats)
        except BrokenFile as error:
            del gathered.parts[first_part:]
            gathered.notes = {row: note for row, note in gathered.notes.items() if row < rows}
            gathered.rows = rows
            broken[number] = error
            continue
        if not metadata:
            metadata = found
        if gathered.rows == rows and len(paths) > 1:
            caveats.append(f"{path.name} holds no events")
    if broken and not gathered.rows:
        raise next(iter(broken.values()))
    caveats += [f"{error.path.name} was left out: it {error.reason}" for error in broken.values()]
    if gathered.lost:
        caveats.append(f"{gathered.lost:,} events could not be decoded and were left out")
    extra = {
        "events_lost": gathered.lost,
        "events_without_duration": gathered.without_duration,
        "negative_durations": gathered.negative,
    }
    columns = _columns(gathered)
    return dataclasses.replace(
        columns,
        metadata=metadata,
        unread=frozenset(broken),
        cut_off=frozenset(gathered.cut_off),
        caveats=tuple(caveats),
        extra={name: count for name, count in extra.items() if count},
    )


def _columns(gathered: _Gathered) -> Columns:
    names = [(category_of(category), text) for category, text in gathered.names]
    keys = [LaneKey(runs_on_device(category_of(category)), pid, tid) for category, pid, tid in gathered.lanes]
    lanes = _Ids()
    lane_of = np.array([lanes[key] for key in keys], dtype=np.int32)
    raw_lane = gathered.column(3, np.int32)
    return Columns(
        start_ns=gathered.column(0, np.int64),
        dur_ns=gathered.column(1, np.int64),
        name=gathered.column(2, np.int32),
        lane=lane_of[raw_lane] if len(keys) else raw_lane,
        correlation=gathered.column(4, np.int64),
        file=gathered.column(5, np.int16),
        copied_bytes=gathered.column(6, np.int64),
        names=names,
        lanes=tuple(lanes),
        lane_labels=gathered.labels,
        notes=gathered.notes,
    )


def _read_file(path: Path, gathered: _Gathered, number: int, caveats: list[str]) -> dict[str, Any]:
    """Adds one file's events to the columns and returns its metadata."""
    first_part, count, metadata = len(gathered.parts), gathered.rows, dict[str, Any]()
    for piece in pieces(path, MANY, ONE):
        gathered.add(piece.events, file=number)
        gathered.lost += piece.lost
        for text in piece.metadata:
            metadata.update(_object(text, path, caveats))
        if piece.cut_off_at is not None:
            if gathered.rows == count:
                raise BrokenFile(path, f"is cut off at byte {piece.cut_off_at:,}, before any complete event")
            gathered.cut_off.add(number)
            caveats.append(
                f"{path.name} is cut off after {gathered.rows - count:,} events, at byte {piece.cut_off_at:,}: "
                "what came later is missing"
            )
    base_ns = whole(metadata.get("baseTimeNanoseconds"), absent=0)
    for part in gathered.parts[first_part:]:
        if int(part[0].max()) + base_ns >= _LATEST_NS:
            raise BrokenFile(path, "holds times that lie more than a century ahead")
        part[0][:] += base_ns
    return metadata


def _object(text: bytes, path: Path, caveats: list[str]) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        caveats.append(f"{path.name}: what stands beside its events (rank, process groups, base time) is not readable")
        return {}
    return content if isinstance(content, dict) else {}


def no_columns() -> Columns:
    """The columns of a rank without profiler files."""
    return _columns(_Gathered())
