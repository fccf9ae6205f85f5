"""What the readers share: a reader's entry in the list, what a file says about itself, and the raw columns that become a Trace."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.remote import AnyPath
from scaleprof.run import ProcessGroup, RankFiles
from scaleprof.trace import UNKNOWN, Ids, Trace


@dataclass(frozen=True)
class FileFacts:
    """What a foreign trace file says about itself, for grouping files into runs; unknown is None or empty."""

    path: AnyPath
    rank: int | None = None
    world_size: int | None = None
    host: str | None = None
    pid: int | None = None
    backend: str | None = None
    device: str | None = None
    device_name: str | None = None
    process_groups: tuple[ProcessGroup, ...] = ()
    synthetic: bool = False
    """It says that it was computed, not recorded."""
    span_us: tuple[float, float] | None = None
    """About the first and last time in the file, on its own clock: only to see whether two files overlap."""
    late_us: Callable[[], float | None] | None = None
    """Finds the last time where that means inflating the file to its end; `span_us` holds the first time twice then."""
    folder: AnyPath | None = None
    """The folder of the run, where each rank has a folder of its own below it; None where the file's own folder is it."""
    devices: int = 1
    """How many devices have events of their own in the file: each is a rank, `rank` being the process's place among others like it."""

    def whole_span_us(self) -> tuple[float, float] | None:
        """The span, its end looked for if need be."""
        if self.span_us is None or self.late_us is None:
            return self.span_us
        late = self.late_us()
        return None if late is None else (self.span_us[0], max(self.span_us[0], late))


@dataclass(frozen=True)
class Reader:
    """One kind of recording that can be read."""

    name: str
    recognises: str
    """What it reads, in one sentence."""
    read: Callable[[RankFiles, Sequence[str]], Trace]
    """Makes the files of a rank a Trace; the second argument are the user's patterns of names that communicate."""
    facts_of: Callable[[AnyPath], FileFacts | None] | None = None
    """Looks into a file without reading it all; None means another kind of file. Raises BrokenFile for one that nothing can read.
    Absent where a reader's runs are recognised by their folders."""


class LaneKey(NamedTuple):
    """A thread of the host or a stream of a device, as the file names it."""

    on_device: bool
    pid: Any
    tid: Any


@dataclass(frozen=True)
class CommNote:
    """What an event's arguments say about a collective; absent is empty or UNKNOWN."""

    op: str = ""
    in_elements: int = UNKNOWN
    out_elements: int = UNKNOWN
    dtype: str = ""
    group: str = ""
    group_size: int = UNKNOWN
    seq: int = UNKNOWN
    peer: int = UNKNOWN
    ranks: str = ""
    """The ranks of the group as text; long lists are cut short."""


@dataclass(frozen=True)
class Columns:
    """The complete events of one rank's files, in file order, before they are understood."""

    start_ns: Ints
    dur_ns: Ints
    name: Ids
    lane: Ids
    correlation: Ints
    """The id that ties a launch to its device activities, within one file; UNKNOWN where there is none."""
    file: NDArray[np.int16]
    copied: tuple[Ints, Ints]
    """Rows of memory copies and fills whose size is known, ascending, and the bytes."""
    names: Sequence[tuple[str, str]]
    """Distinct (category, name)."""
    lanes: Sequence[LaneKey]
    lane_labels: Mapping[LaneKey, str]
    notes: Mapping[int, CommNote]
    """By row: the few events that say something about a collective."""
    operations: tuple[Ints, Ints] = field(default_factory=lambda: (np.zeros(0, np.int64), np.zeros(0, np.int64)))
    """Rows of operators that multiply matrices, convolve or attend, ascending, and their floating-point operations: UNKNOWN where nothing
    says how many."""
    awaiting: tuple[Ints, Ints] = field(default_factory=lambda: (np.zeros(0, np.int64), np.zeros(0, np.int64)))
    """Rows in which a stream is told to wait for another, ascending, and for what: a place in `awaited`."""
    awaited: Sequence[tuple[int, int]] = ()
    """Distinct (stream, correlation id of the call that recorded the event on it); UNKNOWN where the file does not say it."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The top-level keys of the first file."""
    unread: frozenset[int] = frozenset()
    """The files that could not be read."""
    cut_off: frozenset[int] = frozenset()
    """The files that end too early."""
    caveats: tuple[str, ...] = ()
    extra: Mapping[str, int] = field(default_factory=dict)
