"""From the rows of XPlane files to the tables of a Trace, all but its steps: names and their kinds, launches, communication, copies."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.errors import BrokenFile
from scaleprof.intervals import Ints, Spans
from scaleprof.readers.assemble import Draft
from scaleprof.readers.order import inverse
from scaleprof.readers.xplane.comm import Operations, Told, add_kernels, comm_of, operations_in, synthesized
from scaleprof.readers.xplane.hlo import Sized, collectives_in
from scaleprof.readers.xplane.rows import Device, Rows, Said, add_space, devices_in
from scaleprof.readers.xplane.space import Space, read_space
from scaleprof.readers.xplane.words import Word, kind_in
from scaleprof.remote import AnyPath
from scaleprof.trace import UNKNOWN, Copies, Events, Kind, Lanes, Names
from scaleprof.trace import Operations as Multiplications

_LAUNCHED = (Word.KERNEL, Word.COPY, Word.FILL, Word.HLO_COLLECTIVE)
_DIRECTION = re.compile(r"(?i)([HDP])(?:2|to)([HDP])")
_SIZE = re.compile(r"\bsize:(\d{1,18})")
OUR_STEP = "scaleprof_step"
"""What this project's recorder calls the steps that it marks."""


@dataclass(frozen=True)
class Gathered:
    """What the files of a rank hold."""

    spaces: Sequence[Space]
    """Without their events."""
    draft: Draft
    operations: Operations
    index: Ints
    """The numbers of the marked steps, and when the host was in them."""
    host: Spans
    since: Ints
    """Where each file's steps begin."""
    device: Device | None
    """The one of several that this rank is."""
    devices: Sequence[Device]
    extra: dict[str, int]
    broken: dict[int, BrokenFile]


@dataclass(frozen=True)
class _Read:
    """The files of a rank while they are understood."""

    rows: Rows
    spaces: Sequence[Space]
    broken: dict[int, BrokenFile]
    device: Device | None
    devices: Sequence[Device]


def gathered(paths: Sequence[AnyPath], told: Told, own: Sequence[str]) -> Gathered:
    """Everything in the files of a rank. A file that cannot be read costs itself; if none can, BrokenFile."""
    read = _read(paths, told, own)
    rows = read.rows
    synthesized(rows)
    start_ns, dur_ns, name, lane, file = rows.whole()
    sized = dict(pair for space in read.spaces for pair in collectives_in(space).items())
    operations = operations_in(rows, start_ns, dur_ns, sized, told, devices=len(read.devices))
    order = np.argsort(start_ns, kind="stable")
    row_of = inverse(order, len(order))
    events = Events(
        start_ns=start_ns[order],
        dur_ns=dur_ns[order],
        name=name[order],
        lane=lane[order],
        step=np.full(len(order), -1, dtype=np.int32),
        link=_links(rows, file, row_of),
    )
    index, host, since = _marked(rows, start_ns, dur_ns, file)
    counts = {
        "events_lost": rows.lost,
        "negative_durations": rows.negative,
        "derived_lines": rows.derived_lines,
        "lines_lost": rows.broken_lines,
    }
    return Gathered(
        spaces=[_without_data(space) for space in read.spaces],
        draft=_draft(rows, events, operations, order, row_of, sized, told),
        operations=operations,
        index=index,
        host=host,
        since=since,
        device=read.device,
        devices=read.devices,
        extra={key: one for key, one in counts.items() if one},
        broken=read.broken,
    )


def _read(paths: Sequence[AnyPath], told: Told, own: Sequence[str]) -> _Read:
    rows, spaces, broken = Rows(), list[Space](), dict[int, BrokenFile]()
    devices: list[Device] = []
    device: Device | None = None
    for number, path in enumerate(paths):
        try:
            space = read_space(path)
            devices = devices or devices_in(space)
            device = devices[told.rank % len(devices)] if len(devices) > 1 else None
            add_space(rows, space, number, device, own)
        except BrokenFile as error:
            broken[number] = error
            continue
        spaces.append(space)
    if not rows.count:
        reason = "holds no event: nothing ran while the profiler did"
        reason = "is damaged: none of its lines can be read" if rows.broken_lines else reason
        raise next(iter(broken.values()), BrokenFile(paths[0], reason))
    return _Read(rows, spaces, broken, device, devices)


def _draft(
    rows: Rows,
    events: Events,
    operations: Operations,
    order: Ints,
    row_of: NDArray[np.int32],
    sized: Mapping[tuple[int, str], Sized],
    told: Told,
) -> Draft:
    names, lanes = _names(rows), _lanes(rows)
    said = {one.row: one for one in rows.said}
    kernels = _communicating_kernels(events, names, lanes, order, said)
    if kernels:
        add_kernels(operations, kernels, sized, told)
    issued_ns = np.where(events.link >= 0, events.start_ns[events.link], UNKNOWN)
    none = np.zeros(0, dtype=np.int64)
    return Draft(
        names=_without_device_doubles(names, has_device=bool((lanes.device >= 0).any())),
        lanes=lanes,
        events=events,
        comm=comm_of(operations.found, row_of, issued_ns, events.start_ns),
        copies=_copies(names, events, order, said),
        operations=Multiplications(none.astype(np.int32), none),
    )


