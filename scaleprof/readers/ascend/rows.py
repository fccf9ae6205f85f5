"""The rows of one `trace_view.json` of Ascend's profiler: slices, the arrows from a launch to its tasks, the lanes that the profiler derived.

What a row is depends on the process it stands in, and a process may be named behind its rows: so rows keep process and task type until the
file is read. Times are decimal text, some of it strings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from scaleprof.errors import BrokenFile
from scaleprof.intervals import Ints
from scaleprof.readers.json_text.decimals import ns_of_us
from scaleprof.readers.json_text.text import pieces
from scaleprof.readers.schema import Number, any_of, text_of
from scaleprof.remote import AnyPath

LATEST_NS = 2**62  # so that a start and a duration add up within 64 bits
_NOTHING = msgspec.Raw(b"")
_ARROW = "HostToDevice"


class _Arguments(msgspec.Struct, gc=False, frozen=True):
    task_type: Number = msgspec.field(name="Task Type", default=None)
    queued: Number = msgspec.field(name="correlation_id", default=None)
    count: Number = None
    data_type: Number = None
    name: msgspec.Raw = _NOTHING


_NO_ARGUMENTS = _Arguments()


class _Slice(msgspec.Struct, tag_field="ph", tag="X", gc=False):
    name: str
    ts: msgspec.Raw
    dur: msgspec.Raw = _NOTHING
    cat: str = ""
    pid: Number = None
    tid: Number = None
    args: _Arguments | None = _NO_ARGUMENTS


class _Start(msgspec.Struct, tag_field="ph", tag="s", gc=False):
    ts: msgspec.Raw = _NOTHING
    id: Number = None
    cat: str = ""
    pid: Number = None
    tid: Number = None


class _End(msgspec.Struct, tag_field="ph", tag="f", gc=False):
    ts: msgspec.Raw = _NOTHING
    id: Number = None
    cat: str = ""
    pid: Number = None
    tid: Number = None


class _Meta(msgspec.Struct, tag_field="ph", tag="M", gc=False):
    name: str = ""
    pid: Number = None
    tid: Number = None
    args: _Arguments | None = _NO_ARGUMENTS


_EVENT: Any = any_of(_Slice | _Start | _End | _Meta, "tiICBEbneaNODPRcvVSTpF(),")
_ONE, _MANY = msgspec.json.Decoder(_EVENT), msgspec.json.Decoder(list[_EVENT])


class What(NamedTuple):
    """What the rows of one name have in common."""

    pid: Any
    category: str
    text: str
    task_type: str


class _Ids(dict[Any, int]):
    """Numbers distinct things in the order in which they are first asked for."""

    def __missing__(self, key: Any) -> int:
        self[key] = len(self)
        return self[key]


@dataclass
class Rows:
    """The slices of one file, in file order."""

    start_ns: Ints
    dur_ns: Ints
    what: NDArray[np.int32]
    """Row in `whats`."""
    thread: NDArray[np.int32]
    """Row in `threads`."""
    whats: Sequence[What]
    threads: Sequence[tuple[Any, Any]]
    """(pid, tid)"""
    processes: dict[Any, str]
    """The names of processes by pid."""
    labels: dict[tuple[Any, Any], str]
    """The names of threads by (pid, tid)."""
    queued: dict[int, Any]
    """By row: what ties an entry of the task queue (`Enqueue`) to its execution (`Dequeue`)."""
    sizes: dict[int, tuple[Any, Any]]
    """By row: how many elements a collective carries, and of which type."""
    arrows: dict[tuple[Any, Any, int], tuple[Any, int]]
    """By (pid, tid, start in ns) of a task: thread and time of its launch."""
    lost: int = 0
    cut_off: bool = False


@dataclass
class _Growing:
    """What is read while a file is read."""

    whats: _Ids = field(default_factory=_Ids)
    threads: _Ids = field(default_factory=_Ids)
    parts: list[tuple[Ints, Ints, Ints, Ints]] = field(default_factory=list)
    rows: int = 0
    lost: int = 0
    processes: dict[Any, str] = field(default_factory=dict)
    labels: dict[tuple[Any, Any], str] = field(default_factory=dict)
    queued: dict[int, Any] = field(default_factory=dict)
    sizes: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    starts: list[_Start] = field(default_factory=list)
    ends: list[_End] = field(default_factory=list)


def read_rows(path: AnyPath) -> Rows:
    """The file's slices. BrokenFile where there is none, or where times are beyond all sense."""
    growing, cut_off = _Growing(), False
    for piece in pieces(path, _MANY, _ONE):
        growing.lost += piece.lost
        cut_off = cut_off or piece.cut_off_at is not None
        _take(growing, piece.events)
    if not growing.rows:
        raise BrokenFile(path, "holds no events that can be read")
    start, dur, what, thread = (np.concatenate(column) for column in zip(*growing.parts, strict=True))
    if start.max() >= LATEST_NS or dur.max() >= LATEST_NS:
        raise BrokenFile(path, "holds times that lie more than a century ahead")
    return Rows(
        start_ns=start,
        dur_ns=dur,
        what=what.astype(np.int32),
        thread=thread.astype(np.int32),
        whats=tuple(growing.whats),
        threads=tuple(growing.threads),
        processes=growing.processes,
        labels=growing.labels,
        queued=growing.queued,
        sizes=growing.sizes,
        arrows=_arrows(growing.starts, growing.ends),
        lost=growing.lost,
        cut_off=cut_off,
    )


