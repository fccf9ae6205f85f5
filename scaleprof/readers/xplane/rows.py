"""The events of XPlane files as columns, and the few stats that say what collectives, steps and launches are."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaleprof.errors import BrokenFile
from scaleprof.intervals import Ints
from scaleprof.readers.xplane.space import Line, Plane, Space, Value, read_line, stats_in, text_of
from scaleprof.readers.xplane.wire import Damaged, Field, fields
from scaleprof.readers.xplane.words import DERIVED, READ, Word, with_own, word_on_device, word_on_host
from scaleprof.trace import UNKNOWN

_HOST, _METADATA = "/host:", "/host:metadata"
_DEVICE = re.compile(r"/device:([A-Za-z]+):(\d{1,6})")
_STREAM = re.compile(r"Stream #?(\d{1,18})")
_PRIMARY_ON_TPU = "XLA Ops"
_ORDINAL = "device_ordinal"
_LINE_NAME, _LINE_EVENTS = 2, 4
MOST_DEVICES = 1 << 16


class Said(NamedTuple):
    """An event whose stats were read."""

    row: int
    word: Word
    text: str
    stats: dict[str, Value]

    def number(self, key: str) -> int:
        """A stat that is a whole number below 2^63; UNKNOWN where it is none."""
        value = self.stats.get(key)
        return value if isinstance(value, int) and abs(value) < 1 << 63 else UNKNOWN


class Device(NamedTuple):
    """A device with events of its own in a file."""

    kind: str
    """`GPU`, `TPU`; `CPU` for what XLA takes as devices on a host."""
    ordinal: int


@dataclass
class Rows:
    """The events of all files of a rank, in the order of the files."""

    names: dict[tuple[Word, str], int] = field(default_factory=dict)
    of_xla: set[int] = field(default_factory=set)
    """Names of kernels that were made from an HLO operation."""
    lanes: dict[tuple[int, int, str], int] = field(default_factory=dict)
    """Device or -1, stream or thread, label."""
    columns: list[tuple[NDArray[Any], ...]] = field(default_factory=list)
    """start_ns, dur_ns, name, lane, file."""
    said: list[Said] = field(default_factory=list)
    lines: list[tuple[int, int]] = field(default_factory=list)
    """The rows of each line: where they begin and end."""
    count: int = 0
    lost: int = 0
    negative: int = 0
    derived_lines: int = 0
    broken_lines: int = 0
    """Lines that are damaged, in planes that are not."""

    def add(self, columns: tuple[NDArray[Any], ...], said: Sequence[Said]) -> None:
        """The events of a line."""
        self.lines.append((self.count, self.count + len(columns[0])))
        self.said += said
        self.columns.append(columns)
        self.count += len(columns[0])

    def name(self, word: Word, text: str) -> int:
        """The number of a name."""
        return self.names.setdefault((word, text), len(self.names))

    def lane(self, device: int, stream: int, label: str) -> int:
        """The number of a lane."""
        return self.lanes.setdefault((device, stream, label), len(self.lanes))

    def whole(self) -> tuple[NDArray[Any], ...]:
        """The columns of all events."""
        return tuple(np.concatenate(column) for column in zip(*self.columns, strict=True))


def devices_in(space: Space) -> list[Device]:
    """The devices with events of their own, in order: accelerators, else what XLA takes as devices on the host."""
    found = []
    for plane in space.planes:
        device = _DEVICE.fullmatch(plane.name)
        if device and any(_is_primary(space, plane, line) for line in plane.lines):
            found.append(Device(device[1].upper(), int(device[2])))
    if found:
        return sorted(set(found), key=lambda one: (one.kind, one.ordinal))
    ordinals: set[int] = set()
    for plane in space.planes:
        keys = {number: key for number, key in plane.keys.items() if key == _ORDINAL}
        for where in plane.lines if keys else ():
            for event in space.decoded(
                "Line", where
            ).events:  # a loop over events: which devices there are stands nowhere else
                ordinals.update(value for _, value in stats_in(event.stats, plane, keys) if isinstance(value, int))
    return [Device("CPU", ordinal) for ordinal in sorted(ordinals) if 0 <= ordinal < MOST_DEVICES]


def _is_primary(space: Space, plane: Plane, where: Field) -> bool:
    """Whether a device's line says what it did, and holds anything. Its name stands in front of its events: these need not be looked at."""
    name, holds_events = "", False
    try:
        for one in fields(space.data, where.start, where.end):
            if one.number == _LINE_NAME and one.is_bytes:
                name = text_of(space.data[one.start : one.end])
            if one.number == _LINE_EVENTS:
                holds_events = True
                break
    except Damaged:
        holds_events = True  # what is wrong with it is found when it is read
    is_tpu = plane.name.startswith("/device:TPU")
    return holds_events and (name == _PRIMARY_ON_TPU if is_tpu else not DERIVED.match(name))


