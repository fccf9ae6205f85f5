"""The events of a step as torch.profiler would record them: one list for what stands on host threads, one for launches and the device.

These are made once per file; times and numbers are `template` marks. What must not be counted is there, too: the mirrors of annotations on
the device, the waits of streams, collectives told three times.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from scaleprof.synth.dialects import Event
from scaleprof.synth.names import FRAMES, Work, kernel_of, work_of
from scaleprof.synth.operations import about, title_of, told_rank
from scaleprof.synth.plan import ACTIVATION_BYTES, GRADIENT_BYTES, MAIN_STREAM, Segment
from scaleprof.synth.rows import EVENTS_PER_STACK, FRAMES_PER_STACK, Rows
from scaleprof.synth.template import STEP, duration, number, start
from scaleprof.synth.timeline import Timeline
from scaleprof.trace import Kind

COPY_BYTES_PER_NS = 25
_FIRST_PID = 20_000
_BYTES_ALLOCATED = 4096
_NOTHING: Collection[int] = frozenset()


@dataclass(frozen=True)
class Process:
    """Where a rank's events stand."""

    rank: int
    device: int

    @property
    def pid(self) -> int:
        """The process, and its main thread."""
        return _FIRST_PID + 10 * self.device

    @property
    def autograd(self) -> int:
        """The thread of the backward pass."""
        return self.pid + 1

    @property
    def loader(self) -> int:
        """A thread of Python that does nothing for the step: its stacks fill the file."""
        return self.pid + 2

    def thread_of(self, segment: Segment) -> int:
        """The thread that launches a segment."""
        return self.autograd if segment.backward else self.pid


@dataclass(frozen=True)
class Place:
    """One kernel of a step: which, of what, and in which segment."""

    kernel: int
    work: Work
    segment: Segment
    operation: int
    """Which operation of communication of the step it is, or that comes next."""


def stride_of(timeline: Timeline, rank: int) -> int:
    """By how much numbers grow from step to step: those of a step are below the first stride."""
    plan = timeline.plan_of(rank)
    return (
        max(3 * plan.kernels, timeline.spec.stack_events) + 2 * len(plan.operations) + timeline.spec.micro_batches + 16
    )


def host_events(
    timeline: Timeline, process: Process, rows: Rows, *, paused: bool = False, without: Collection[int] = _NOTHING
) -> list[Event]:
    """Annotations, operators, stacks; `paused`: with the pause of the host, `without`: not what is said of these operations."""
    spec, kernels = timeline.spec, timeline.plan_of(process.rank).kernels
    events = [
        _complete("user_annotation", name, process.pid, process.pid, row, _numbered(kernels + 1 + place))
        for place, (row, name) in enumerate(_annotations(timeline, rows, paused=paused))
    ]
    whole_pass = (kernels_of_pass := _kernels_of_pass(timeline, process.rank)) - 1
    passed: dict[tuple[str, int], int] = {}
    for place in _places(timeline, process.rank):
        segment, thread = place.segment, process.thread_of(place.segment)
        if not spec.communication_only:
            events += _operator(place, process, rows)
        if segment.kind == Kind.COMPUTE and segment.phase != "optimizer" and not spec.communication_only:
            is_backward = segment.backward
            seen = passed[segment.phase, segment.micro_batch] = passed.get((segment.phase, segment.micro_batch), -1) + 1
            arrow = segment.micro_batch * kernels_of_pass + (whole_pass - seen if is_backward else seen) + 1
            row = rows("operator", place.kernel)
            events.append(_flow("fwdbwd", "f" if is_backward else "s", arrow, process.pid, thread, row))
        if segment.communicates and place.operation not in without:
            events += _told(timeline, place, process, rows)
    return events + list(_stack_events(timeline, process, rows))


