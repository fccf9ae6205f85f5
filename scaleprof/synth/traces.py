"""A rank of a synthetic job as the Trace that reading its files gives, without writing them: for sizes whose text would fill a disk.

The events are those that `writing` spells, made by the same functions; what each of them is, which call launched it and where its step ends the job
knows itself, and asks no reader. So what both ways say of a job can be held against one another.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaleprof.errors import OptionError
from scaleprof.intervals import EMPTY, Ints, Spans
from scaleprof.synth.damage import dropped_of, first_step
from scaleprof.synth.dialects import Event
from scaleprof.synth.events import Process, closing_events, device_events, host_events, thread_events
from scaleprof.synth.operations import peer_of
from scaleprof.synth.plan import ACTIVATION_BYTES, GRADIENT_BYTES, MAIN_STREAM, Segment
from scaleprof.synth.records import rank_info
from scaleprof.synth.rows import closing_rows, rows_of, table
from scaleprof.synth.spec import Spec
from scaleprof.synth.template import STEP
from scaleprof.synth.timeline import Timeline, on_host_clock
from scaleprof.trace import UNKNOWN, Comm, Copies, Events, Kind, Lanes, Names, Operations, Samples, Steps, Trace

_TIME = re.compile(r"@[sd](\d+)@")
_NUMBER = re.compile(r"@n(\d+)@")
_ON_DEVICE = ("kernel", "gpu_memcpy", "cuda_sync", "gpu_user_annotation")
_ACTIVITIES = ("kernel", "gpu_memcpy")
_CALLS = "cuda_runtime"
_MULTIPLY = ("aten::mm", "aten::_scaled_dot_product_flash_attention")
_KINDS: Sequence[tuple[str, str, Kind]] = (
    ("kernel", r"nccl.*(SendRecv|Send|Recv)", Kind.P2P),
    ("kernel", "nccl", Kind.COLLECTIVE),
    ("kernel", "", Kind.COMPUTE),
    ("gpu_memcpy", "", Kind.COPY),
    ("cuda_runtime", ".*Occupancy", Kind.OTHER),
    ("cuda_runtime", ".*Synchronize", Kind.SYNC),
    ("cuda_runtime", "", Kind.LAUNCH),
    ("cpu_op", "record_param_comms", Kind.OTHER),
    ("cpu_op", "c10d::", Kind.LAUNCH),
    ("cpu_op", "", Kind.OP),
    ("user_annotation", "enumerate", Kind.INPUT),
    ("user_annotation", "gc", Kind.GC),
    ("user_annotation", "nccl:", Kind.OTHER),
    ("user_annotation", "", Kind.PHASE),
    ("", "", Kind.OTHER),
)
"""What the events of a category whose names begin so are; the first that fits."""


def check_can_be_traced(spec: Spec) -> None:
    """OptionError for what only files can be."""
    if spec.task_ms or spec.cut_ranks or spec.lose or spec.form.old:
        raise OptionError(
            "jobs of tasks, files that lack something, and the words of 2022 are written as traces only, not as facts"
        )


def trace_of(timeline: Timeline, rank: int) -> Trace:
    """What a reader finds in the files of a rank."""
    found = _events(timeline, rank)
    order = np.argsort(found.start, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    launched_by = np.where(found.launch >= 0, place[found.launch], -1)
    names = _names(found.names)
    name, lane = found.name[order], found.lane[order]
    steps, windows = _steps(timeline, rank)
    start = found.start[order]
    step = _step_at(start, windows)
    step = np.where(found.of_step[order] >= 0, found.of_step[order], step)
    events = Events(
        start_ns=start,
        dur_ns=found.dur[order],
        name=name.astype(np.int32),
        lane=lane.astype(np.int32),
        step=step.astype(np.int32),
        link=launched_by[order].astype(np.int32),
    )
    copies = np.flatnonzero((names.kind == Kind.COPY)[name])
    multiplies = np.array([text in _MULTIPLY for text in names.text], dtype=np.bool_)
    operations = np.flatnonzero(multiplies[name])
    return Trace(
        info=rank_info(timeline, rank),
        names=names,
        lanes=found.lanes,
        events=events,
        comm=_comm(timeline, rank, events, place[found.operations], found.which),
        copies=Copies(
            copies.astype(np.int32), ("HtoD",) * len(copies), np.zeros(len(copies), dtype=np.bool_), found.copied
        ),
        steps=steps,
        samples=Samples(np.zeros(0, dtype=np.int64), {}),
        waits=EMPTY,
        operations=Operations(operations.astype(np.int32), np.full(len(operations), UNKNOWN, dtype=np.int64)),
    )


@dataclass(frozen=True)
class _Found:
    """The events of a file in its order."""

    start: Ints
    dur: Ints
    name: Ints
    """Row of `names`."""
    lane: Ints
    launch: Ints
    """Of what runs on the device the place of its call, else -1."""
    of_step: Ints
    """The step that launched it; -1 for what nothing launched."""
    operations: Ints
    """The places of communication on the device, in the order of the file."""
    which: Ints
    """Of each of these the operation within its step."""
    copied: Ints
    """Bytes of each copy."""
    names: list[tuple[str, str]]
    lanes: Lanes


@dataclass(frozen=True)
class _Part:
    """The complete events of one half of a step."""

    name: Ints
    lane: Ints
    start: Ints
    """Row of the step's table, likewise the next."""
    dur: Ints
    launch: Ints
    """Place of the call within the part, -1 for none."""
    marked: list[tuple[int, str, str]]
    """Places whose names hold the number of the step, with category and text."""
    operations: Ints
    which: Ints
    copied: Ints


