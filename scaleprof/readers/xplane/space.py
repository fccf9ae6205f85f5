"""An XPlane file taken apart: planes with their names, and lines that are decoded one at a time, so that no more than one is in memory.

A plane is a device or the host, a line one of its streams or threads. Names stand once for all events of a plane, behind its lines.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.errors import BrokenFile
from scaleprof.intervals import Ints
from scaleprof.readers.json_text.inflate import Text, is_compressed
from scaleprof.readers.xplane.schema import messages
from scaleprof.readers.xplane.wire import Damaged, Field, fields
from scaleprof.remote import AnyPath

Value = int | float | str | bytes
LONGEST_NAME = 2_000
"""Letters of a name that are kept."""
LATEST_NS = 1 << 61
"""The year 2043, and times that add up within 64 bits."""
ABSOLUTE_NS = 10**15
"""A line that begins later than this says unix time; older files count from the start of the recording."""
_PIECE = 1 << 22
_PLANES, _HOSTNAMES = 1, 4
_NAME, _LINES, _EVENT_NAMES, _STAT_NAMES, _STATS = 2, 3, 4, 5, 6


@dataclass
class Plane:
    """A device, or the host."""

    name: str
    names: dict[int, str]
    """Of events, by metadata id."""
    keys: dict[int, str]
    """Of stats, by metadata id."""
    stats: dict[str, Value]
    lines: list[Field]
    metadata: list[Field]
    """The entries of `names`, which may hold more than a name."""


@dataclass(frozen=True)
class Space:
    """A file."""

    path: AnyPath
    data: bytes
    planes: Sequence[Plane]
    hostname: str | None

    @property
    def environment(self) -> dict[str, Value]:
        """What the file says of the recording itself."""
        return next((plane.stats for plane in self.planes if plane.name == "Task Environment"), {})

    @property
    def start_ns(self) -> int | None:
        """Unix time at which the recording began; None where the file does not say."""
        start = self.environment.get("profile_start_time")
        return start if isinstance(start, int) and ABSOLUTE_NS < start < LATEST_NS else None

    def decoded(self, kind: str, where: Field) -> Any:
        """The message that stands there. BrokenFile where it is none."""
        return _decoded(self.path, self.data, kind, where)


@dataclass(frozen=True)
class Line:
    """The events of a thread or stream, as columns in the order of the file."""

    id: int
    name: str
    name_id: Ints
    start_ns: Ints
    dur_ns: Ints
    events: Any
    """The messages, to look at the stats of a few."""
    kept: NDArray[np.bool_]
    """False where the time is none."""
    negative: int
    """Events that said to end before they began."""


def read_space(path: AnyPath) -> Space:
    """The planes of a file. BrokenFile where it is cut off, damaged or empty."""
    messages()
    data = _bytes_of(path)
    if not data:
        raise BrokenFile(path, "is empty: the profiler did not write its recording, or had more than a file can hold")
    planes, hostname = [], None
    try:
        for one in fields(data, 0, len(data)):
            if one.number == _PLANES and one.is_bytes:
                planes.append(_plane(path, data, one))
            elif one.number == _HOSTNAMES and one.is_bytes:
                hostname = hostname or text_of(data[one.start : one.end])
    except Damaged as error:
        raise error.of(path) from error
    if not planes:
        raise BrokenFile(path, "is no XPlane file: it holds no plane")
    return Space(path, data, planes, hostname)


def _bytes_of(path: AnyPath) -> bytes:
    try:
        if not is_compressed(path):
            return path.read_bytes()
    except OSError as error:
        raise BrokenFile(path, f"cannot be read ({error.strerror or error})") from error
    text, whole, piece = Text(path), bytearray(), memoryview(bytearray(_PIECE))
    try:
        while count := text.readinto(piece):
            whole += piece[:count]
    finally:
        text.close()
    if text.damage:
        raise BrokenFile(path, f"is damaged after {len(whole):,} bytes: {text.damage}")
    return bytes(whole)


def _decoded(path: AnyPath, data: bytes, kind: str, where: Field) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return messages()[kind].FromString(data[where.start : where.end])
    except DecodeError as error:
        raise BrokenFile(
            path, f"is damaged, or no XPlane file: between bytes {where.start:,} and {where.end:,}"
        ) from error


def _plane(path: AnyPath, data: bytes, where: Field) -> Plane:
    plane = Plane("", {}, {}, {}, [], [])
    stats = []
    for one in fields(data, where.start, where.end):
        if not one.is_bytes:
            continue
        if one.number == _NAME:
            plane.name = text_of(data[one.start : one.end])
        elif one.number == _LINES:
            plane.lines.append(one)
        elif one.number in (_EVENT_NAMES, _STAT_NAMES):
            names = plane.names if one.number == _EVENT_NAMES else plane.keys
            number, name = _entry(data, one)
            names[number] = name
            if one.number == _EVENT_NAMES:
                plane.metadata.append(one)
        elif one.number == _STATS:
            stats.append(_decoded(path, data, "Stat", one))
    plane.stats = dict(stats_in(stats, plane))
    return plane


def _entry(data: bytes, where: Field) -> tuple[int, str]:
    """Key and name of a map's entry, without decoding what else it holds: that may be a whole program."""
    number, name = 0, ""
    for one in fields(data, where.start, where.end):
        if one.number == 1 and not one.is_bytes:
            number = _number(data[one.start : one.end])
        elif one.number == 2 and one.is_bytes:
            for inner in fields(data, one.start, one.end):
                if inner.number == 2 and inner.is_bytes:
                    name = text_of(data[inner.start : inner.end])
    return number, name


