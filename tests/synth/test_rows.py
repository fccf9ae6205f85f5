"""The layout of a step's events in time: what encloses what."""

import numpy as np

from scaleprof.intervals import Spans
from scaleprof.synth.rows import EVENTS_PER_STACK, FRAMES_PER_STACK, closing_rows, rows_of, table, true_rows
from scaleprof.synth.timeline import simulate
from tests.synth.tiny import tiny


def inside(inner: Spans, outer: Spans) -> bool:
    return bool((inner.start >= outer.start).all() and (inner.end <= outer.end).all())


def test_a_launch_lies_in_its_operator_and_the_operators_in_their_step() -> None:
    timeline = simulate(tiny(stack_events=25))
    rows = true_rows(timeline, 1, 2)
    told = list(timeline.plan.collectives)
    call, operator = rows["call"], rows["operator"]
    assert inside(call, operator)
    assert inside(rows["question"], operator)
    assert (rows["question"].end <= call.start).all()
    assert inside(Spans(call.start[told], call.end[told]), rows["told"])
    assert inside(rows["told"], Spans(operator.start[told], operator.end[told]))
    for kind in ("operator", "input", "forward", "optimizer", "stack", "sync"):
        assert inside(rows[kind], rows["step"]), kind
    assert (operator.start[1:] >= operator.end[:-1]).all()
    assert (rows["kernel"].start >= call.end).all()
    assert inside(rows["kernel"], rows["mirror"])


def test_rows_are_found_by_kind() -> None:
    timeline = simulate(tiny(stack_events=3, clock_offset_ms=(0.0, 1.0)))
    rows, times, true = rows_of(timeline), table(timeline, 1, 1), true_rows(timeline, 1, 1)
    assert times.start[rows("kernel", 4)] == true["kernel"].start[4] + 1_000_000
    assert times.end[rows("stack", 2)] == true["stack"].end[2] + 1_000_000
    assert len(times.start) == sum(len(part.start) for part in true.values())


def test_stacks_are_frames_inside_one_another() -> None:
    timeline = simulate(tiny(stack_events=3 * EVENTS_PER_STACK))
    spans = true_rows(timeline, 0, 1)["stack"]
    for first in range(0, 3 * EVENTS_PER_STACK, EVENTS_PER_STACK):
        frames = slice(first, first + FRAMES_PER_STACK)
        assert (np.diff(spans.start[frames]) > 0).all()
        assert (np.diff(spans.end[frames]) < 0).all()
        memory = slice(first + FRAMES_PER_STACK, first + EVENTS_PER_STACK)
        assert (spans.start[memory] == spans.end[memory]).all()
        assert (spans.start[memory] < spans.end[frames][-1]).all()
    assert spans.start[0] == timeline.host_start_ns[0, 1]
    assert spans.end[2 * EVENTS_PER_STACK] == timeline.host_start_ns[0, 2]


def test_the_file_ends_with_a_call_after_the_last_step() -> None:
    timeline = simulate(tiny())
    rows = closing_rows(timeline, 0)
    assert rows.start[1] > timeline.host_start_ns[0, -1]
    assert rows.start[0] == timeline.host_start_ns[0, 0]
    assert rows.end[0] >= rows.end[1]