def _take(growing: _Growing, events: Sequence[Any]) -> None:
    """Adds a block. The loop is over events because the decoder makes one object per event."""
    slices: list[_Slice] = []
    for event in events:
        kind = type(event)
        if kind is _Slice:
            slices.append(event)
        elif kind is _Start and event.cat == _ARROW:
            growing.starts.append(event)
        elif kind is _End and event.cat == _ARROW:
            growing.ends.append(event)
        elif kind is _Meta:
            _name(growing, event)
    start, bad = ns_of_us([event.ts for event in slices])
    if bad.any():
        growing.lost += int(bad.sum())
        slices = [event for event, is_bad in zip(slices, bad.tolist(), strict=True) if not is_bad]
        start = start[~bad]
    if not slices:
        return
    dur, _ = ns_of_us([event.dur or b"0" for event in slices])
    what, thread = np.zeros(len(slices), dtype=np.int64), np.zeros(len(slices), dtype=np.int64)
    for place, event in enumerate(slices):
        arguments = event.args or _NO_ARGUMENTS
        what[place] = growing.whats[What(event.pid, event.cat, event.name, str(arguments.task_type or ""))]
        thread[place] = growing.threads[event.pid, event.tid]
        if arguments.queued is not None:
            growing.queued[growing.rows + place] = arguments.queued
        if arguments.data_type is not None:
            growing.sizes[growing.rows + place] = (arguments.count, arguments.data_type)
    growing.parts.append((start, np.maximum(dur, 0), what, thread))
    growing.rows += len(slices)


def _name(growing: _Growing, event: _Meta) -> None:
    text = text_of(event.args.name) if event.args else ""
    if event.name == "process_name":
        growing.processes[event.pid] = text
    elif event.name == "thread_name":
        growing.labels[event.pid, event.tid] = text


def _arrows(starts: Sequence[_Start], ends: Sequence[_End]) -> dict[tuple[Any, Any, int], tuple[Any, int]]:
    """Both ends of each arrow. One launch may have several tasks: several ends share its id."""
    left, bad = ns_of_us([event.ts for event in starts])
    launch = {
        event.id: (event.tid, time_ns)
        for event, time_ns, is_bad in zip(starts, left.tolist(), bad.tolist(), strict=True)
        if not is_bad
    }
    reached, bad = ns_of_us([event.ts for event in ends])
    return {
        (event.pid, event.tid, time_ns): launch[event.id]
        for event, time_ns, is_bad in zip(ends, reached.tolist(), bad.tolist(), strict=True)
        if not is_bad and event.id in launch
    }