@dataclass
class _Making:
    """Names and lanes get numbers in the order in which they come."""

    names: dict[tuple[str, str], int] = field(default_factory=dict)
    lanes: dict[tuple[bool, object, object], int] = field(default_factory=dict)

    def part(self, events: Sequence[Event], step: int, missing: frozenset[int] = frozenset()) -> _Part:
        """As it stands in a step; `missing` are the operations that have no kernel."""
        whole = [event for event in events if event["ph"] == "X"]
        calls = {_correlation(event): place for place, event in enumerate(whole) if event["cat"] == _CALLS}
        columns: list[tuple[int, int, int, int, int]] = []
        marked, operations, copied = [], list[int](), list[int]()
        for place, event in enumerate(whole):
            category, text = event["cat"], event["name"]
            if STEP in text:
                marked.append((place, category, text))
            number = self.names.setdefault((category, text.replace(STEP, str(step))), len(self.names))
            lane = self.lanes.setdefault((category in _ON_DEVICE, event["pid"], event["tid"]), len(self.lanes))
            is_activity = category in _ACTIVITIES
            launch = calls.get(_correlation(event), -1) if is_activity else -1
            columns.append((number, lane, _row(event["ts"]), _row(event["dur"]), launch))
            if is_activity and "nccl" in text:
                operations.append(place)
            if category == "gpu_memcpy":
                copied.append(int(event["args"]["bytes"]))
        which = [one for one in range(len(operations) + len(missing)) if one not in missing]
        numbers, lanes, starts, durs, launches = np.array(columns, dtype=np.int64).reshape(-1, 5).T
        ints = [np.array(values, dtype=np.int64) for values in (operations, which, copied)]
        return _Part(numbers, lanes, starts, durs, launches, marked, *ints)

    def numbers(self, part: _Part, step: int) -> Ints:
        """The names of a part in a step."""
        if not part.marked:
            return part.name
        names = part.name.copy()
        for place, category, text in part.marked:
            key = (category, text.replace(STEP, str(step)))
            names[place] = self.names.setdefault(key, len(self.names))
        return names