def _without_data(space: Space) -> Space:
    """What a file says of itself, without its bytes."""
    return Space(space.path, b"", space.planes, space.hostname)


def _names(rows: Rows) -> Names:
    kinds = [kind_in(word, text, of_xla=number in rows.of_xla) for number, (word, text) in enumerate(rows.names)]
    return Names(
        text=tuple(text for _, text in rows.names),
        category=tuple(_category(word) for word, _ in rows.names),
        kind=np.array([kind for kind, _ in kinds], dtype=np.uint8),
        by_rule=np.array([by_rule for _, by_rule in kinds], dtype=np.bool_),
    )


def _category(word: Word) -> str:
    if word in (Word.GROUP, Word.MEMORY, Word.STARTED, Word.DONE):
        return Word.HOST.value
    return Word.COLLECTIVE.value if word is Word.HLO_COLLECTIVE else word.value


def _lanes(rows: Rows) -> Lanes:
    return Lanes(
        device=np.array([device for device, _, _ in rows.lanes], dtype=np.int32),
        stream=np.array([stream for _, stream, _ in rows.lanes], dtype=np.int64),
        label=tuple(label for _, _, label in rows.lanes),
    )


def _links(rows: Rows, file: NDArray[np.int16], row_of: NDArray[np.int32]) -> NDArray[np.int32]:
    """For each activity of a device the call that launched it: they have the same number in one file."""
    link = np.full(len(row_of), -1, dtype=np.int32)
    calls = {
        (int(file[one.row]), number): one.row
        for one in rows.said
        if one.word is Word.CALL and (number := one.number("correlation_id")) > 0
    }
    for one in rows.said if calls else ():
        if one.word in _LAUNCHED:
            call = calls.get((int(file[one.row]), one.number("correlation_id")))
            if call is not None:
                link[row_of[one.row]] = row_of[call]
    return link


def _communicating_kernels(
    events: Events, names: Names, lanes: Lanes, order: Ints, said: Mapping[int, Said]
) -> list[tuple[int, str, Said | None]]:
    """The row, name and stats of every kernel of a device that communicates."""
    kernels = np.array([category == Word.KERNEL.value for category in names.category], dtype=np.bool_)
    chosen = (kernels & (names.kind == Kind.COLLECTIVE))[events.name] & (lanes.device >= 0)[events.lane]
    rows = np.flatnonzero(chosen)
    return [(int(order[row]), names.text[events.name[row]], said.get(int(order[row]))) for row in rows.tolist()]


def _without_device_doubles(names: Names, *, has_device: bool) -> Names:
    """Beside a device, what the host calls a collective is where it waits for it or starts it."""
    if not has_device:
        return names
    on_host = np.array([category in (Word.OP.value, Word.HLO.value) for category in names.category], dtype=np.bool_)
    kind = np.where(on_host & (names.kind == Kind.OP), np.uint8(Kind.OTHER), names.kind)
    return Names(names.text, names.category, kind, names.by_rule)


def _copies(names: Names, events: Events, order: Ints, said: Mapping[int, Said]) -> Copies:
    is_copy = names.kind == Kind.COPY
    rows = np.flatnonzero(is_copy[events.name])
    texts = [names.text[name] for name in events.name[rows].tolist()]
    details = [
        str(one.stats.get("memcpy_details") or one.stats.get("memset_details") or "") if one else ""
        for one in (said.get(row) for row in order[rows].tolist())
    ]
    sizes = [_SIZE.search(detail) for detail in details]
    return Copies(
        row=rows.astype(np.int32),
        direction=tuple(_direction(text) for text in texts),
        pageable=np.array(["pageable" in detail.lower() for detail in details], dtype=np.bool_),
        bytes=np.array([int(size[1]) if size else UNKNOWN for size in sizes], dtype=np.int64),
    )


def _direction(text: str) -> str:
    if "memset" in text.lower():
        return "memset"
    found = _DIRECTION.search(text)
    return f"{found[1].upper()}to{found[2].upper()}" if found else ""


def _marked(rows: Rows, start_ns: Ints, dur_ns: Ints, file: NDArray[np.int16]) -> tuple[Ints, Spans, Ints]:
    """The marked steps in order: ours, else those that lie in no other. Of numbers that begin anew (epochs) only the order counts."""
    marks = [one for one in rows.said if one.word is Word.STEP and one.number("step_num") >= 0]
    ours = [one for one in marks if one.text == OUR_STEP]
    kept: list[Said] = []
    end_ns = -1
    for one in sorted(ours or marks, key=lambda one: (int(start_ns[one.row]), -int(dur_ns[one.row]))):
        if int(start_ns[one.row]) >= end_ns:
            kept.append(one)
            end_ns = int(start_ns[one.row] + dur_ns[one.row])
    at = np.array([one.row for one in kept], dtype=np.int64)
    index = np.array([one.number("step_num") for one in kept], dtype=np.int64)
    if (np.diff(index) <= 0).any():
        index = np.arange(len(index), dtype=np.int64)
    first = np.unique(file[at], return_index=True)[1]
    return index, Spans(start_ns[at], start_ns[at] + dur_ns[at]), np.sort(start_ns[at][first])
