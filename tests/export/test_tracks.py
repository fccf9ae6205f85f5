"""A lane as tracks: waiting and transfer inside each operation, marks for arrows, and what overlaps on a track of its own."""

from dataclasses import replace

import numpy as np

from scaleprof.export.flows import Links
from scaleprof.export.lanes import event_lanes
from scaleprof.export.tracks import Split, Tie, Track, operations_of, tracks_of_lane
from scaleprof.intervals import Ints
from scaleprof.trace import UNKNOWN, Kind, Trace
from tests.making import STREAM_20, Event, Made, Step, make_trace

NOTHING = np.zeros(0, dtype=np.int64)
NO_LINKS = Links(NOTHING, NOTHING, NOTHING.astype(bool), NOTHING.astype(bool), NOTHING)


def as_it_is(times: Ints) -> Ints:
    return times


def tracks(trace: Trace, transfer: list[int], links: Links = NO_LINKS) -> list[Track]:
    count = len(transfer)
    split = Split(np.arange(count), np.array(transfer), np.full(count, 2), np.zeros(count, dtype=np.int64))
    operations = operations_of(trace, split, links, as_it_is)
    start, end = trace.events.spans()
    [lane] = event_lanes(trace, np.arange(len(trace.events)), start, end)
    return list(tracks_of_lane(lane, operations))


def shown(track: Track) -> list[tuple[str, int, int]]:
    names = [track.texts[name][0] for name in track.name.tolist()]
    return list(zip(names, track.start.tolist(), track.end.tolist(), strict=True))


def made(*events: tuple[str, Kind, int, int]) -> Trace:
    return make_trace(
        Made([Event(STREAM_20, kind, start, dur, name) for name, kind, start, dur in events], [Step(0, 1000)])
    )


def test_an_operation_holds_its_waiting_and_then_its_transfer() -> None:
    trace = made(
        ("sum", Kind.COLLECTIVE, 100, 50), ("late", Kind.COLLECTIVE, 200, 10), ("untold", Kind.COLLECTIVE, 300, 10)
    )
    [track] = tracks(trace, [20, 10, UNKNOWN])
    assert shown(track) == [
        ("sum", 100, 150), ("wait", 100, 130), ("transfer", 130, 150), ("late", 200, 210), ("transfer", 200, 210), ("untold", 300, 310),
    ]  # fmt: skip
    assert (track.args[0]["wait_us"], track.args[0]["transfer_us"], track.args[0]["number"]) == (0.03, 0.02, 0)
    assert "wait_us" not in track.args[5] and 1 not in track.args


def test_what_lies_across_the_begin_of_the_transfer_leaves_the_track() -> None:
    trace = made(("sum", Kind.COLLECTIVE, 100, 50), ("inside", Kind.COMPUTE, 105, 5), ("across", Kind.COMPUTE, 125, 10))
    first, second = tracks(trace, [20])
    assert shown(first) == [("sum", 100, 150), ("wait", 100, 130), ("inside", 105, 110), ("transfer", 130, 150)]
    assert shown(second) == [("across", 125, 135)] and second.label == "stream 20 (2)"


def test_two_operations_of_one_activity_are_cut_where_the_first_transfer_begins() -> None:
    trace = made(("both", Kind.P2P, 100, 50))
    comm = trace.comm
    trace = replace(
        trace,
        comm=replace(
            comm, row=np.array([0, 0], dtype=np.int32), issued_ns=np.full(2, UNKNOWN), op=("send", "recv"), bytes=np.array([8, 8]),
            dtype=("", ""), group=("", ""), seq=np.array([0, 0]), peer=np.array([1, 1], dtype=np.int32),
        ),
    )  # fmt: skip
    [track] = tracks(trace, [10, 35])
    assert shown(track) == [("both", 100, 150), ("wait", 100, 115), ("transfer", 115, 150)]
    assert track.args[0]["operations"] == 2


def test_an_arrow_belongs_to_the_slice_or_to_a_mark_on_it() -> None:
    trace = made(("sum", Kind.COLLECTIVE, 100, 50), ("recv", Kind.P2P, 200, 50))
    links = Links(
        np.array([0, 1]), np.array([7, 9]), np.array([False, True]), np.array([True, False]), np.array([UNKNOWN, 221])
    )
    [track] = tracks(trace, [UNKNOWN, UNKNOWN], links)
    assert shown(track) == [("sum", 100, 150), ("recv", 200, 250), ("data on their way", 221, 221)]
    assert track.ties == {0: Tie(7, comes=False, goes=True), 2: Tie(9, comes=True, goes=False)}


def test_what_is_said_of_an_operation_is_in_its_units() -> None:
    trace = made(("sum", Kind.COLLECTIVE, 100, 50))
    split = Split(np.array([6]), np.array([20]), np.array([4]), np.array([2500]))
    operations = operations_of(trace, split, NO_LINKS, as_it_is)
    assert operations.said(0) == {
        "operation": "all_reduce", "number": 6, "bytes": 4096, "seq": 0, "ranks": 4, "dtype": "float32", "group": "0", "clock_error_us": 2.5,
    }  # fmt: skip
    exact = replace(operations, split=replace(split, clock_ns=np.array([0])))
    assert "clock_error_us" not in exact.said(0), "on one clock there is none"
    untold = replace(operations, split=replace(split, transfer_ns=np.array([UNKNOWN])))
    assert "clock_error_us" not in untold.said(0)


def test_each_mark_has_its_own_name_number_and_arrow() -> None:
    trace = made(("both", Kind.P2P, 100, 50), ("alone", Kind.P2P, 200, 50))
    links = Links(
        np.array([0, 0, 1]), np.array([7, 8, 9]), np.array([False, True, True]), np.array([True, False, False]), np.array([100, 120, 230]),
    )  # fmt: skip
    [track] = tracks(trace, [UNKNOWN, UNKNOWN], links)
    assert shown(track) == [
        ("both", 100, 150), ("data sent", 100, 100), ("data on their way", 120, 120), ("alone", 200, 250), ("data on their way", 230, 230),
    ]  # fmt: skip
    assert {place: track.args[place]["number"] for place in (1, 2, 4)} == {1: 7, 2: 8, 4: 9}
    assert track.ties == {
        1: Tie(7, comes=False, goes=True), 2: Tie(8, comes=True, goes=False), 4: Tie(9, comes=True, goes=False),
    }  # fmt: skip
    assert "operations" not in track.args[0] and "operations" not in track.args[3]
