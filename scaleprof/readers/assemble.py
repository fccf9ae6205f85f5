"""From raw columns to the tables of a Trace, all but its steps: sort, link device activities to their launches, classify, list communication."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.readers.base import Columns, CommNote
from scaleprof.readers.comm import (
    PEER_COPY,
    Issued,
    device_comm,
    host_comm,
    in_order,
    issued_by_operators,
    picked,
    started_in,
)
from scaleprof.readers.order import in_time_order
from scaleprof.readers.rules import HOST, Hint, Place, kinds_of, place_of
from scaleprof.readers.schema import whole
from scaleprof.readers.stream_waits import stream_waits
from scaleprof.run import ProcessGroup
from scaleprof.trace import UNKNOWN, Comm, Copies, Events, Kind, Lanes, Names, Operations, StreamWaits

_DIRECTION = re.compile(r"\b(HtoD|DtoH|DtoD|HtoH|PtoP)\b")
_SHORT_DIRECTION = re.compile(r"\b([MHD])2([MHD])\b")
"""Level Zero calls the host's side memory."""
_LONG_DIRECTION = re.compile(r"(Host|Device|Peer)To(Host|Device|Peer)")


@dataclass(frozen=True)
class Draft:
    """A trace without steps: `events.step` is -1 everywhere."""

    names: Names
    lanes: Lanes
    events: Events
    comm: Comm
    copies: Copies
    operations: Operations
    stream_waits: StreamWaits = field(default_factory=StreamWaits)


def assemble(
    columns: Columns,
    groups: Sequence[ProcessGroup],
    issued: Sequence[Issued] | None = None,
    since: Ints | None = None,
    own: Sequence[str] = (),
) -> Draft:
    """The tables of a rank. `issued` is what a recorder saw being issued; without it the trace's own operators say so.

    `since` are the starts of the recorded windows, `own` the user's patterns of names that communicate.
    """
    columns = in_time_order(columns)
    notes = columns.notes
    lanes = _lanes(columns)
    events = Events(
        start_ns=columns.start_ns,
        dur_ns=columns.dur_ns,
        name=columns.name,
        lane=columns.lane,
        step=np.full(len(columns.start_ns), -1, dtype=np.int32),
        link=_links(columns),
    )
    no_hints = [Hint.NONE] * len(columns.names)
    beside_device = bool((lanes.device >= 0).any())
    kinds, _ = kinds_of(columns.names, no_hints, own, beside_device=beside_device)
    device_rows = _device_comm_rows(columns, events, kinds, notes)
    on_device, hints = device_comm(events, columns.names, device_rows, notes, columns.copied)
    hint_of_row = np.zeros(len(events), dtype=np.int8)
    hint_of_row[device_rows] = hints
    names, name = _split_names(columns, events, hint_of_row, own, beside_device=beside_device)
    spans = _host_comm_rows(columns, events, kinds)
    notes = {
        **notes,
        **{row: CommNote(op=columns.names[events.name[row]][1]) for row in spans.tolist() if row not in notes},
    }
    events = dataclasses.replace(events, name=name)
    issued = issued_by_operators(events, notes) if issued is None else issued
    sizes = {group.name: len(group.ranks) for group in groups}
    comm = _all_comm(on_device, host_comm(events, spans, notes, issued, sizes=sizes, since=since))
    rows, flops = columns.operations
    operations = Operations(rows.astype(np.int32), flops)
    copies = _copies(names, events, columns.copied)
    return Draft(names, lanes, events, comm, copies, operations, stream_waits(columns))


def _links(columns: Columns) -> NDArray[np.int32]:
    """The row of the call that launched each device activity: same correlation id in the same file. One launch may own hundreds."""
    places = np.array([place_of(category) for category, _ in columns.names], dtype=np.int8)
    is_launched = np.isin(places, (Place.KERNEL, Place.COPY))
    link = np.full(len(columns.start_ns), -1, dtype=np.int32)
    # Readers give an id only to what launches or is launched. Without a runtime in the file an operator may be the launch.
    known = np.flatnonzero(columns.correlation != UNKNOWN).astype(np.int32)
    launched = is_launched[columns.name[known]] if len(is_launched) else np.zeros(0, dtype=np.bool_)
    for number in range(int(columns.file.max(initial=-1)) + 1):  # a few files
        here = columns.file[known] == number
        launches, activities = known[here & ~launched], known[here & launched]
        if not len(launches) or not len(activities):
            continue
        launches = launches[np.argsort(columns.correlation[launches], kind="stable")]
        ids, wanted = columns.correlation[launches], columns.correlation[activities]
        found = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
        same = ids[found] == wanted
        link[activities[same]] = launches[found[same]]
    return link