def _whole_line(space: Space, where: Field) -> Any:
    """The line; None for one that is damaged."""
    try:
        return space.decoded("Line", where)
    except BrokenFile:
        return None


def add_space(rows: Rows, space: Space, file: int, only: Device | None, own: Sequence[str]) -> None:
    """The events of a file; of several devices only those of one, and of the host all but what other devices did on it."""
    base_ns = space.start_ns or 0
    for plane in space.planes:
        device = _DEVICE.fullmatch(plane.name)
        if device and (only is None or (device[1].upper(), int(device[2])) == only):
            kept = [where for where in plane.lines if _is_primary(space, plane, where)]
            rows.derived_lines += len(plane.lines) - len(kept)
            for line in _lines(rows, space, kept, base_ns):
                _add(rows, plane, line, file, int(device[2]), None, own)
        elif plane.name.startswith(_HOST) and plane.name != _METADATA:
            ordinal = only.ordinal if only is not None and only.kind == "CPU" else None
            for line in _lines(rows, space, plane.lines, base_ns):
                _add(rows, plane, line, file, -1, ordinal, own)


def _lines(rows: Rows, space: Space, lines: Sequence[Field], base_ns: int) -> Iterator[Line]:
    """The lines one after the other; each is gone when the next one comes."""
    for where in lines:
        try:
            yield read_line(space, where, base_ns)
        except BrokenFile:
            rows.broken_lines += 1


def _add(rows: Rows, plane: Plane, line: Line, file: int, device: int, ordinal: int | None, own: Sequence[str]) -> None:
    kept = line.kept
    rows.lost += int((~kept).sum())
    rows.negative += line.negative
    if not kept.any():
        return
    places = np.flatnonzero(kept)
    used, first, inverse = np.unique(line.name_id[places], return_index=True, return_inverse=True)
    ids = np.zeros(len(used), dtype=np.int32)
    said: list[Said] = []
    for number, one in enumerate(used.tolist()):
        text = plane.names.get(one) or f"event {one}, which has no name"
        keys = {plane.keys.get(stat.metadata_id, "") for stat in line.events[int(places[first[number]])].stats}
        word = word_on_device(text, keys) if device >= 0 else word_on_host(line.name, text, keys)
        word = with_own(word, text, own)
        ids[number] = rows.name(word, text)
        if "hlo_op" in keys:
            rows.of_xla.add(int(ids[number]))
        if word in READ or word is Word.OWN:
            here = places[inverse == number]
            said += _read(plane, line, here, word, text)
    mine = np.ones(len(line.name_id), dtype=np.bool_)
    if ordinal is not None:
        mine[[one.row for one in said if one.number(_ORDINAL) not in (ordinal, UNKNOWN)]] = False
    chosen = places[mine[places]]
    row_of = np.full(len(line.name_id), -1, dtype=np.int64)
    row_of[chosen] = rows.count + np.arange(len(chosen))
    stream = _STREAM.match(line.name)
    lane = rows.lane(device, int(stream[1]) if stream else line.id, line.name)
    names = ids[inverse][mine[places]]
    shape = len(chosen)
    columns = (
        line.start_ns[chosen],
        line.dur_ns[chosen],
        names,
        np.full(shape, lane, dtype=np.int32),
        np.full(shape, file, dtype=np.int16),
    )
    rows.add(columns, [one._replace(row=int(row_of[one.row])) for one in said if row_of[one.row] >= 0])


def _read(plane: Plane, line: Line, places: Ints, word: Word, text: str) -> Iterator[Said]:
    """The events of a name with their stats. The loop is over the few events whose stats matter."""
    wanted = {number: key for number, key in plane.keys.items() if key in READ.get(word, ())}
    for place in places.tolist():
        yield Said(place, word, text, dict(stats_in(line.events[place].stats, plane, wanted)))