def device_events(
    timeline: Timeline, process: Process, rows: Rows, *, without: Collection[int] = _NOTHING
) -> list[Event]:
    """Calls of the runtime, kernels, and the flows between them; the mirrors of annotations. The operations in `without` have no kernel."""
    events = []
    for place in _places(timeline, process.rank):
        call, row, ident = rows("call", place.kernel), rows("kernel", place.kernel), place.kernel + 1
        thread, segment = process.thread_of(place.segment), place.segment
        if place.work.asks and not timeline.spec.communication_only:
            events += _question(timeline, place, process, rows)
        is_copy = segment.kind == Kind.COPY
        name, cbid = ("cudaMemcpyAsync", 41) if is_copy else ("cudaLaunchKernel", 211)
        args = {"External id": number(ident), "cbid": cbid, "correlation": number(ident)}
        events.append(_complete("cuda_runtime", name, process.pid, thread, call, args))
        events.append(_flow("ac2g", "s", ident, process.pid, thread, call))
        if segment.communicates and place.operation in without:
            continue
        events.append(_activity(timeline, place, process, row))
        events.append(_flow("ac2g", "f", ident, process.device, segment.stream, row))
        if segment.communicates:
            title = title_of(timeline.mesh, segment, process.rank)
            events.append(_mirror(title, process, row, {"External id": number(ident)}, stream=segment.stream))
    return [*events, *_end_of_step(timeline, process, rows)]


def _end_of_step(timeline: Timeline, process: Process, rows: Rows) -> list[Event]:
    """The call in which the host waits for the device, and the step's mirror."""
    kernels = timeline.plan_of(process.rank).kernels
    events = []
    sync = number(kernels + 1)
    name = "cudaDeviceSynchronize" if timeline.spec.run_ahead == 0 else "cudaEventSynchronize"
    events.append(
        _complete("cuda_runtime", name, process.pid, process.pid, rows("sync"), {"cbid": 165, "correlation": sync})
    )
    waited = {
        "cuda_sync_kind": "Context Sync",
        "stream": MAIN_STREAM,
        "correlation": sync,
        "device": process.device,
        "context": 1,
    }
    events.append(_complete("cuda_sync", "Context Sync", process.device, MAIN_STREAM, rows("sync"), waited))
    mirror = {"External id": number(kernels + 1)}
    events.append(_mirror(f"ProfilerStep#{STEP}", process, rows("mirror"), mirror, stream=MAIN_STREAM))
    return events


def thread_events(process: Process, streams: tuple[int, ...]) -> list[Event]:
    """What names processes, threads and streams; at row 0 of the closing rows."""
    host = [
        ("process_name", process.pid, 0, {"name": "python"}),
        ("process_labels", process.pid, 0, {"labels": "CPU"}),
        ("process_sort_index", process.pid, 0, {"sort_index": process.pid}),
        ("process_name", process.device, 0, {"name": "python"}),
        ("process_labels", process.device, 0, {"labels": f"GPU {process.device}"}),
        ("process_sort_index", process.device, 0, {"sort_index": 5_000_000 + process.device}),
    ]
    for pid, tid, label in [
        *((process.pid, tid, f"thread {tid} (python)") for tid in (process.pid, process.autograd, process.loader)),
        *((process.device, stream, f"stream {stream} ") for stream in streams),
    ]:
        host.append(("thread_name", pid, tid, {"name": label}))
        host.append(("thread_sort_index", pid, tid, {"sort_index": tid}))
    return [
        {"name": name, "ph": "M", "ts": start(0), "pid": pid, "tid": tid, "args": args} for name, pid, tid, args in host
    ]


def closing_events(process: Process, last: int) -> list[Event]:
    """The call with which the profiler waits for the device, its own span, and its marks; rows are the closing rows."""
    call = _complete(
        "cuda_runtime", "cudaDeviceSynchronize", process.pid, process.pid, 1, {"cbid": 165, "correlation": last}
    )
    trace: Event = {
        "ph": "X",
        "cat": "Trace",
        "ts": start(0),
        "dur": duration(0),
        "pid": "Spans",
        "tid": "PyTorch Profiler",
    }
    begun: Event = {"name": "Iteration Start: PyTorch Profiler", "ph": "i", "s": "g", "pid": "Traces"}
    ended: Event = {"name": "Record Window End", "ph": "i", "s": "g", "pid": "", "tid": "", "ts": start(2)}
    return [
        call,
        {**trace, "name": "PyTorch Profiler (0)", "args": {"Op count": 0}},
        {**begun, "tid": "Trace PyTorch Profiler", "ts": start(0)},
        ended,
    ]


