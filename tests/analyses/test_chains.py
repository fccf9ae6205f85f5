"""The chain of one rank: what its nodes are, in order, and what they wait for."""

from dataclasses import replace

import numpy as np

from scaleprof.analyses.replay import chains as chains_of_ranks
from scaleprof.analyses.replay.chain_nodes import Doing
from scaleprof.analyses.replay.chains import chains
from scaleprof.results import Table
from scaleprof.trace import Kind, StreamWaits, Trace
from tests.analyses.making_gaps import STREAM_20, US, gemm, launch, span, traced
from tests.analyses.making_graphs import MS, late_rank, ranked
from tests.making import HOST, STREAM_7, WORKER, Event, Made, Step, with_pauses


def nodes(table: Table, *, lane: int, unit: int = MS) -> list[tuple[str, float, float]]:
    """What, start and duration of the nodes of a lane."""
    return [
        (Doing(int(kind)).name, int(start) / unit, int(dur) / unit)
        for of, kind, start, dur in zip(table["lane"], table["kind"], table["start_ns"], table["dur_ns"], strict=True)
        if of == lane
    ]


def waits_for(table: Table) -> list[tuple[str, str]]:
    """Which kind of node waits for which on another lane."""
    kinds = [Doing(int(kind)).name for kind in table["kind"]]
    return [(kinds[row], kinds[after]) for row, after in enumerate(table["after"].tolist()) if after >= 0]


def test_a_host_is_cut_where_it_issues_waits_and_computes() -> None:
    table = chains(late_rank(0))
    assert nodes(table, lane=0) == [
        ("COMPUTE", 0, 50), ("HOST", 50, 10), ("JOIN", 150, 0), ("WAIT", 150, 0), ("COMPUTE", 150, 40), ("HOST", 190, 10),
    ]  # fmt: skip
    assert nodes(table, lane=1) == [("OPERATION", 50, 100)]
    assert waits_for(table) == [("JOIN", "OPERATION"), ("OPERATION", "COMPUTE")]


def test_what_a_wait_takes_after_its_operation_is_the_way_back() -> None:
    events = [(HOST, Kind.COMPUTE, 0, 20), (WORKER, Kind.COLLECTIVE, 25, 30)]
    table = chains(ranked(0, events, issued=[20], waits=[(22, 60, "Work.wait", 0)], length=100))
    assert nodes(table, lane=0)[1:4] == [("HOST", 20, 2), ("JOIN", 55, 0), ("WAIT", 55, 5)]
    # It began 5 ms after it was issued, which is what issuing takes at least.
    assert table["after_lag_ns"][table["lane"] == 1].tolist() == [5 * MS]


def test_the_tail_of_a_backward_pass_waits_for_all_that_nobody_waited_for() -> None:
    events = [(WORKER, Kind.COLLECTIVE, 10, 20), (WORKER, Kind.COLLECTIVE, 31, 10), (WORKER, Kind.COLLECTIVE, 42, 18)]
    waits = [(15, 30, "Work.wait", 0), (50, 61, "backward_tail", 2)]
    table = chains(ranked(0, events, issued=[10, 12, 40], waits=waits, length=100))
    joins = [(start, end) for what, start, end in nodes(table, lane=0) if what == "JOIN"]
    assert joins == [(30, 0), (50, 0), (60, 0)]  # of the tail: the second had ended before, the third ends within it


def test_a_wait_that_nothing_held_up_was_for_the_last_operation_issued() -> None:
    events = [(WORKER, Kind.COLLECTIVE, 10, 5), (WORKER, Kind.COLLECTIVE, 20, 5)]
    table = chains(ranked(0, events, issued=[10, 20], waits=[(30, 31, "Work.wait", -1)], length=50))
    [row] = np.flatnonzero(np.asarray(table["kind"]) == Doing.JOIN).tolist()
    assert table["operation"][table["after"][row]] == 1
    assert bool(table["is_inferred"][row])


def test_a_pause_is_a_node_of_its_own_and_what_a_host_computes_keeps_its_name() -> None:
    trace = with_pauses(late_rank(0), (55 * MS, 3 * MS, Kind.GC))
    table = chains(trace)
    assert [what for what, *_ in nodes(table, lane=0)][:4] == ["COMPUTE", "HOST", "GC", "HOST"]
    assert table["name"][0] == "compute"


def test_nothing_is_said_without_a_whole_step_or_without_waits() -> None:
    trace = late_rank(0)
    assert len(chains(replace(trace, steps=replace(trace.steps, profiled=np.array([False]))))) == 0
    nothing = replace(
        trace.blocked, start_ns=trace.waits.start, dur_ns=trace.waits.start, what=(), op=(), comm=trace.waits.start
    )
    assert len(chains(replace(trace, blocked=nothing))) == 0


def test_a_rank_keeps_as_many_steps_as_fit() -> None:
    steps = [Step(place * 100 * MS, (place + 1) * 100 * MS) for place in range(12)]
    events = [Event(HOST, Kind.COMPUTE, place * 100 * MS, 50 * MS, step=place) for place in range(12)]
    many = ranked(0, [], issued=[], waits=[(1, 2, "Work.wait", -1)], length=1)
    trace = replace(traced(Made(events=events, steps=steps)), blocked=many.blocked)
    trace = replace(trace, blocked=replace(trace.blocked, start_ns=trace.blocked.start_ns + 1160 * MS))
    assert sorted(set(chains(trace)["step"].tolist())) == list(range(4, 12))


def test_a_trace_of_too_many_ranks_for_even_one_step_has_no_chain() -> None:
    trace = late_rank(0)
    assert len(chains(replace(trace, info=replace(trace.info, world_size=chains_of_ranks.MOST_NODES_IN_RUN)))) == 0