def _correlation(event: Event) -> str:
    return str(event.get("args", {}).get("correlation", ""))


def _row(mark: str) -> int:
    found = _TIME.fullmatch(mark)
    assert found is not None, f"{mark} is no time"
    return int(found[1])


def _events(timeline: Timeline, rank: int) -> _Found:
    spec, rows = timeline.spec, rows_of(timeline, rank)
    process = Process(rank, rank % spec.ranks_per_host)
    first, dropped = first_step(spec, rank), dropped_of(timeline, rank)
    steps = range(first, timeline.steps)
    times = {step: table(timeline, rank, step) for step in steps}
    making = _Making()
    parts: list[tuple[int, _Part, Ints]] = []
    for on_device in (False, True):
        usual: _Part | None = None
        for step in steps:
            missing = dropped.get(step, frozenset())
            missing = missing if on_device or spec.drop_what == "all" else frozenset()
            paused = not on_device and timeline.pause_ns(rank, step) > 0
            part = usual if usual is not None and not missing and not paused else None
            if part is None:
                events = (
                    device_events(timeline, process, rows, without=missing)
                    if on_device
                    else host_events(timeline, process, rows, paused=paused, without=missing)
                )
                part = making.part(events, step, missing)
                usual = usual if missing or paused else part
            parts.append((step, part, making.numbers(part, step)))
    closing = making.part([_without_number(event) for event in closing_events(process, 0)], -1)
    return _together(timeline, rank, parts, times, (closing, making, closing_rows(timeline, rank, first)))


def _without_number(event: Event) -> Event:
    return {"cat": "", "name": "", **event}


def _together(
    timeline: Timeline,
    rank: int,
    parts: Sequence[tuple[int, _Part, Ints]],
    times: dict[int, Spans],
    end: tuple[_Part, _Making, Spans],
) -> _Found:
    closing, making, closing_times = end
    at = np.cumsum([0, *(len(part.name) for _, part, _ in parts)])
    columns: dict[str, list[Ints]] = {}

    def add(**values: Ints) -> None:
        for name, value in values.items():
            columns.setdefault(name, []).append(value)

    for (step, part, names), before in zip(parts, at.tolist(), strict=False):
        of, launched = times[step], part.launch >= 0
        add(
            start=of.start[part.start],
            dur=of.end[part.dur] - of.start[part.dur],
            name=names,
            lane=part.lane,
            launch=np.where(launched, part.launch + before, -1),
            of_step=np.where(launched, step, -1),
            operations=part.operations + before,
            which=part.which,
            copied=part.copied,
        )
    add(
        start=closing_times.start[closing.start],
        dur=closing_times.end[closing.dur] - closing_times.start[closing.dur],
        name=closing.name,
        lane=closing.lane,
        launch=closing.launch,
        of_step=np.full(len(closing.name), -1),
    )
    lanes = _lanes(timeline, rank, list(making.lanes))
    return _Found(
        **{name: np.concatenate(value) for name, value in columns.items()}, names=list(making.names), lanes=lanes
    )


def _lanes(timeline: Timeline, rank: int, keys: Sequence[tuple[bool, object, object]]) -> Lanes:
    streams = dict.fromkeys([MAIN_STREAM, *(segment.stream for segment in timeline.plan_of(rank).operations)])
    process = Process(rank, rank % timeline.spec.ranks_per_host)
    said = {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in thread_events(process, tuple(streams))
        if event["name"] == "thread_name"
    }
    numbers = [tid if isinstance(tid, int) else -2 - place for place, (_, _, tid) in enumerate(keys)]
    return Lanes(
        device=np.array([pid if on_device else -1 for on_device, pid, _ in keys], dtype=np.int32),
        stream=np.array(numbers, dtype=np.int64),
        label=tuple(said.get((pid, tid)) or (tid if isinstance(tid, str) else "") for _, pid, tid in keys),
    )