def _device_comm_rows(
    columns: Columns, events: Events, kinds: NDArray[np.uint8], notes: Mapping[int, CommNote]
) -> NDArray[np.int64]:
    """Kernels that communicate, by name or by metadata, and copies between devices that stand on their streams or that communication starts."""
    places = np.array([place_of(category) for category, _ in columns.names], dtype=np.int8)
    is_kernel = (places == Place.KERNEL)[events.name]
    by_name = np.isin(places, (Place.KERNEL, Place.COPY)) & (kinds == Kind.COLLECTIVE)
    chosen = by_name[events.name] if len(places) else is_kernel
    noted = np.array(sorted(notes), dtype=np.int64)
    chosen[noted[is_kernel[noted]]] = True
    peer_copy = np.array([text.startswith(PEER_COPY) for _, text in columns.names], dtype=np.bool_)
    copies = np.flatnonzero(peer_copy[events.name]) if len(peer_copy) else np.zeros(0, dtype=np.int64)
    on_comm_lane = np.isin(events.lane[copies], np.unique(events.lane[chosen]))
    chosen[copies[on_comm_lane | started_in(events, columns.names, copies)]] = True
    return np.flatnonzero(chosen)


def _host_comm_rows(columns: Columns, events: Events, kinds: NDArray[np.uint8]) -> Ints:
    """Spans on host threads in which communication runs: gloo's, MPI's, and those the user names."""
    on_host = np.array([place_of(category) in HOST for category, _ in columns.names], dtype=np.bool_)
    runs = on_host & np.isin(kinds, (Kind.COLLECTIVE, Kind.P2P))
    return np.flatnonzero(runs[events.name]) if len(runs) else np.zeros(0, dtype=np.int64)


def _split_names(
    columns: Columns, events: Events, hints: NDArray[np.int8], own: Sequence[str], *, beside_device: bool
) -> tuple[Names, NDArray[np.int32]]:
    """Names, split where single events' metadata says something else about them (RCCL calls every kernel alike)."""
    key = events.name * np.int32(len(Hint))
    key += hints
    used = np.zeros(len(columns.names) * len(Hint), dtype=np.bool_)
    used[key] = True
    keys = np.flatnonzero(used)
    number = np.zeros(len(used), dtype=np.int32)
    number[keys] = np.arange(len(keys))
    pairs = [columns.names[key // len(Hint)] for key in keys.tolist()]
    kind, by_rule = kinds_of(pairs, [Hint(key % len(Hint)) for key in keys.tolist()], own, beside_device=beside_device)
    names = Names(tuple(text for _, text in pairs), tuple(category for category, _ in pairs), kind, by_rule)
    return names, number[key]


def _all_comm(on_device: Comm, on_host: Comm) -> Comm:
    """Beside a device's own library, an issued collective without a gloo span was carried out by that library: it stands there already."""
    if not len(on_device.row):
        return on_host
    ran = np.flatnonzero(on_host.row >= 0)
    return in_order([on_device, picked(on_host, ran)]) if len(ran) else on_device


def _copies(names: Names, events: Events, copied: tuple[Ints, Ints]) -> Copies:
    """The copies and fills, and their sizes where the file says them (`copied`: rows, and bytes)."""
    is_copy = np.array([place_of(category) == Place.COPY for category in names.category], dtype=np.bool_)
    rows = np.flatnonzero(is_copy[events.name]) if len(is_copy) else np.zeros(0, dtype=np.int64)
    directions = [_direction(category, text) for category, text in zip(names.category, names.text, strict=True)]
    pageable = np.array(["Pageable" in text for text in names.text], dtype=np.bool_)
    known, sizes = copied
    bytes = np.full(len(rows), UNKNOWN, dtype=np.int64)
    if len(known):
        place = np.minimum(np.searchsorted(known, rows), len(known) - 1)
        bytes = np.where(known[place] == rows, sizes[place], UNKNOWN)
    return Copies(
        row=rows.astype(np.int32),
        direction=tuple(directions[name] for name in events.name[rows].tolist()),
        pageable=pageable[events.name[rows]] if len(pageable) else np.zeros(0, dtype=np.bool_),
        bytes=bytes,
    )


def _direction(category: str, text: str) -> str:
    if category == "gpu_memset" or text.startswith("Memset"):
        return "memset"
    if found := _DIRECTION.search(text):
        return found[1]
    if found := _LONG_DIRECTION.search(text):
        return f"{found[1][0]}to{found[2][0]}"
    found = _SHORT_DIRECTION.search(text)
    return f"{found[1].replace('M', 'H')}to{found[2].replace('M', 'H')}" if found else ""


def _lanes(columns: Columns) -> Lanes:
    labels = [columns.lane_labels.get(key, "") or _spoken(key.tid) for key in columns.lanes]
    return Lanes(
        device=np.array([_number(key.pid, 0, 2**31) if key.on_device else -1 for key in columns.lanes], dtype=np.int32),
        stream=np.array([_number(key.tid, -2 - place) for place, key in enumerate(columns.lanes)], dtype=np.int64),
        label=tuple(labels),
    )


def _spoken(tid: Any) -> str:
    return tid if isinstance(tid, str) and not tid.isdigit() else ""


def _number(value: Any, otherwise: int, most: int = 2**62) -> int:
    """The number in a pid or tid: `7`, `'1441273664'`, `'stream 16'`; the other where there is none that fits."""
    digits = re.search(r"\d+", value) if isinstance(value, str) else None
    number = whole(digits[0] if digits else value)
    return number if 0 <= number < most else otherwise
