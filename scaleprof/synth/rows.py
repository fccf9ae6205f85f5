"""The times of one rank's step by event: the table whose rows the templates name.

A launch of `launch_us` is laid out in quarters, so that what encloses what is never in doubt:

    operator            |----|----|----|----|     the host's work for one kernel
    record_param_comms       |----|----|----|     communication only, and `nccl:all_reduce` and its like with the same span
    question                 |----|               a call that launches nothing, for some kernels
    call                          |----|----|     the kernel may start when it returns
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaleprof.intervals import Ints, Spans
from scaleprof.synth.timeline import Timeline, on_host_clock

FRAMES_PER_STACK, EVENTS_PER_STACK = 6, 10
"""Filler comes in stacks: six Python frames, one inside the other, and four memory events in them."""
_STACK_PARTS = 16


@dataclass(frozen=True)
class Rows:
    """Where each kind of row begins in the table of a step; the kinds are those of `true_rows`."""

    first: Mapping[str, int]

    def __call__(self, kind: str, place: int = 0) -> int:
        """The row of one event."""
        return self.first[kind] + place


def rows_of(timeline: Timeline, rank: int = 0) -> Rows:
    """The same for every rank of a stage, in every step."""
    first, place = {}, 0
    for kind, spans in true_rows(timeline, rank, 0).items():
        first[kind] = place
        place += len(spans.start)
    return Rows(first)


def table(timeline: Timeline, rank: int, step: int) -> Spans:
    """All rows of a step, on the clock of the rank's host."""
    parts = true_rows(timeline, rank, step).values()
    return Spans(
        on_host_clock(timeline.spec, rank, np.concatenate([part.start for part in parts])),
        on_host_clock(timeline.spec, rank, np.concatenate([part.end for part in parts])),
    )


def true_rows(timeline: Timeline, rank: int, step: int) -> dict[str, Spans]:
    """The rows of a step by kind, on the true clock."""
    spec, plan = timeline.spec, timeline.plan_of(rank)
    begin, end = timeline.host_start_ns[rank, step], timeline.host_start_ns[rank, step + 1]
    launches = timeline.launches(rank, step)
    quarter, last = spec.launch_ns // 4, launches[-1] + spec.launch_ns
    starts, ends = (times[rank, step, : plan.kernels] for times in (timeline.start_ns, timeline.end_ns))
    told = launches[list(plan.collectives)]
    paused = launches[plan.pause_at]
    return {
        "step": _one(begin, end),
        "input": _one(begin, begin + timeline.input_ns(rank, step)),
        "pause": _one(paused - timeline.pause_ns(rank, step), paused),
        "forward": _passes(timeline, launches, rank),
        "optimizer": _one(launches[plan.first[-1]], last),
        "operator": Spans(launches, launches + spec.launch_ns),
        "told": Spans(told + quarter, told + spec.launch_ns),
        "stack": _stacks(int(begin), int(end), spec.stack_events),
        "question": Spans(launches + quarter, launches + 2 * quarter),
        "call": Spans(launches + 2 * quarter, launches + spec.launch_ns),
        "sync": _one(last, end),
        "kernel": Spans(starts, ends),
        "mirror": _one(starts.min(), ends.max()),
    }


def closing_rows(timeline: Timeline, rank: int, first: int = 0) -> Spans:
    """Rows of the whole file, not of a step: the profiler's own span, and the call with which it waits for the device at the end. `first` is the
    step with which the file begins."""
    begin, end = timeline.host_start_ns[rank, first], timeline.host_start_ns[rank, -1]
    call = timeline.spec.launch_ns
    starts = np.array([begin, end + call, end + 3 * call], dtype=np.int64)
    ends = np.array([end + 3 * call, end + 2 * call, end + 3 * call], dtype=np.int64)
    return Spans(on_host_clock(timeline.spec, rank, starts), on_host_clock(timeline.spec, rank, ends))


def _passes(timeline: Timeline, launches: Ints, rank: int) -> Spans:
    """The forward passes of all micro-batches, each from its first launch to the end of its last."""
    plan, batches = timeline.plan_of(rank), timeline.spec.micro_batches
    first, last = np.full(batches, plan.kernels, dtype=np.int64), np.zeros(batches, dtype=np.int64)
    for place, segment in zip(plan.first, plan.segments, strict=True):
        if segment.phase == "forward":
            first[segment.micro_batch] = min(first[segment.micro_batch], place)
            last[segment.micro_batch] = place + len(segment) - 1
    return Spans(launches[first], launches[last] + timeline.spec.launch_ns)


def _one(start: Ints, end: Ints) -> Spans:
    return Spans(np.array([start], dtype=np.int64), np.array([end], dtype=np.int64))


def _stacks(begin: int, end: int, count: int) -> Spans:
    """Stacks that divide the step between them: frames inside one another, memory events without length inside the innermost."""
    place = np.arange(count, dtype=np.int64)
    stack, depth = place // EVENTS_PER_STACK, place % EVENTS_PER_STACK
    stacks = max(-(-count // EVENTS_PER_STACK), 1)
    start = begin + (end - begin) * stack // stacks
    width = begin + (end - begin) * (stack + 1) // stacks - start
    inset = width * depth // _STACK_PARTS
    is_frame = depth < FRAMES_PER_STACK
    return Spans(start + inset, np.where(is_frame, start + width - inset, start + inset))