def _places(timeline: Timeline, rank: int) -> Iterator[Place]:
    """The kernels of a step, in the order of launch."""
    kernel = operation = 0
    for segment in timeline.plan_of(rank).segments:
        per_layer = timeline.spec.kernels_per_layer
        for work in work_of(segment.phase, len(segment), per_layer=per_layer, first=segment.place):
            yield Place(kernel, work, segment, operation)
            kernel += 1
        operation += segment.communicates


def _annotations(timeline: Timeline, rows: Rows, *, paused: bool) -> Iterator[tuple[int, str]]:
    """Rows and names of what the training and the profiler mark on the main thread."""
    spec = timeline.spec
    yield rows("step"), f"ProfilerStep#{STEP}"
    if spec.input_ms > 0 or (spec.late_cause == "input" and spec.late_ms > 0):
        yield rows("input"), "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"
    if paused:
        yield rows("pause"), "gc.collect"
    for batch in range(spec.micro_batches):
        if spec.pipeline > 1:
            yield rows("forward", batch), f"Forward {batch}"
        elif spec.strategy == "ddp":
            yield rows("forward", batch), "DistributedDataParallel.forward"
    yield rows("optimizer"), "Optimizer.step#AdamW.step"


def _kernels_of_pass(timeline: Timeline, rank: int) -> int:
    """Kernels of one forward pass of a rank."""
    segments = timeline.plan_of(rank).segments
    return sum(len(one) for one in segments if one.phase == "forward" and one.micro_batch == 0)


def _complete(category: str, name: str, pid: int, tid: int, row: int, args: dict[str, Any]) -> Event:
    return {
        "ph": "X",
        "cat": category,
        "name": name,
        "pid": pid,
        "tid": tid,
        "ts": start(row),
        "dur": duration(row),
        "args": args,
    }


def _numbered(ident: int) -> dict[str, Any]:
    return {"External id": number(ident), "Record function id": 0, "Ev Idx": number(ident)}


def _flow(category: str, phase: str, ident: int, pid: int, tid: int, row: int) -> Event:
    """An arrow's start (`s`) or end (`f`)."""
    flow = {"ph": phase, "id": number(ident), "pid": pid, "tid": tid, "ts": start(row)}
    return {**flow, "cat": category, "name": category, **({"bp": "e"} if phase == "f" else {})}


def _operator(place: Place, process: Process, rows: Rows) -> list[Event]:
    """The operator of a kernel, and the memory that it takes."""
    row, thread, ident = (
        rows("operator", place.kernel),
        process.thread_of(place.segment),
        number(place.kernel + 1),
    )
    args: dict[str, Any] = {"External id": ident, "Record function id": 0}
    if place.segment.phase == "backward":
        args |= {"Sequence number": ident, "Fwd thread id": 1}
    args["Ev Idx"] = ident
    name = place.work.operator
    if place.segment.phase == "backward":
        name = f"autograd::engine::evaluate_function: {name}"
    memory = _memory(place.kernel, process, thread, row, ident)
    return [_complete("cpu_op", name, process.pid, thread, row, args), memory]


def _memory(place: int, process: Process, thread: int, row: int, ident: str) -> Event:
    args = {
        "Bytes": _BYTES_ALLOCATED,
        "Addr": 140_000_000_000_000 + place * _BYTES_ALLOCATED,
        "Device Id": process.device,
        "Device Type": 1,
        "Ev Idx": ident,
    }
    memory = {"ph": "i", "cat": "cpu_instant_event", "s": "t", "name": "[memory]", "pid": process.pid, "tid": thread}
    return {**memory, "ts": start(row), "args": args}


