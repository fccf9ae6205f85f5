"""Trace: everything one rank recorded, as columns. Made by a reader, checked when made, never changed afterwards.

Times are int64 ns of unix time. The core table is narrow (32 bytes an event); side tables refer to its rows. What an event *is* belongs to
its name: `names.kind` is decided once per distinct (category, name), so classifying a million events is one `take`.
Only this file names the event schema.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints, Spans
from scaleprof.run import RankInfo

Ids = NDArray[np.int32]
Floats = NDArray[np.float64]
UNKNOWN = -1
"""In integer columns that cannot be negative: not recorded."""


class Kind(IntEnum):
    """What an event is. The first four keep a device (or gloo's worker threads) busy, the others stand on host threads."""

    OTHER = 0
    """Annotations, mirrors of host spans on the device, anything that takes no part in the time account."""
    COMPUTE = 1
    COLLECTIVE = 2
    P2P = 3
    COPY = 4
    OP = 5
    LAUNCH = 6
    SYNC = 7
    WAIT = 8
    INPUT = 9
    ALLOC = 10
    COMPILE = 11
    GC = 12
    CHECKPOINT = 13
    IO = 14
    PHASE = 15


@dataclass(frozen=True)
class Names:
    """The distinct (category, name) pairs of a trace."""

    text: tuple[str, ...]
    category: tuple[str, ...]
    kind: NDArray[np.uint8]
    by_rule: NDArray[np.bool_]
    """False where no rule knew the name and its kind is the category's default: these are listed as unclassified."""


@dataclass(frozen=True)
class Lanes:
    """Where events run: one lane is a stream of a device or a thread of the host."""

    device: Ids
    """Device index, or -1 for a host thread."""
    stream: Ints
    """Stream number or thread id."""
    label: tuple[str, ...]


@dataclass(frozen=True)
class Events:
    """The core table, sorted by start."""

    start_ns: Ints
    dur_ns: Ints
    name: Ids
    """Row in `Names`."""
    lane: Ids
    """Row in `Lanes`."""
    step: Ids
    """Row in `Steps` this event belongs to (a device activity to the step that launched it), or -1."""
    link: Ids
    """For a device activity: the row of the event that launched it, or -1 if that is not in the file."""

    def __len__(self) -> int:
        return len(self.start_ns)

    def spans(self, rows: NDArray[np.bool_] | Ints | slice = slice(None)) -> Spans:
        """The intervals of chosen rows."""
        start = self.start_ns[rows]
        return Spans(start, start + self.dur_ns[rows])


@dataclass(frozen=True)
class Comm:
    """Collectives and point-to-point transfers, in the order they were issued; one row each."""

    row: Ids
    """Row in `Events` of the activity that carried it out, or -1 where it was only recorded as issued."""
    issued_ns: Ints
    """When the calling thread issued it; UNKNOWN where not recorded."""
    op: tuple[str, ...]
    """all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, reduce, gather, scatter, barrier, send, recv, or what the trace calls it."""
    bytes: Ints
    """The large side of the operation (`method`: nccl-tests' size); UNKNOWN where not recorded."""
    dtype: tuple[str, ...]
    group: tuple[str, ...]
    """Process group name; empty where not recorded."""
    seq: Ints
    """Sequence number within the group; UNKNOWN where not recorded."""
    peer: Ids
    """The other rank of a point-to-point transfer, or -1."""


@dataclass(frozen=True)
class Copies:
    """Memory copies and fills on a device."""

    row: Ids
    direction: tuple[str, ...]
    """HtoD, DtoH, DtoD, PtoP, memset, or empty where unknown."""
    pageable: NDArray[np.bool_]
    bytes: Ints


@dataclass(frozen=True)
class Operations:
    """Operators that multiply matrices, convolve or attend. One may contain another; who adds them up takes the innermost."""

    row: Ids
    """Row in `Events`, ascending."""
    flops: Ints
    """Floating-point operations, a multiplication with its addition being two; UNKNOWN where its inputs were not recorded."""


_NO_OPERATIONS = Operations(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class StreamWaits:
    """Where a stream of a device was told to wait for another, as the profiler recorded it; one row each, in the order of the calls."""

    lane: Ids = field(default_factory=lambda: np.zeros(0, np.int32))
    """Row in `Lanes` of the stream that waits."""
    called_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """What is launched on it from then on waits."""
    on: Ids = field(default_factory=lambda: np.zeros(0, np.int32))
    """Row in `Lanes` of the stream that is waited for."""
    recorded_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """What was launched on that one before then is waited for."""


@dataclass(frozen=True)
class Steps:
    """The steps of this rank, in order; `[start_ns, end_ns)` is the window that the time account divides."""

    index: Ints
    """The step's own number."""
    start_ns: Ints
    end_ns: Ints
    """Device cut points on an accelerator, the host's boundaries elsewhere."""
    host_start_ns: Ints
    host_end_ns: Ints
    samples: Floats
    """Samples this rank took in the step; NaN where unknown."""
    blocked_ns: Ints
    """Time the calling thread was blocked at wait points; UNKNOWN where not measured. Likewise the next three."""
    input_ns: Ints
    runq_ns: Ints
    """Time the calling thread could run but had no core."""
    cpu_ns: Ints
    device_ns: Ints
    """How long the device took for the step by its own clock, where no profiler ran; the host may be far ahead of it. UNKNOWN where not measured."""
    profiled: NDArray[np.bool_]
    """The whole step lies inside a profiler window."""
    perturbed: NDArray[np.bool_]
    """The profiler was started or stopped beside this step, or a window cut it: leave it out of statistics."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def windows(self) -> Spans:
        """`[start_ns, end_ns)` of all steps."""
        return Spans(self.start_ns, self.end_ns)


@dataclass(frozen=True)
class Samples:
    """Counters sampled beside the training, one row a sample."""

    time_ns: Ints
    values: dict[str, Floats]
    """One column per counter that exists; a missing sample is NaN. Units are in the names: `rss_bytes`, `gpu_power_w`."""


@dataclass(frozen=True)
class Blocked:
    """When the calling thread was blocked in communication, one row a wait, in order of time."""

    start_ns: Ints
    dur_ns: Ints
    what: tuple[str, ...]
    """`Work.wait`, `wait_tensor` or `backward_tail`."""
    op: tuple[str, ...]
    """The operation waited for, where the wait point says it; else empty."""
    comm: Ids
    """Row in `Comm` of the operation that ended the wait, or -1 where that cannot be told."""


@dataclass(frozen=True)
class Tasks:
    """Independent tasks that the training named, one row each."""

    number: Ints
    name: tuple[str, ...]
    parent: Ints
    """Number of the task around it, or UNKNOWN."""
    start_ns: Ints
    end_ns: Ints
    """UNKNOWN for a task that never ended."""
    steps: Ints
    error: tuple[str, ...]
    """The class of the exception that ended it; else empty."""


def _no_blocked() -> Blocked:
    empty = np.zeros(0, dtype=np.int64)
    return Blocked(empty, empty, (), (), empty.astype(np.int32))


def _no_tasks() -> Tasks:
    empty = np.zeros(0, dtype=np.int64)
    return Tasks(empty, (), empty, empty, empty, empty, ())


@dataclass(frozen=True)
class Pauses:
    """When the interpreter stopped for something that is no training, one row a pause, in order of time."""

    start_ns: Ints
    dur_ns: Ints
    name: Ints
    """Row in `Names`, whose kind is `Kind.GC` or `Kind.COMPILE`."""

    @property
    def spans(self) -> Spans:
        """Start and end of each."""
        return Spans(self.start_ns, self.start_ns + self.dur_ns)


def _no_pauses() -> Pauses:
    nothing = np.zeros(0, dtype=np.int64)
    return Pauses(nothing, nothing, nothing)


@dataclass(frozen=True)
class Trace:
    """One process."""

    info: RankInfo
    names: Names
    lanes: Lanes
    events: Events
    comm: Comm
    copies: Copies
    steps: Steps
    samples: Samples
    waits: Spans
    """When the calling thread was blocked in communication; empty where not recorded."""
    operations: Operations = _NO_OPERATIONS
    caveats: tuple[str, ...] = ()
    """What the reader could not read or had to guess, one sentence each."""
    step_source: str = "recorded"
    """`recorded`, `annotations` (ProfilerStep and its kin), `rounds` of the same tensors, `lone step`, or `whole trace`."""
    blocked: Blocked = field(default_factory=_no_blocked)
    """The waits one by one; empty where not recorded."""
    tasks: Tasks = field(default_factory=_no_tasks)
    pauses: Pauses = field(default_factory=_no_pauses)
    stream_waits: StreamWaits = field(default_factory=StreamWaits)
    extra: dict[str, int] = field(default_factory=dict)
    """Counts a reader wants shown: events_lost, device_events_without_launch, ..."""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def rank(self) -> int:
        """This process's rank."""
        return self.info.rank

    @property
    def kinds(self) -> NDArray[np.uint8]:
        """The kind of every event."""
        return self.names.kind[self.events.name]

    @property
    def on_device(self) -> NDArray[np.bool_]:
        """Which events ran on an accelerator."""
        return self.lanes.device[self.events.lane] >= 0

    @property
    def has_device(self) -> bool:
        """Whether any event ran on an accelerator."""
        return bool((self.lanes.device >= 0).any())


def _check(trace: Trace) -> None:
    events, steps = trace.events, trace.steps
    lengths = {len(getattr(events, column)) for column in ("start_ns", "dur_ns", "name", "lane", "step", "link")}
    assert len(lengths) == 1, f"event columns of different lengths: {lengths}"
    assert len(trace.names.text) == len(trace.names.category) == len(trace.names.kind) == len(trace.names.by_rule)
    assert len(trace.lanes.device) == len(trace.lanes.stream) == len(trace.lanes.label)
    if len(events):
        assert (events.start_ns[1:] >= events.start_ns[:-1]).all(), "events must be sorted by start"
        assert (events.dur_ns >= 0).all(), "durations must not be negative"
        assert events.name.min() >= 0 and events.name.max() < len(trace.names.text)
        assert events.lane.min() >= 0 and events.lane.max() < len(trace.lanes.device)
        assert events.link.max() < len(events) and events.step.max() < len(steps)
    for column in (events.start_ns, events.dur_ns, steps.start_ns, steps.end_ns, trace.comm.bytes):
        assert column.dtype == np.int64, "times and bytes are int64"
    assert (steps.end_ns >= steps.start_ns).all(), "a step must not end before it starts"
    assert (steps.start_ns[1:] >= steps.end_ns[:-1]).all(), "steps must not overlap"
    comm, copies = trace.comm, trace.copies
    columns_of_comm = (comm.row, comm.issued_ns, comm.op, comm.bytes, comm.dtype, comm.group, comm.seq, comm.peer)
    assert len({len(column) for column in columns_of_comm}) == 1, "comm columns of different lengths"
    assert len({len(column) for column in (copies.row, copies.direction, copies.pageable, copies.bytes)}) == 1
    assert len(comm.row) == 0 or comm.row.max() < len(events), "comm refers to rows of events"
    operations = trace.operations
    assert len(operations.row) == len(operations.flops), "columns of operations of different lengths"
    assert (np.diff(operations.row) > 0).all() and (operations.row < len(events)).all(), (
        "operations refer to rows in order"
    )
    assert operations.flops.dtype == np.int64, "operations are counted in int64"