def _names(names: Sequence[tuple[str, str]]) -> Names:
    kinds = [
        next(kind for of, begin, kind in _KINDS if of in ("", category) and re.match(begin, text))
        for category, text in names
    ]
    return Names(
        text=tuple(text for _, text in names),
        category=tuple(category for category, _ in names),
        kind=np.array(kinds, dtype=np.uint8),
        by_rule=np.ones(len(names), dtype=np.bool_),
    )


def _comm(timeline: Timeline, rank: int, events: Events, rows: Ints, which: Ints) -> Comm:
    """The operations in the order in which the host launched them."""
    link = events.link[rows]
    issued = events.start_ns[link]
    order = np.lexsort((events.start_ns[rows], issued))
    rows, which, issued = rows[order], which[order], issued[order]
    plan, mesh = timeline.plan_of(rank), timeline.mesh
    of, step = plan.operations, events.step[rows].astype(np.int64)
    numbers = np.array(plan.numbers, dtype=np.int64).reshape(-1, 2)
    seq = numbers[which, 0] + step * numbers[which, 1] if timeline.spec.form.seq else np.full(len(rows), UNKNOWN)
    peers = np.array([peer_of(mesh, one, rank) if one.peer else UNKNOWN for one in of], dtype=np.int32)
    bytes = np.array([_whole_elements(one) for one in of], dtype=np.int64)
    groups = [mesh.dimensions[one.group].group_name(rank) for one in of]
    dtypes = ["Float" if one.group == "dp" else "BFloat16" for one in of]
    places = which.tolist()
    return Comm(
        row=rows.astype(np.int32),
        issued_ns=issued,
        op=tuple(of[place].phase for place in places),
        bytes=bytes[which],
        dtype=tuple(dtypes[place] for place in places),
        group=tuple(groups[place] for place in places),
        seq=seq,
        peer=peers[which],
    )


def _whole_elements(segment: Segment) -> int:
    size = GRADIENT_BYTES if segment.group == "dp" else ACTIVATION_BYTES
    return segment.bytes // size * size


def _steps(timeline: Timeline, rank: int) -> tuple[Steps, Spans]:
    """The steps of a rank; profiled ones end where their compute does, and the first of them has no beginning."""
    spec, first = timeline.spec, first_step(timeline.spec, rank)
    bounds = on_host_clock(spec, rank, timeline.host_start_ns[rank])
    host = Spans(bounds[:-1], bounds[1:])
    count = timeline.steps
    index = np.arange(count, dtype=np.int64)
    compute = timeline.plan_of(rank).kernels_of(Kind.COMPUTE)
    cuts = np.maximum.accumulate(on_host_clock(spec, rank, timeline.end_ns[rank][:, compute]).max(axis=1))
    known: NDArray[np.bool_] = index >= first
    end = np.maximum.accumulate(np.where(known, cuts, host.end))
    before = np.concatenate((host.start[:1], end[:-1]))
    follows = np.concatenate(([False], known[:-1]))
    start = np.where(known & follows, before, np.maximum(host.start, before))
    windows = Spans(start, np.maximum(end, start))
    nothing = np.full(count, UNKNOWN, dtype=np.int64)
    steps = Steps(
        index=index,
        start_ns=windows.start,
        end_ns=windows.end,
        host_start_ns=host.start,
        host_end_ns=host.end,
        samples=np.full(count, float(spec.samples)),
        blocked_ns=nothing,
        input_ns=np.array([timeline.input_ns(rank, step) for step in range(count)], dtype=np.int64),
        runq_ns=nothing,
        cpu_ns=nothing,
        device_ns=nothing,
        profiled=known & follows,
        perturbed=index == first,
    )
    return steps, windows


def _step_at(times: Ints, windows: Spans) -> Ints:
    place = np.searchsorted(windows.start, times, side="right") - 1
    inside = (place >= 0) & (times < windows.end[np.maximum(place, 0)])
    return np.where(inside, place, -1)