def _told(timeline: Timeline, place: Place, process: Process, rows: Rows) -> list[Event]:
    """What torch says on the host about an operation."""
    row, segment, lost = rows("told", place.operation), place.segment, timeline.spec.lose
    thread = process.thread_of(segment)
    ident = timeline.plan_of(process.rank).kernels + 8 + timeline.spec.micro_batches + 2 * place.operation
    is_float = segment.group == "dp"
    elements = segment.bytes // (GRADIENT_BYTES if is_float else ACTIVATION_BYTES)
    dims = {} if "sizes" in lost else {"Input Dims": [[elements]]}
    titled = {**_numbered(ident + 1), "Input type": ["float" if is_float else "c10::BFloat16"], **dims}
    title = title_of(timeline.mesh, segment, process.rank)
    events = [_complete("user_annotation", title, process.pid, thread, row, titled)]
    if "params" not in lost:
        told = {**_numbered(ident), **about(timeline, process.rank, place.operation)}
        told["Rank"] = told_rank(timeline.mesh, segment, process.rank)
        events.insert(0, _complete("cpu_op", "record_param_comms", process.pid, thread, row, told))
    return events


def _activity(timeline: Timeline, place: Place, process: Process, row: int) -> Event:
    """What runs on the device: a kernel or a copy."""
    stream, ident, segment = place.segment.stream, number(place.kernel + 1), place.segment
    if segment.kind == Kind.COPY:
        copied = int(segment.dur_ns[0]) * COPY_BYTES_PER_NS
        args = {"External id": ident, "device": process.device, "context": 1, "stream": stream, "correlation": ident}
        args |= {"bytes": copied, "memory bandwidth (GB/s)": float(COPY_BYTES_PER_NS)}
        return _complete("gpu_memcpy", place.work.kernel, process.device, stream, row, args)
    comm = segment.communicates
    name = place.work.kernel
    if comm:
        name = kernel_of(segment.phase, is_half=segment.group != "dp", is_old=timeline.spec.form.old)
    args = {
        "External id": ident,
        "queued": 0,
        "device": process.device,
        "context": 1,
        "stream": stream,
        "correlation": ident,
        "registers per thread": 96 if comm else 128,
        "shared memory": 82_240 if comm else 49_152,
        "blocks per SM": 0.181818 if comm else 4.363636,
        "warps per SM": 2.909091 if comm else 17.454546,
        "grid": [24, 1, 1] if comm else [576, 1, 1],
        "block": [512, 1, 1] if comm else [128, 1, 1],
        "est. achieved occupancy %": 0 if comm else 27,
        **(about(timeline, process.rank, place.operation) if comm and "params" not in timeline.spec.lose else {}),
    }
    return _complete("kernel", name, process.device, stream, row, args)


def _question(timeline: Timeline, place: Place, process: Process, rows: Rows) -> list[Event]:
    """A call of the runtime that launches nothing: libraries ask how many blocks fit before they choose a kernel."""
    ident = timeline.plan_of(process.rank).kernels * 2 + 1 + place.kernel
    row, thread = rows("question", place.kernel), process.thread_of(place.segment)
    name = "cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags"
    args = {"External id": number(place.kernel + 1), "cbid": 251, "correlation": number(ident)}
    asked = _complete("cuda_runtime", name, process.pid, thread, row, args)
    return [asked, _flow("ac2g", "f", ident, process.pid, thread, row)]


def _mirror(name: str, process: Process, row: int, args: dict[str, Any], *, stream: int) -> Event:
    return _complete("gpu_user_annotation", name, process.device, stream, row, args)


def _stack_events(timeline: Timeline, process: Process, rows: Rows) -> Iterator[Event]:
    """Filler: Python frames inside one another, and memory events."""
    for place in range(timeline.spec.stack_events):
        depth, row = place % EVENTS_PER_STACK, rows("stack", place)
        if depth >= FRAMES_PER_STACK:
            yield _memory(place, process, process.loader, row, number(place + 1))
            continue
        parent = number(place) if depth else None
        args = {"Python parent id": parent, "Python id": number(place + 1), "Ev Idx": number(place + 1)}
        name = FRAMES[depth].format(layer=place // EVENTS_PER_STACK % timeline.spec.layers)
        yield _complete("python_function", name, process.pid, process.loader, row, args)
