"""The lines of a rank: devices first, then threads that communicate, and beside them what is recorded in no event."""

from dataclasses import replace

import numpy as np

from scaleprof.export.lanes import event_lanes, shortened, told_lanes
from scaleprof.export.selection import EVER
from scaleprof.intervals import Ints
from scaleprof.trace import UNKNOWN, Kind, Tasks, Trace
from tests.making import HOST, STREAM_7, STREAM_20, WORKER, Event, Made, Step, make_trace, waits_of, with_pauses


def as_it_is(times: Ints) -> Ints:
    return times


def made() -> Trace:
    events = [
        Event(HOST, Kind.OP, 0, 10), Event(HOST, Kind.OP, 10, 10), Event(WORKER, Kind.COLLECTIVE, 20, 5), Event(STREAM_20, Kind.COPY, 30, 5),
        Event(STREAM_7, Kind.COMPUTE, 40, 5),
    ]  # fmt: skip
    return make_trace(Made(events, [Step(0, 100, samples=4), Step(100, 200)], waits_of((50, 60))))


def test_devices_come_first_then_what_communicates_then_the_busiest() -> None:
    trace = made()
    start, end = trace.events.spans()
    lanes = list(event_lanes(trace, np.arange(5), start, end))
    assert [lane.label for lane in lanes] == ["stream 7", "stream 20", "pt_gloo_runloop", "python"]
    assert [lane.texts[lane.name[0]] for lane in lanes[:2]] == [("compute", "COMPUTE,compute"), ("copy", "COPY,copy")]


def test_what_is_recorded_in_no_event_stands_beside_them() -> None:
    trace = with_pauses(made(), (70, 5, Kind.GC))
    tasks = Tasks(
        np.array([0, 1]), ("fit", "never ended"), np.array([UNKNOWN, 0]), np.array([10, 20]), np.array([90, UNKNOWN]),
        np.array([1, 1]), ("ValueError", ""),
    )  # fmt: skip
    lanes = {lane.label: lane for lane in told_lanes(replace(trace, tasks=tasks), as_it_is, EVER, None)}
    assert list(lanes) == ["steps", "waits", "pauses", "tasks"]
    assert lanes["steps"].args == {0: {"samples": 4.0}} and lanes["steps"].end.tolist() == [100, 200]
    assert lanes["waits"].start.tolist() == [50] and lanes["pauses"].end.tolist() == [75]
    assert lanes["tasks"].end.tolist() == [90, 200] and lanes["tasks"].args == {
        0: {"error": "ValueError"},
        1: {"ended": False},
    }


def test_of_steps_only_the_chosen_ones() -> None:
    [steps, *_] = told_lanes(made(), as_it_is, (0, 150), (0, 0))
    assert [steps.texts[name][0] for name in steps.name] == ["step 0"]


def test_an_operation_of_which_only_the_issue_is_known_is_a_moment() -> None:
    trace = made()
    comm = replace(trace.comm, row=np.array([-1], dtype=np.int32), issued_ns=np.array([15]))
    *_, issued = told_lanes(replace(trace, comm=comm), as_it_is, EVER, None)
    assert (issued.label, issued.start.tolist(), issued.end.tolist()) == ("communication, as issued", [15], [15])
    assert issued.operation is not None and issued.operation.tolist() == [0]


def test_names_have_an_end() -> None:
    assert shortened("x" * 501) == "x" * 499 + "…" and shortened("x" * 500) == "x" * 500


def test_where_a_process_has_several_devices_its_streams_say_which() -> None:
    trace = made()
    start, end = trace.events.spans()
    two = replace(trace, lanes=replace(trace.lanes, device=np.array([-1, -1, 0, 1], dtype=np.int32)))
    labels = [lane.label for lane in event_lanes(two, np.arange(5), start, end)]
    assert labels == ["device 0, stream 7", "device 1, stream 20", "pt_gloo_runloop", "python"]
    nameless = replace(trace, lanes=replace(trace.lanes, label=("", " ", "", "")))
    labels = [lane.label for lane in event_lanes(nameless, np.arange(5), start, end)]
    assert labels == ["stream 7", "stream 20", "thread 2", "thread 1"]


def test_an_operation_that_ran_is_not_shown_as_issued_again() -> None:
    trace = made()
    ran = replace(trace.comm, issued_ns=np.array([15]))
    untold = replace(trace.comm, row=np.array([-1], dtype=np.int32))
    for comm in (ran, untold):
        lanes = told_lanes(replace(trace, comm=comm), as_it_is, EVER, None)
        assert "communication, as issued" not in [lane.label for lane in lanes]