def _number(varint: bytes) -> int:
    value = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(varint)) & (2**64 - 1)
    return value - 2**64 if value >= 2**63 else value


def text_of(raw: bytes) -> str:
    """The text in some bytes, whatever they are; of very long ones the beginning."""
    return raw[: 4 * LONGEST_NAME].decode("utf-8", "replace")[:LONGEST_NAME]


def stats_in(stats: Any, plane: Plane, wanted: Mapping[int, str] | None = None) -> Iterator[tuple[str, Value]]:
    """Keys and values of an event's or plane's stats; only the `wanted` ones (by metadata id), where that is given."""
    keys = plane.keys if wanted is None else wanted
    for stat in stats:
        key = keys.get(stat.metadata_id)
        if key is None:
            continue
        kind = stat.WhichOneof("value")
        if kind is None:
            continue
        value = getattr(stat, kind)
        if kind == "ref_value":
            value = plane.keys.get(value, "")
        elif kind == "str_value":
            value = text_of(value)
        yield key, value


def read_line(space: Space, where: Field, base_ns: int) -> Line:
    """The events of a line, in ns of unix time if `base_ns` is the start of the recording. The loop is over events: protobuf has no columns."""
    line = space.decoded("Line", where)
    events = line.events
    count = len(events)
    cells = np.fromiter(_cells(events), dtype=np.int64, count=4 * count).reshape(count, 4)
    name_id, offset_ps, duration_ps, occurrences = cells.T
    at_ns = line.timestamp_ns + (0 if line.timestamp_ns > ABSOLUTE_NS else base_ns)
    first_ns = np.floor_divide(offset_ps, 1000)
    negative = duration_ps < 0
    # Start and end are rounded alike, so that what touched still touches. Both lie within 64 bits, their sum in ps may not.
    rest_ps = offset_ps - 1000 * first_ns
    dur_ns = (rest_ps + np.clip(duration_ps, 0, 2**62)) // 1000
    possible = -LATEST_NS < at_ns < LATEST_NS
    start_ns = (at_ns if possible else 0) + first_ns
    kept = (start_ns >= 0) & (start_ns < LATEST_NS) & (dur_ns < LATEST_NS) & (occurrences == 0) & possible
    name = text_of(line.display_name or line.name)
    return Line(line.id, name, name_id, start_ns, dur_ns, events, kept, int((negative & kept).sum()))


def _cells(events: Any) -> Iterator[int]:
    for event in events:
        yield event.metadata_id
        yield event.offset_ps
        yield event.duration_ps
        yield event.num_occurrences
