"""Traces small enough to add up on paper; every number below was."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.align import CLASSES
from scaleprof.analyses.account.account import METHODS, account, segments
from scaleprof.trace import UNKNOWN, Kind
from tests.making import HOST, STREAM_7, STREAM_20, WORKER, Event, Made, Step, make_trace, waits_of


def leaves_of(made: Made) -> list[list[int]]:
    table = account(make_trace(made))
    return np.column_stack([table[f"{leaf}_ns"] for leaf in CLASSES]).tolist()


def test_a_device_step_is_divided_by_class_with_compute_first() -> None:
    # 0    10   20   30   40   50   60   70   80   90  100
    # |KKKKKKKKKKKKKK|         |KKKK|                       compute  0-30, 50-60
    #           |NNNNNNNNNNNNNNNNNN|                        comm    20-60
    #                                   |MMMM|  memory 55-58 (hidden), 70-80
    made = Made(
        events=[
            Event(STREAM_7, Kind.COMPUTE, 0, 30),
            Event(STREAM_7, Kind.COMPUTE, 50, 10),
            Event(STREAM_20, Kind.COLLECTIVE, 20, 40),
            Event(STREAM_20, Kind.COPY, 55, 3),
            Event(STREAM_20, Kind.COPY, 70, 10),
        ],
        steps=[Step(0, 100)],
    )
    table = account(make_trace(made))
    assert leaves_of(made) == [[40, 20, 10, 30]]
    assert (table["comm_ns"][0], table["overlapped_ns"][0], table["compute_sum_ns"][0]) == (40, 20, 40)
    assert METHODS[table["method"][0]] == "device"


def test_concurrent_streams_count_once_and_work_beyond_the_step_counts_in_the_next() -> None:
    made = Made(
        events=[
            Event(STREAM_7, Kind.COMPUTE, 0, 60),
            Event(STREAM_20, Kind.COMPUTE, 20, 60),
            Event(STREAM_20, Kind.COLLECTIVE, 95, 20),
        ],
        steps=[Step(0, 100), Step(100, 150)],
    )
    assert leaves_of(made) == [[80, 5, 0, 15], [0, 15, 0, 35]]


def test_work_that_belongs_to_no_step_is_left_out() -> None:
    made = Made(
        events=[Event(STREAM_7, Kind.COMPUTE, 0, 10, step=-1), Event(STREAM_7, Kind.COMPUTE, 20, 10)],
        steps=[Step(0, 100)],
    )
    assert leaves_of(made) == [[10, 0, 0, 90]]


def test_without_operators_compute_is_what_is_neither_blocked_nor_input() -> None:
    # comm 30-70 on the worker, the caller blocked 60-75 (5 ns of waking up included), 8 ns of input.
    made = Made(
        events=[Event(WORKER, Kind.COLLECTIVE, 30, 40)],
        steps=[Step(0, 100, blocked=15, input=8)],
        waits=waits_of((60, 75)),
    )
    table = account(make_trace(made))
    assert leaves_of(made) == [[77, 15, 0, 8]]
    assert (table["comm_ns"][0], table["overlapped_ns"][0]) == (40, 30)
    assert METHODS[table["method"][0]] == "subtracted"


def test_step_lines_alone_still_give_the_account_and_leave_communication_unknown() -> None:
    made = Made(steps=[Step(0, 100, blocked=20, input=0, profiled=False)])
    table = account(make_trace(made))
    assert leaves_of(made) == [[80, 20, 0, 0]]
    assert (table["comm_ns"][0], table["overlapped_ns"][0]) == (UNKNOWN, UNKNOWN)


def test_an_emulated_device_computes_where_its_spans_are() -> None:
    made = Made(
        events=[Event(HOST, Kind.COMPUTE, 5, 50), Event(WORKER, Kind.COLLECTIVE, 40, 40)],
        steps=[Step(0, 100, blocked=25)],
        waits=waits_of((57, 82)),
    )
    table = account(make_trace(made))
    assert leaves_of(made) == [[50, 25, 0, 25]]
    assert (table["comm_ns"][0], table["overlapped_ns"][0]) == (40, 17)  # 40-57 runs behind compute and host work
    assert METHODS[table["method"][0]] == "emulated"


def test_leaf_operators_compute_and_their_parents_waits_and_workers_do_not() -> None:
    made = Made(
        events=[
            Event(HOST, Kind.OP, 0, 50, "aten::linear"),
            Event(HOST, Kind.OP, 5, 20, "aten::addmm"),
            Event(HOST, Kind.OP, 30, 10, "aten::t"),
            Event(HOST, Kind.OP, 60, 30, "SyncBatchNormBackward"),
            Event(HOST, Kind.WAIT, 65, 20, "scaleprof::wait"),
            Event(WORKER, Kind.COLLECTIVE, 45, 38),
            Event(WORKER, Kind.OP, 46, 30, "aten::copy_"),
        ],
        steps=[Step(0, 100)],
    )
    # compute 5-25 and 30-40; communication 45-83 plus the wait up to 85, nothing computes there.
    assert leaves_of(made) == [[30, 40, 0, 30]]
    assert METHODS[account(make_trace(made))["method"][0]] == "operators"


def test_steps_outside_operator_windows_are_not_mistaken_for_idle() -> None:
    made = Made(
        events=[Event(HOST, Kind.OP, 10, 50, "aten::mm"), Event(WORKER, Kind.COLLECTIVE, 120, 10, step=1)],
        steps=[Step(0, 100, blocked=0), Step(100, 200, blocked=5)],
    )
    assert account(make_trace(made))["step"].tolist() == [0]


def test_segments_are_the_exposed_stretches_with_their_collectives() -> None:
    made = Made(
        events=[
            Event(STREAM_7, Kind.COMPUTE, 0, 30),
            Event(STREAM_7, Kind.COMPUTE, 40, 10),
            Event(STREAM_20, Kind.COLLECTIVE, 20, 50),
            Event(STREAM_20, Kind.COLLECTIVE, 60, 60),
        ],
        steps=[Step(0, 100), Step(100, 130)],
    )
    table = segments(make_trace(made))
    assert table.rows() == [
        [0, 0, 30, 40, 0],
        [1, 0, 50, 100, 0],
        [1, 0, 50, 100, 1],
        [2, 1, 100, 120, 1],
    ]


def test_a_blocked_stretch_without_a_known_transfer_is_kept() -> None:
    made = Made(
        events=[Event(HOST, Kind.COMPUTE, 0, 10), Event(WORKER, Kind.COLLECTIVE, 20, 10)],
        steps=[Step(0, 100)],
        waits=waits_of((22, 35), (50, 60)),
    )
    assert segments(make_trace(made)).rows() == [[0, 0, 22, 35, 0], [1, 0, 50, 60, -1]]


@pytest.mark.parametrize("lanes", [(STREAM_7, STREAM_20), (HOST, WORKER)])
@given(data=st.data())
def test_the_parts_always_add_up_and_segments_cover_exactly_the_exposed_time(
    lanes: tuple[int, int], data: st.DataObject
) -> None:
    kinds = [Kind.COMPUTE, Kind.COLLECTIVE, Kind.COPY, Kind.OP, Kind.WAIT, Kind.OTHER]
    drawn = data.draw(
        st.lists(
            st.tuples(st.sampled_from(lanes), st.sampled_from(kinds), st.integers(0, 90), st.integers(0, 40)),
            min_size=1,
        )
    )
    edges = sorted(data.draw(st.sets(st.integers(0, 110), min_size=2, max_size=5)))
    made = Made(
        events=[Event(*event) for event in drawn],
        steps=[Step(start, end, blocked=0, input=0) for start, end in itertools.pairwise(edges)],
        waits=waits_of((3, 9), (40, 44)),
    )
    trace = make_trace(made)
    table = account(trace)
    total = sum(table[f"{leaf}_ns"] for leaf in CLASSES)
    assert (total == table["window_ns"]).all()
    pieces = {row[0]: row[3] - row[2] for row in segments(trace).rows()}
    assert sum(pieces.values()) == table["exposed_comm_ns"].sum()
