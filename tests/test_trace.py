"""A Trace is checked when it is made."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from scaleprof.trace import Kind, Operations, Trace
from tests.making import HOST, STREAM_7, STREAM_20, Event, Made, Step, make_trace

EVENTS = (
    Event(HOST, Kind.OP, 0, 10),
    Event(STREAM_7, Kind.COMPUTE, 5, 20),
    Event(STREAM_20, Kind.COLLECTIVE, 15, 20),
)
STEPS = (Step(0, 30), Step(30, 60))


def made() -> Trace:
    return make_trace(Made(EVENTS, STEPS))


def test_a_trace_says_what_its_events_are() -> None:
    trace = made()
    assert trace.kinds.tolist() == [Kind.OP, Kind.COMPUTE, Kind.COLLECTIVE]
    assert trace.on_device.tolist() == [False, True, True]
    assert trace.has_device
    assert trace.rank == 0
    assert len(trace.events) == 3
    assert len(trace.steps) == 2


def test_spans_of_chosen_rows() -> None:
    chosen = made().events.spans(np.array([False, True, True]))
    assert (chosen.start.tolist(), chosen.end.tolist()) == ([5, 15], [25, 35])
    assert made().steps.windows.end.tolist() == [30, 60]


def test_a_trace_without_a_device_has_none() -> None:
    assert not make_trace(Made(EVENTS[:1], STEPS)).has_device


def test_a_trace_may_be_empty() -> None:
    assert len(make_trace(Made()).events) == 0


BREAKS: dict[str, Callable[[Trace], Trace]] = {
    "unsorted": lambda t: _events(t, start_ns=t.events.start_ns[::-1].copy()),
    "negative duration": lambda t: _events(t, dur_ns=-t.events.dur_ns),
    "columns of different lengths": lambda t: _events(t, lane=t.events.lane[:2]),
    "unknown name": lambda t: _events(t, name=t.events.name + 5),
    "unknown lane": lambda t: _events(t, lane=t.events.lane - 3),
    "unknown step": lambda t: _events(t, step=t.events.step + 2),
    "unknown link": lambda t: _events(t, link=t.events.link + 4),
    "times as floats": lambda t: _events(t, start_ns=t.events.start_ns.astype(float)),
    "steps overlap": lambda t: _steps(t, end_ns=t.steps.end_ns + 1),
    "a step ends before it starts": lambda t: _steps(t, end_ns=t.steps.start_ns - 1),
    "comm of different lengths": lambda t: dataclasses.replace(t, comm=dataclasses.replace(t.comm, op=())),
    "operations out of order": lambda t: _operations(t, [1, 0], [5, 5]),
    "operations of no event": lambda t: _operations(t, [1, 3], [5, 5]),
    "operations of different lengths": lambda t: _operations(t, [1, 2], [5]),
    "comm without a time": lambda t: dataclasses.replace(t, comm=dataclasses.replace(t.comm, issued_ns=t.steps.end_ns)),
}


def _events(trace: Trace, **columns: np.ndarray) -> Trace:
    return dataclasses.replace(trace, events=dataclasses.replace(trace.events, **columns))


def _steps(trace: Trace, **columns: np.ndarray) -> Trace:
    return dataclasses.replace(trace, steps=dataclasses.replace(trace.steps, **columns))


def _operations(trace: Trace, rows: list[int], flops: list[int]) -> Trace:
    return dataclasses.replace(trace, operations=Operations(np.array(rows, np.int32), np.array(flops, np.int64)))


@pytest.mark.parametrize("what", BREAKS)
def test_a_trace_that_cannot_be_is_refused(what: str) -> None:
    trace = made()
    with pytest.raises(AssertionError):
        BREAKS[what](trace)
