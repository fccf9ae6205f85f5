"""The lines of a rank: its events by thread and stream, and what is recorded beside them: steps, waits, pauses, tasks, issued operations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.export.selection import inside
from scaleprof.intervals import Ints
from scaleprof.trace import UNKNOWN, Kind, Trace

Text = tuple[str, str]
"""Name and category."""
LONGEST = 500
"""Letters of a name; some kernels are called a page full."""
Placed = Callable[[Ints], Ints]
_ISSUED = "communication, as issued"


@dataclass(frozen=True)
class Lane:
    """One line of a rank in the order of its source; times in ns of the file."""

    label: str
    texts: Sequence[Text]
    name: Ints
    """In `texts`."""
    start: Ints
    end: Ints
    row: Ints
    """Of each slice the event, or -1."""
    args: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    """What is known besides, by place."""
    operation: Ints | None = None
    """Of each slice the operation of the rank that it stands for, if it is no event."""

    def __len__(self) -> int:
        return len(self.start)


def shortened(text: str, most: int = LONGEST) -> str:
    """A text that is not too long for a name."""
    return text if len(text) <= most else text[: most - 1] + "…"


def texts_of(trace: Trace) -> list[Text]:
    """Names and categories of events: the source's category, and what this project takes the event for."""
    kinds = [Kind(kind).name.lower() for kind in trace.names.kind.tolist()]
    return [
        (shortened(text), shortened(category, 60) if kind == "other" else f"{shortened(category, 60)},{kind}")
        for text, category, kind in zip(trace.names.text, trace.names.category, kinds, strict=True)
    ]


def told_lanes(trace: Trace, placed: Placed, window: tuple[int, int], steps: tuple[int, int] | None) -> list[Lane]:
    """What is recorded beside the events, as far as it lies in the window; of steps only those that were asked for, if any were."""
    lanes = [
        _lane(trace, one, placed, window)
        for one in (_steps(trace, steps), _blocked(trace), _pauses(trace), _tasks(trace), _issued(trace))
        if one is not None
    ]
    return [lane for lane in lanes if len(lane)]


@dataclass(frozen=True)
class _Told:
    """Slices on the rank's own clock."""

    label: str
    start: Ints
    end: Ints
    text: Sequence[Text]
    """One for each."""
    args: Sequence[dict[str, Any]] = ()
    operation: Ints | None = None


def _lane(trace: Trace, told: _Told, placed: Placed, window: tuple[int, int]) -> Lane:
    start, end = placed(told.start), placed(told.end)
    rows = inside(start, end, window)
    texts = list(dict.fromkeys(told.text))
    number = {text: place for place, text in enumerate(texts)}
    name = np.array([number[told.text[row]] for row in rows.tolist()], dtype=np.int64)
    args = {place: told.args[row] for place, row in enumerate(rows.tolist()) if told.args and told.args[row]}
    none = np.full(len(rows), -1, dtype=np.int64)
    operation = None if told.operation is None else told.operation[rows]
    return Lane(told.label, texts, name, start[rows], end[rows], none, args, operation)


def _steps(trace: Trace, chosen: tuple[int, int] | None) -> _Told:
    steps = trace.steps
    rows = np.arange(len(steps))
    if chosen is not None:
        rows = rows[(steps.index >= chosen[0]) & (steps.index <= chosen[1])]
    return _Told(
        "steps",
        steps.start_ns[rows],
        steps.end_ns[rows],
        [(f"step {number}", "step") for number in steps.index[rows].tolist()],
        [{"samples": taken} if taken == taken else {} for taken in steps.samples[rows].tolist()],
    )


def _blocked(trace: Trace) -> _Told:
    """The waits one by one, else those of which nothing but the time is known."""
    blocked, waits = trace.blocked, trace.waits
    if not len(blocked.start_ns):
        return _Told("waits", waits.start, waits.end, [("blocked", "blocked")] * len(waits.start))
    names = [
        shortened(f"{what} of {op}" if op else what, 100)
        for what, op in zip(blocked.what, _awaited(trace), strict=True)
    ]
    return _Told("waits", blocked.start_ns, blocked.start_ns + blocked.dur_ns, [(name, "blocked") for name in names])


def _awaited(trace: Trace) -> list[str]:
    comm = trace.comm
    return [
        comm.op[row] if row >= 0 else op for row, op in zip(trace.blocked.comm.tolist(), trace.blocked.op, strict=True)
    ]


def _pauses(trace: Trace) -> _Told:
    texts = texts_of(trace)
    return _Told("pauses", *trace.pauses.spans, [texts[name] for name in trace.pauses.name.tolist()])


def _tasks(trace: Trace) -> _Told:
    """A task that never ended lasts until the last step or event that is known."""
    tasks = trace.tasks
    ended = tasks.end_ns != UNKNOWN
    last = max(
        [
            int(one.max())
            for one in (trace.steps.host_end_ns, trace.events.start_ns, tasks.end_ns, tasks.start_ns)
            if len(one)
        ],
        default=0,
    )
    args = [
        {"error": shortened(error, 100)} if error else {} if has_ended else {"ended": False}
        for error, has_ended in zip(tasks.error, ended.tolist(), strict=True)
    ]
    names: list[Text] = [(shortened(f"task {name}"), "task") for name in tasks.name]
    return _Told("tasks", tasks.start_ns, np.where(ended, tasks.end_ns, np.maximum(last, tasks.start_ns)), names, args)


def _issued(trace: Trace) -> _Told:
    """Operations of which only the time of their issue is known."""
    comm = trace.comm
    rows = np.flatnonzero((comm.row < 0) & (comm.issued_ns != UNKNOWN))
    when = comm.issued_ns[rows]
    return _Told(
        _ISSUED, when, when, [(shortened(comm.op[row], 100), "issued") for row in rows.tolist()], operation=rows
    )


def event_lanes(trace: Trace, rows: Ints, start: Ints, end: Ints) -> Iterator[Lane]:
    """The chosen events by lane: streams of devices first, then threads that communicate, then the others, those with most events first. `start` and
    `end` of all events, in ns of the file."""
    texts = texts_of(trace)
    by_lane = rows[np.argsort(trace.events.lane[rows], kind="stable")]
    numbers, first, counts = np.unique(trace.events.lane[by_lane], return_index=True, return_counts=True)
    device, stream = trace.lanes.device[numbers], trace.lanes.stream[numbers]
    communicates = np.isin(numbers, trace.events.lane[trace.comm.row[trace.comm.row >= 0]] if len(trace.events) else [])
    on_device: NDArray[np.bool_] = device >= 0
    order = np.lexsort((np.where(on_device, stream, -counts), device, ~communicates & ~on_device, ~on_device))
    has_several = len(np.unique(trace.lanes.device[trace.lanes.device >= 0])) > 1
    for place in order.tolist():
        here = by_lane[first[place] : first[place] + counts[place]]
        label = _label(trace, int(numbers[place]), has_several_devices=has_several)
        yield Lane(label, texts, trace.events.name[here].astype(np.int64), start[here], end[here], here)


def _label(trace: Trace, lane: int, *, has_several_devices: bool) -> str:
    """As the source calls it, else by number; where a process has several devices, with the device's."""
    lanes = trace.lanes
    device, stream, said = int(lanes.device[lane]), int(lanes.stream[lane]), lanes.label[lane].strip()
    name = said or (f"stream {stream}" if device >= 0 else f"thread {stream}")
    return shortened(f"device {device}, {name}" if device >= 0 and has_several_devices else name, 100)
