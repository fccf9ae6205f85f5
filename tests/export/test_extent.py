"""From when to when a recording lasts, and what carried out its operations."""

import numpy as np

from scaleprof.export.extent import carried, extent, step_spans
from scaleprof.trace import Kind
from tests.making import HOST, WORKER, Event, Made, Step, make_trace, waits_of


def test_anything_that_was_recorded_counts() -> None:
    made = Made(
        events=[Event(HOST, Kind.OP, 50, 10), Event(HOST, Kind.OP, 60, 900)],
        steps=[Step(40, 200)],
        waits=waits_of((30, 35)),
    )
    assert extent(make_trace(made)).rows() == [[30, 960, 2]]
    assert len(extent(make_trace(Made()))) == 0


def test_steps_last_on_host_and_device() -> None:
    trace = make_trace(Made(steps=[Step(40, 200), Step(200, 300)]))
    assert step_spans(trace).rows() == [[0, 40, 200], [1, 200, 300]]


def test_an_operation_ends_with_its_activity() -> None:
    events = [Event(HOST, Kind.OP, 1, 2), Event(WORKER, Kind.COLLECTIVE, 5, 10)]
    trace = make_trace(Made(events, [Step(0, 20)]))
    assert carried(trace).rows() == [[1, 15]]
    trace.comm.row[:] = np.int32(-1)
    assert carried(trace).rows() == [[-1, -1]]


def test_the_first_event_may_be_the_operation() -> None:
    trace = make_trace(Made([Event(WORKER, Kind.COLLECTIVE, 5, 10)], [Step(0, 20)]))
    assert carried(trace).rows() == [[0, 15]]
