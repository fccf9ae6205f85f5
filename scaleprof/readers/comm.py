"""Collectives and point-to-point transfers of one rank: which, how many bytes, in what order issued (`method` 0.4 to 0.8).

On a device the activity is a kernel; what it is comes from its own metadata, else from the host spans around its launch
(`record_param_comms`, `nccl:*`), else from its name. With gloo the activity is a `gloo:*` span on a worker thread, and the operator that
issued it (`c10d::*`) is found by order, size and causality; so it is with MPI.
"""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.readers.base import CommNote
from scaleprof.readers.families import bare_name, operation_in
from scaleprof.readers.rules import HOST, Hint, place_of
from scaleprof.trace import UNKNOWN, Comm, Events

DTYPE_BYTES = {
    **dict.fromkeys(
        ("double", "float64", "long", "longint", "int64", "int64_t", "uint64", "uint64_t", "complexfloat"), 8
    ),
    **dict.fromkeys(("float", "float32", "int", "int32", "int32_t", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("half", "float16", "bfloat16", "bf16", "short", "shortint", "int16", "uint16"), 2),
    **dict.fromkeys(("byte", "char", "bool", "int8", "int8_t", "uint8", "uint8_t", "signedchar", "unsignedchar"), 1),
    "complexdouble": 16,
}
_OPS = (
    ("allreduce", "all_reduce"),
    ("allgather", "all_gather"),
    ("reducescatter", "reduce_scatter"),
    ("alltoall", "all_to_all"),
    ("sendrecv", "send_recv"),
    ("broadcast", "broadcast"),
    ("bcast", "broadcast"),
    ("barrier", "barrier"),
    ("gather", "gather"),
    ("scatter", "scatter"),
    ("reduce", "reduce"),
    ("send", "send"),
    ("recv", "recv"),
    ("receive", "recv"),
)
_WORDS_OF_OPS = frozenset(op for _, op in _OPS)
_KERNEL_DTYPE = re.compile(
    r"_(?i:Sum|Prod|Max|Min|Avg|MinMax|PreMulSum|SumPostDiv)_([A-Za-z0-9]+(?:_t)?)(?=_(?:RING|TREE|COLLNET|NVLS|PAT|LL|SIMPLE)|[(<]|$)"
)
_SHORT_DTYPES = {"f": "float", "bf": "bfloat", "i": "int", "u": "uint"}
_SHORT_DTYPE = re.compile(r"(f|bf|i|u)(8|16|32|64)")
_COPY, _UNSAID = "copy", "unknown"
_GLOO_RUNS_AS = {"reduce_scatter": "all_reduce"}  # gloo has no reduce-scatter of its own
_TITLES = re.compile(r"(nccl|hccl|xccl):")
"""Spans that torch puts around what it hands to a library."""
_SYMMETRIC = re.compile(r"symm_mem::")
_STARTS = re.compile(r"_?c10d(_functional(_autograd)?)?::|symm_mem::|record_param_comms$|(nccl|hccl|xccl|ucc):")
PEER_COPY = "Memcpy PtoP"
_GATHERS = ("all_gather", "gather")  # the output is the large side
NO_ROWS: Ints = np.zeros(0, dtype=np.int64)
_LARGEST = 2**62  # hostile numbers must not overflow a column
_PARAMS = "record_param_comms"
CAUSALITY_NS = 1_000  # clocks of one process may disagree by this much about what came first


@dataclass(frozen=True)
class Issued:
    """A collective as the calling thread issued it."""

    time_ns: int
    op: str
    in_elements: int
    out_elements: int = UNKNOWN
    dtype: str = ""
    group: str = ""
    seq: int = UNKNOWN
    peer: int = UNKNOWN


def op_of(text: str) -> str:
    """`nccl:_allgather_base`, `c10d::allreduce_`, `AllReduce` in one spelling; the text itself where it is none of them."""
    letters = re.sub(r"[^a-z]", "", text.rsplit(":", 1)[-1].lower())
    return next((op for part, op in _OPS if part in letters), text)


def element_bytes(dtype: str) -> int:
    """The size of one element; UNKNOWN for an unknown type."""
    plain = re.sub(r"[^a-z0-9_]", "", dtype.lower().removeprefix("c10::").removeprefix("at::"))
    return 1 if plain.startswith("float8") else DTYPE_BYTES.get(plain, UNKNOWN)


def large_side(op: str, note: CommNote) -> int:
    """Bytes of the large side of a collective (`method` 0.6); UNKNOWN where sizes or type are."""
    size = element_bytes(note.dtype)
    if op == "barrier":
        return 0
    elements = note.in_elements if op == "all_to_all" else max(note.in_elements, note.out_elements)
    if (
        op in _GATHERS and note.out_elements <= note.in_elements
    ):  # unknown, or one part of what comes out (torch's functional gathers)
        gathered = note.in_elements * note.group_size if note.group_size > 0 else UNKNOWN
        elements = gathered if gathered >= 0 or note.out_elements < 0 else elements
    bytes = elements * size if elements >= 0 and size >= 0 else UNKNOWN
    return bytes if bytes < _LARGEST else UNKNOWN


def device_comm(
    events: Events,
    names: Sequence[tuple[str, str]],
    rows: Ints,
    notes: Mapping[int, CommNote],
    copied: tuple[Ints, Ints] = (NO_ROWS, NO_ROWS),
) -> tuple[Comm, NDArray[np.int8]]:
    """The collectives on device streams, from the rows of their kernels, and a hint per row whether it is point-to-point.

    `copied` are the rows of copies and their bytes: a copy between devices is a piece of an operation, and counts what it carries itself.
    The loop is over collectives, few of all events.
    """
    link = events.link[rows]
    issued = np.where(link >= 0, events.start_ns[link], UNKNOWN)
    said = [row for row in sorted(notes) if notes[row].op not in ("", "wait") and names[events.name[row]][1] == _PARAMS]
    params = _around(events, rows, np.array(said, dtype=np.int64))
    titles = _around(events, rows, host_spans(events, names, _TITLES))
    symmetric = _around(events, rows, host_spans(events, names, _SYMMETRIC))
    found: list[tuple[str, CommNote]] = []
    for place, row in enumerate(rows.tolist()):
        text = names[events.name[row]][1]
        note = notes.get(row) or notes.get(int(params[place])) or CommNote(dtype=_dtype_in(text))
        if text.startswith(PEER_COPY):
            found.append((_COPY, CommNote(group=note.group)))
            continue
        op = op_of(note.op) if note.op else ""
        if not op and titles[place] >= 0:
            op = op_of(names[events.name[titles[place]]][1])
        if note.in_elements == UNKNOWN and titles[place] >= 0:
            shown = notes.get(int(titles[place]), CommNote())
            note = replace(
                note, in_elements=shown.in_elements, out_elements=shown.out_elements, dtype=shown.dtype or note.dtype
            )
        op = op or _op_in(text)
        if op == _UNSAID and symmetric[place] >= 0:
            op = op_of(names[events.name[symmetric[place]]][1])
        found.append((op, note))
    bytes = np.array([large_side(op, note) for op, note in found], dtype=np.int64)
    pieces = [place for place, (op, _) in enumerate(found) if op == _COPY]
    bytes[pieces] = _copied_bytes(rows[pieces], copied)
    order = np.lexsort((events.start_ns[rows], np.where(issued >= 0, issued, events.start_ns[rows])))
    picked = [found[place] for place in order.tolist()]
    comm = Comm(
        row=rows[order].astype(np.int32),
        issued_ns=issued[order],
        op=tuple(op for op, _ in picked),
        bytes=bytes[order],
        dtype=tuple(note.dtype for _, note in picked),
        group=tuple(note.group for _, note in picked),
        seq=np.array([note.seq for _, note in picked], dtype=np.int64),
        peer=np.array([note.peer for _, note in picked], dtype=np.int32),
    )
    hints = np.array([Hint.P2P if op in ("send", "recv") else Hint.COLLECTIVE for op, _ in found], dtype=np.int8)
    return comm, hints


def _copied_bytes(rows: Ints, copied: tuple[Ints, Ints]) -> Ints:
    known, sizes = copied
    if not len(known):
        return np.full(len(rows), UNKNOWN, dtype=np.int64)
    place = np.minimum(np.searchsorted(known, rows), len(known) - 1)
    return np.where(known[place] == rows, sizes[place], UNKNOWN)


def _op_in(kernel: str) -> str:
    op = operation_in(kernel) or op_of(bare_name(kernel))
    return op if op in _WORDS_OF_OPS or operation_in(kernel) else _UNSAID


def _dtype_in(kernel: str) -> str:
    found = _KERNEL_DTYPE.search(kernel)
    if not found:
        return ""
    short = _SHORT_DTYPE.fullmatch(found[1])
    return _SHORT_DTYPES[short[1]] + short[2] if short else found[1]


def started_in(events: Events, names: Sequence[tuple[str, str]], rows: Ints) -> NDArray[np.bool_]:
    """Which device activities an operator or a span of communication started on the host."""
    return _around(events, rows, host_spans(events, names, _STARTS)) >= 0


def host_spans(events: Events, names: Sequence[tuple[str, str]], pattern: re.Pattern[str]) -> Ints:
    """The rows of host spans whose name fits."""
    fits = [place_of(category) in HOST and pattern.match(text) is not None for category, text in names]
    return np.flatnonzero(np.array(fits, dtype=np.bool_)[events.name])


def _around(events: Events, rows: Ints, spans: Ints) -> Ints:
    """For each device activity, the innermost of the given host spans that encloses its launch on its thread; -1 where none does."""
    result = np.full(len(rows), -1, dtype=np.int64)
    for lane in np.unique(events.lane[spans]).tolist():  # a few threads
        here = spans[events.lane[spans] == lane]
        launched = np.flatnonzero((events.link[rows] >= 0) & (events.lane[events.link[rows]] == lane))
        at = events.start_ns[events.link[rows[launched]]]
        end = events.start_ns[here] + events.dur_ns[here]
        place, parent = (
            np.searchsorted(events.start_ns[here], at, side="right") - 1,
            _parents(events.start_ns[here], end),
        )
        while len(over := np.flatnonzero((place >= 0) & (at >= end[place]))):
            place[over] = parent[place[over]]
        result[launched[place >= 0]] = here[place[place >= 0]]
    return result


def _parents(start: Ints, end: Ints) -> Ints:
    """For each span, in order of start, the last one before it that is not over when it begins; -1 for none. The loop is over collectives."""
    parents, open_spans, over = [], list[int](), end.tolist()
    for place, begins in enumerate(start.tolist()):
        while open_spans and over[open_spans[-1]] <= begins:
            open_spans.pop()
        parents.append(open_spans[-1] if open_spans else -1)
        open_spans.append(place)
    return np.array(parents, dtype=np.int64)


def issued_by_operators(events: Events, notes: Mapping[int, CommNote]) -> list[Issued]:
    """What `c10d::*` operators issued, in order."""
    found = []
    for row in sorted(notes):
        note = notes[row]
        if note.op.startswith("c10d::") and op_of(note.op) != note.op:
            op = op_of(note.op)
            time_ns = int(events.start_ns[row])
            found.append(Issued(time_ns, op, note.in_elements, note.out_elements, note.dtype, peer=note.peer))
    return found


def host_comm(
    events: Events,
    rows: Ints,
    notes: Mapping[int, CommNote],
    issued: Sequence[Issued],
    *,
    sizes: Mapping[str, int] | None = None,
    since: Ints | None = None,
) -> Comm:
    """The collectives that ran on gloo's worker threads, joined with what was issued; issued ones without a span have row -1.

    `sizes` are those of the process groups by name, and the only one there is stands for all that say none; `since` are the starts of the
    recorded windows, in order: what was issued before one ran before it. The loops are over collectives, few of all events.
    """
    spans = [(int(events.start_ns[row]), op_of(notes[row].op), notes[row].in_elements) for row in rows.tolist()]
    match = match_spans(issued, spans, since)
    sizes = sizes or {}
    only = next(iter(sizes)) if len(sizes) == 1 else ""
    entries: list[tuple[int, int, Issued]] = []
    for row, (start, op, elements), which in zip(rows.tolist(), spans, match, strict=True):
        entry = Issued(UNKNOWN, op, elements) if which < 0 else issued[which]
        entry = replace(
            entry,
            in_elements=max(entry.in_elements, elements),
            dtype=entry.dtype or notes[row].dtype,
            group=entry.group or only,
        )
        entries.append((start if which < 0 else entry.time_ns, row, entry))
    taken = set(match)
    entries += [
        (one.time_ns, -1, replace(one, group=one.group or only)) for i, one in enumerate(issued) if i not in taken
    ]
    entries.sort(key=lambda entry: entry[0])
    bytes = [_bytes(entry, sizes.get(entry.group, UNKNOWN)) for _, _, entry in entries]
    return Comm(
        row=np.array([row for _, row, _ in entries], dtype=np.int32),
        issued_ns=np.array([entry.time_ns for _, _, entry in entries], dtype=np.int64),
        op=tuple(entry.op for _, _, entry in entries),
        bytes=np.array(bytes, dtype=np.int64),
        dtype=tuple(entry.dtype for _, _, entry in entries),
        group=tuple(entry.group for _, _, entry in entries),
        seq=np.array([entry.seq for _, _, entry in entries], dtype=np.int64),
        peer=np.array([entry.peer for _, _, entry in entries], dtype=np.int32),
    )


def _bytes(entry: Issued, group_size: int) -> int:
    note = CommNote("", entry.in_elements, entry.out_elements, entry.dtype, group_size=group_size)
    return large_side(entry.op, note)


def match_spans(
    issued: Sequence[Issued], spans: Sequence[tuple[int, str, int]], since: Ints | None = None
) -> list[int]:
    """For each span (start, op, elements; in order of start) the place of what issued it, or -1: first in, first out among equal op and size.

    Two workers run two collectives at once, so spans of different size may overtake each other. A span never precedes its issue, and what
    was issued before a window (they start at `since`) does not run in it.
    """
    starts = np.array([start for start, _, _ in spans], dtype=np.int64)
    window = np.searchsorted(since, starts, side="right") - 1 if since is not None else np.full(len(spans), -1)
    opened = [int(since[place]) if since is not None and place >= 0 else 0 for place in window.tolist()]
    by_time = sorted(range(len(issued)), key=lambda place: issued[place].time_ns)
    match = [-1] * len(spans)
    for sized in (
        True,
        False,
    ):  # what the size cannot settle (nothing recorded it, lists of lists) the order alone must
        taken = set(match)
        waiting: dict[tuple[str, int], deque[int]] = {}
        for place in by_time:
            if place not in taken:
                one = issued[place]
                op = _GLOO_RUNS_AS.get(one.op, one.op)
                waiting.setdefault((op, one.in_elements if sized else 0), deque()).append(place)
        for number, (start, op, elements) in enumerate(spans):
            queue = waiting.get((op, elements if sized else 0))
            if match[number] >= 0 or not queue:
                continue
            while queue and issued[queue[0]].time_ns < opened[number]:
                queue.popleft()
            if queue and issued[queue[0]].time_ns <= start + CAUSALITY_NS:
                match[number] = queue.popleft()
    return match


def in_order(parts: Sequence[Comm]) -> Comm:
    """Several tables as one, in the order issued."""
    every = Comm(
        row=np.concatenate([part.row for part in parts]),
        issued_ns=np.concatenate([part.issued_ns for part in parts]),
        op=sum((part.op for part in parts), ()),
        bytes=np.concatenate([part.bytes for part in parts]),
        dtype=sum((part.dtype for part in parts), ()),
        group=sum((part.group for part in parts), ()),
        seq=np.concatenate([part.seq for part in parts]),
        peer=np.concatenate([part.peer for part in parts]),
    )
    return picked(every, np.argsort(every.issued_ns, kind="stable"))


def picked(comm: Comm, rows: Ints) -> Comm:
    """Chosen rows of a table."""
    places = rows.tolist()
    return Comm(
        row=comm.row[rows],
        issued_ns=comm.issued_ns[rows],
        op=tuple(comm.op[place] for place in places),
        bytes=comm.bytes[rows],
        dtype=tuple(comm.dtype[place] for place in places),
        group=tuple(comm.group[place] for place in places),
        seq=comm.seq[rows],
        peer=comm.peer[rows],
    )