# ---- a device ----
def on_device(*events: Event, length_us: int = 1000) -> Trace:
    return traced(Made(events=list(events), steps=[Step(0, length_us * US)]))


def test_streams_follow_their_launches_and_the_host_waits_for_what_it_synchronises() -> None:
    trace = on_device(
        launch(1, 10, 10),
        launch(2, 30, 10),
        gemm(1, 15, 100),
        gemm(2, 118, 50),
        span(Kind.SYNC, "cudaDeviceSynchronize", 50, 120),
    )
    table = chains(trace)
    assert nodes(table, lane=0, unit=US) == [
        ("HOST", 0, 10), ("LAUNCH", 10, 10), ("HOST", 20, 10), ("LAUNCH", 30, 10), ("HOST", 40, 10), ("JOIN", 168, 0), ("WAIT", 168, 2),
        ("HOST", 170, 830),
    ]  # fmt: skip
    assert nodes(table, lane=1, unit=US) == [("COMPUTE", 15, 100), ("COMPUTE", 118, 50)]
    # The first activity of a stream may be behind for reasons from before; the second waits for its launch, which begins where the host's node ends.
    assert waits_for(table) == [("JOIN", "COMPUTE"), ("COMPUTE", "HOST")]


def test_an_operation_waits_for_what_was_computed_before_it_was_issued_and_compute_for_the_operation() -> None:
    trace = on_device(
        launch(1, 10, 5), launch(2, 20, 5), launch(3, 30, 5), launch(4, 40, 5), launch(5, 45, 5),
        gemm(1, 15, 100),
        gemm(9, 25, 10, stream=STREAM_20),
        Event(STREAM_20, Kind.COLLECTIVE, 116 * US, 200 * US, "nccl#3"),
        gemm(4, 117, 50),
        gemm(5, 318, 10),
    )  # fmt: skip
    table = chains(trace)
    kinds = [Doing(int(kind)).name for kind in table["kind"]]
    waiting = [(row, after) for row, after in enumerate(table["after"].tolist()) if kinds[row] == "JOIN"]
    joins = [(int(table["lane"][row]), kinds[after], int(table["start_ns"][row]) // US) for row, after in waiting]
    # The operation for the first product, the last product for the operation: it began 2 us after that ended and its launch was long over.
    assert joins == [(1, "OPERATION", 316), (2, "COMPUTE", 115)]


def test_a_copy_that_blocks_its_caller_is_a_wait_for_itself() -> None:
    copy = Event(STREAM_7, Kind.COPY, 70 * US, 35 * US, "Memcpy DtoH#2")
    trace = on_device(launch(1, 10, 5), launch(2, 20, 90, what="cudaMemcpyAsync"), gemm(1, 15, 50), copy)
    table = chains(trace)
    assert ("JOIN", "COPY") in waits_for(table)
    assert ("WAIT", 105, 5) in nodes(table, lane=0, unit=US)


def test_the_first_computation_of_an_optimizer_waits_for_hidden_communication() -> None:
    trace = on_device(
        launch(1, 10, 5), launch(3, 20, 5), launch(4, 30, 5), launch(5, 205, 5),
        span(Kind.PHASE, "Optimizer.step#SGD.step", 200, 50),
        gemm(1, 15, 20),
        gemm(8, 20, 1, stream=STREAM_20),
        Event(STREAM_20, Kind.COLLECTIVE, 36 * US, 50 * US, "nccl#3"),
        gemm(4, 36, 160),
        gemm(5, 210, 10),
    )  # fmt: skip
    table = chains(trace)
    kinds = [Doing(int(kind)).name for kind in table["kind"]]
    rows = [
        row for row, after in enumerate(table["after"].tolist()) if kinds[row] == "JOIN" and kinds[after] == "OPERATION"
    ]
    assert [(int(table["lane"][row]), table["name"][row + 1]) for row in rows] == [(1, "gemm#5")]


def test_recorded_waits_of_streams_are_taken_as_they_are_and_nothing_is_inferred_beside_them() -> None:
    """The second kernel of stream 7 waits for the first of stream 20, not for the collective that ends just before it."""
    trace = on_device(
        launch(1, 10, 5), launch(2, 20, 5), launch(3, 30, 5), launch(4, 60, 5),
        gemm(1, 15, 20),
        gemm(2, 25, 60, stream=STREAM_20),
        Event(STREAM_20, Kind.COLLECTIVE, 90 * US, 108 * US, "nccl#3"),
        gemm(4, 200, 10),
    )  # fmt: skip
    told = [(STREAM_7, 50, STREAM_20, 28), (STREAM_7, 99, STREAM_20, 28), (STREAM_7, 50, STREAM_20, 5)]
    lane, called, on, recorded = np.array(told, dtype=np.int64).T
    told_waits = StreamWaits(lane.astype(np.int32), called * US, on.astype(np.int32), recorded * US)
    inferred, recorded_too = chains(trace), chains(replace(trace, stream_waits=told_waits))

    def joins(table: Table) -> list[tuple[int, str, int, bool]]:
        """Lane, what is waited for, when that ended, and whether it is inferred."""
        rows = [row for row, kind in enumerate(table["kind"]) if kind == Doing.JOIN]
        ends = [
            int(table["start_ns"][table["after"][row]] + table["dur_ns"][table["after"][row]]) // US for row in rows
        ]
        named = [str(table["name"][table["after"][row]]) for row in rows]
        return list(zip(table["lane"][rows].tolist(), named, ends, table["is_inferred"][rows].tolist(), strict=True))

    assert joins(inferred) == [(1, "nccl#3", 198, True), (2, "gemm#1", 35, True)]
    # Nothing was launched on stream 7 after the second wait, and nothing on stream 20 before the third one's event.
    assert joins(recorded_too) == [(1, "gemm#2", 85, False)]
