"""Idle time by cause on traces small enough for paper (`method` 9.1 f and g); every number below is in us and was added up by hand."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.analyses.account.account import METHODS, account, activities_of
from scaleprof.analyses.account.gaps import MOST_NAMES, idle, idle_names
from scaleprof.analyses.account.host import Cause
from scaleprof.analyses.stragglers.arrivals import _parts
from scaleprof.intervals import length
from scaleprof.readers import find_runs, read_rank
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from scaleprof.trace import Copies, Kind, Trace
from tests.analyses.making_gaps import BACKWARD, STREAM_20, US, causes_of, gemm, launch, names_of, span, traced
from tests.making import STREAM_7, Event, Made, Step, make_trace, waits_of, with_pauses


def one_gap(*between: Event, launched: int = 80, start: int = 90) -> Made:
    """A kernel up to 20, launched before; then what happens between, and a second one, launched for 10, that runs up to 100."""
    events = [launch(1, -10, 5), gemm(1, 0, 20), *between, launch(2, launched, 10), gemm(2, start, 100 - start)]
    return Made(events=events, steps=[Step(0, 100 * US)])


def test_a_host_that_launches_too_slowly_is_the_cause_of_all_idle_time() -> None:
    # A launch every 20, kernels of 5: idle three quarters. Each launch takes 10 of its operator's 18, and its kernel starts when it returns.
    events = []
    for number in range(10):
        at = 20 * number
        events += [span(Kind.OP, "aten::add", at, 18), launch(number, at + 5, 10), gemm(number, at + 15, 5)]
    trace = traced(Made(events=events, steps=[Step(0, 200 * US)]))
    assert idle(trace)["idle_ns"][0] / idle(trace)["window_ns"][0] == 0.75
    # Nine gaps from 20n to 20n + 15: 5 in the operator, 10 in the launch; and the first one, alike.
    assert causes_of(trace) == [{"launch": 100, "dispatch": 50}]
    assert names_of(trace) == {("launch", "aten::add"): 100, ("dispatch", "aten::add"): 50}


def test_the_interpreter_is_told_from_a_long_hole() -> None:
    short = one_gap(span(Kind.OP, "aten::add", 30, 30))
    assert causes_of(traced(short)) == [{"launch": 10, "dispatch": 30, "interpreter": 30}]
    events = [launch(1, -10, 5), gemm(1, 0, 20), launch(2, 280, 10), gemm(2, 290, 10)]
    long = Made(events=[*events, span(Kind.PHASE, "evaluate", 0, 400)], steps=[Step(0, 300 * US)])
    assert causes_of(traced(long)) == [{"launch": 10, "untraced": 260}]
    assert names_of(traced(long)) == {("launch", "launch#2"): 10, ("untraced", "evaluate"): 260}


@pytest.mark.parametrize(
    ("kind", "cause", "name"),
    [
        (Kind.INPUT, "input", "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"),
        (Kind.ALLOC, "alloc", "cudaMalloc"),
        (Kind.COMPILE, "compile", "cuModuleLoadData"),
        (Kind.GC, "gc", "gc.collect"),
        (Kind.CHECKPOINT, "checkpoint", "save_checkpoint"),
        (Kind.WAIT, "host_comm", "c10d::monitored_barrier"),
    ],
)
def test_what_the_host_was_at_is_the_cause(kind: Kind, cause: str, name: str) -> None:
    # Idle 20-90: 10 of it before, 40 in the span, 10 after, 10 in the launch. What the span covers of the busy time does not count.
    made = one_gap(span(kind, name, 30, 40), span(kind, name, 2, 10))
    assert causes_of(traced(made)) == [{cause: 40, "launch": 10, "interpreter": 20}]
    assert names_of(traced(made))[cause, name] == 40


def test_pauses_of_the_interpreter_are_told_by_their_kind() -> None:
    """Idle 20-90: collecting 30-50, compiling 50-60, whatever operator these began in; of what lies in the busy time nothing counts."""
    made = one_gap(span(Kind.OP, "aten::add", 25, 50))
    trace = with_pauses(
        traced(made), (5 * US, 10 * US, Kind.GC), (30 * US, 20 * US, Kind.GC), (50 * US, 10 * US, Kind.COMPILE)
    )
    assert causes_of(trace) == [{"gc": 20, "compile": 10, "launch": 10, "dispatch": 20, "interpreter": 10}]
    assert names_of(trace)["gc", "gc"] == 20


def test_pauses_are_no_compute_of_operators_and_a_doing_before_an_arrival() -> None:
    """An operator from 10 to 90 in which garbage is collected from 30 to 50, and 10 of it outside any operator."""
    made = Made(events=[span(Kind.OP, "aten::add", 10, 80)], steps=[Step(0, 100 * US)])
    trace = with_pauses(make_trace(made), (30 * US, 20 * US, Kind.GC), (90 * US, 10 * US, Kind.GC))
    assert int(account(trace)["compute_ns"][0]) == 60 * US
    [activity] = activities_of(trace)
    assert length(_parts(trace, activity)["gc"]) == 30 * US


def test_by_subtraction_pauses_are_idle_time_and_no_compute() -> None:
    """A step of 100: 20 blocked, 10 waiting for input, collecting 15-35 of which 5 lie in the wait, compiling 40-45: 50 are left."""
    step = Step(0, 100 * US, blocked=20 * US, input=10 * US, profiled=False)
    trace = make_trace(Made(steps=[step], waits=waits_of((0, 20 * US))))
    trace = with_pauses(trace, (15 * US, 20 * US, Kind.GC), (40 * US, 5 * US, Kind.COMPILE))
    table = account(trace)
    assert [int(table[name][0]) / US for name in ("compute_ns", "exposed_comm_ns", "idle_ns")] == [50, 20, 30]
    assert causes_of(trace) == [{"input": 10, "gc": 15, "compile": 5}]


def test_an_operator_that_is_slow_once_before_its_launch_loads_its_kernel() -> None:
    """Idle 20-9,060: of the operator's 9,000 up to its launch 8,980 are loading; where the same takes so long again and again it computes."""
    events = [
        launch(1, -10, 5),
        gemm(1, 0, 20),
        span(Kind.OP, "aten::erf", 20, 9030),
        launch(2, 9000, 10),
        gemm(2, 9060, 100),
    ]
    once = traced(Made(events=events, steps=[Step(0, 9160 * US)]))
    assert causes_of(once) == [{"compile": 8980, "launch": 60}]
    assert names_of(once) == {("compile", "aten::erf"): 8980, ("launch", "aten::erf"): 60}
    for number in range(3):
        at = 20_000 + 10_000 * number
        events += [
            span(Kind.OP, "aten::erf", at, 9030),
            launch(3 + number, at + 8980, 10),
            gemm(3 + number, at + 9040, 10),
        ]
    assert causes_of(traced(Made(events=events, steps=[Step(0, 9160 * US)]))) == [{"dispatch": 8980, "launch": 60}]


def test_memory_that_is_allocated_in_a_slow_operator_is_not_loading() -> None:
    events = [
        launch(1, -10, 5), gemm(1, 0, 20), span(Kind.OP, "aten::empty", 20, 9030), span(Kind.ALLOC, "cudaMalloc", 1000, 7000),
        launch(2, 9000, 10), gemm(2, 9060, 100),
    ]  # fmt: skip
    assert causes_of(traced(Made(events=events, steps=[Step(0, 9160 * US)]))) == [
        {"compile": 1980, "alloc": 7000, "launch": 60}
    ]


def test_what_nothing_was_recorded_of_belongs_to_the_call_that_drained_the_queue() -> None:
    """10 ms of Python behind `loss.item()`: without it the host would have launched the next step before."""
    sync = [span(Kind.OP, "aten::item", 3, 23), span(Kind.SYNC, "cudaStreamSynchronize", 5, 19)]
    events = [launch(1, -10, 5), gemm(1, 0, 20), *sync, launch(2, 10_000, 10), gemm(2, 10_010, 10)]
    trace = traced(Made(events=events, steps=[Step(0, 10_020 * US)]))
    assert causes_of(trace) == [{"sync": 4, "after_sync": 9986}]
    assert names_of(trace) == {("sync", "aten::item"): 4, ("after_sync", "aten::item"): 9986}


def test_a_call_that_drains_the_queue_owns_what_it_takes_to_fill_it_again() -> None:
    made = one_gap(
        span(Kind.OP, "aten::item", 3, 23),
        span(Kind.OP, "aten::_local_scalar_dense", 4, 21),
        span(Kind.SYNC, "cudaStreamSynchronize", 5, 19),
        span(Kind.OP, "aten::add", 60, 35),
    )
    # Idle 20-90. The call lasts until 24; until 26 and from 60 there are operators, from 80 the launch.
    assert causes_of(traced(made)) == [{"sync": 4, "after_sync": 66}]
    assert names_of(traced(made)) == {("sync", "aten::item"): 4, ("after_sync", "aten::item"): 66}, (
        "without the call the host would be ahead by then, whatever it did"
    )


def test_a_batch_that_is_late_after_a_sync_is_input() -> None:
    made = one_gap(span(Kind.SYNC, "cudaDeviceSynchronize", 5, 17), span(Kind.INPUT, "enumerate(DataLoader)", 25, 50))
    assert causes_of(traced(made)) == [{"input": 50, "sync": 2, "after_sync": 18}]


def test_a_sync_while_the_device_is_busy_is_no_stall() -> None:
    made = one_gap(span(Kind.SYNC, "cudaEventSynchronize", 2, 10), launched=10, start=20)
    assert causes_of(traced(made)) == [{}]
    late = one_gap(span(Kind.SYNC, "cudaEventSynchronize", 2, 10), launched=60, start=70)
    assert causes_of(traced(late)) == [{"launch": 10, "interpreter": 40}]


def test_a_sync_that_begins_in_the_gap_costs_its_own_time_only() -> None:
    made = one_gap(span(Kind.SYNC, "cudaEventSynchronize", 40, 3))
    assert causes_of(traced(made)) == [{"sync": 3, "launch": 10, "interpreter": 57}]


def test_work_that_was_queued_before_the_gap_is_the_devices_own_delay() -> None:
    made = one_gap(span(Kind.GC, "gc.collect", 15, 80), launched=5, start=60)
    assert causes_of(traced(made)) == [{"sched": 40}]
    assert names_of(traced(made)) == {("sched", "gemm#2"): 40}


def test_a_launch_that_was_under_way_when_the_gap_began_is_launch() -> None:
    assert causes_of(traced(one_gap(launched=15, start=60))) == [{"launch": 40}]


def test_the_children_of_a_graph_hang_on_its_launch() -> None:
    children = [gemm(2, start, 8) for start in range(50, 100, 10)]
    made = Made(
        events=[launch(1, -10, 5), gemm(1, 0, 20), launch(2, 30, 15, what="cudaGraphLaunch"), *children],
        steps=[Step(0, 98 * US)],
    )
    # Late until 30, launching until 50; then four gaps of 2 within the graph.
    assert causes_of(traced(made)) == [{"interpreter": 10, "launch": 20, "sched": 8}]


def test_a_module_loaded_inside_the_launch_is_told_apart() -> None:
    made = one_gap(span(Kind.COMPILE, "cuLibraryLoadData", 42, 6), launched=40)
    made = replace(made, events=[launch(2, 40, 10) if event.name == "launch#2" else event for event in made.events])
    assert causes_of(traced(made)) == [{"interpreter": 20, "compile": 6, "launch": 44}]


def test_of_several_activities_that_end_a_gap_the_one_launched_first_counts() -> None:
    made = one_gap(launch(3, 5, 5), gemm(3, 90, 5, stream=STREAM_20))
    assert causes_of(traced(made)) == [{"sched": 70}]


def test_a_span_explains_the_calls_inside_it() -> None:
    inside = [span(Kind.OP, "aten::stack", 35, 10), span(Kind.ALLOC, "cudaHostAlloc", 50, 5)]
    made = one_gap(span(Kind.INPUT, "enumerate(DataLoader)", 30, 40), *inside)
    assert causes_of(traced(made)) == [{"input": 40, "launch": 10, "interpreter": 20}]
    pause = one_gap(span(Kind.INPUT, "enumerate(DataLoader)", 30, 40), span(Kind.GC, "gc", 40, 5))
    assert causes_of(traced(pause)) == [{"input": 35, "gc": 5, "launch": 10, "interpreter": 20}]


def test_a_copy_from_pageable_memory_that_blocks_is_a_sync() -> None:
    copy = Event(STREAM_7, Kind.COPY, 10 * US, 10 * US, "Memcpy DtoH (Device -> Pageable)#3")
    made = one_gap(span(Kind.OP, "aten::cpu", 7, 18), launch(3, 8, 16), copy)
    trace = traced(made)
    row = np.flatnonzero(trace.kinds == Kind.COPY).astype(np.int32)
    pinned = replace(trace, copies=Copies(row, ("DtoH",), np.array([False]), np.array([4])))
    assert causes_of(pinned) == [{"dispatch": 5, "launch": 10, "interpreter": 55}]
    blocking = replace(pinned, copies=replace(pinned.copies, pageable=np.array([True])))
    assert causes_of(blocking) == [{"sync": 4, "after_sync": 66}]
    assert names_of(blocking)["sync", "aten::cpu"] == 4


def test_the_backward_pass_has_a_thread_of_its_own() -> None:
    # Main waits in item() up to 24, calls backward, and waits; the other thread begins at 60.
    made = Made(
        events=[
            launch(1, -10, 5),
            gemm(1, 0, 20),
            span(Kind.SYNC, "cudaStreamSynchronize", 5, 19),
            span(Kind.OP, "MmBackward0", 60, 30, lane=BACKWARD),
            launch(2, 70, 10, lane=BACKWARD),
            gemm(2, 80, 20),
            span(Kind.OP, "AddBackward0", 110, 30, lane=BACKWARD),
            span(Kind.OP, "aten::_foreach_add_", 150, 30),
            launch(3, 160, 10),
            gemm(3, 170, 30),
        ],
        steps=[Step(0, 200 * US)],
    )
    # Gap 20-80 is launched by the other thread, which has nothing to show before 60: main was in the call, which owns the gap.
    # Gap 100-170 is launched by main, which has nothing to show before 150: the other thread was in an operator from 110 to 140.
    assert causes_of(traced(made)) == [{"sync": 4, "after_sync": 56, "dispatch": 40, "launch": 10, "interpreter": 20}]


def test_input_on_a_thread_that_pins_memory_is_not_waited_for() -> None:
    pinning = span(Kind.INPUT, "aten::pin_memory", 30, 40, lane=BACKWARD)
    launching = [launch(9, -40, 2, lane=BACKWARD), gemm(9, -30, 5)]
    made = one_gap(pinning, span(Kind.PHASE, "forward", 0, 100), *launching)
    assert causes_of(traced(made)) == [{"launch": 10, "interpreter": 60}]


def test_a_gap_at_the_end_of_a_window_belongs_to_the_next_launch() -> None:
    made = one_gap(span(Kind.INPUT, "enumerate(DataLoader)", 30, 40))
    made = replace(made, steps=[Step(0, 50 * US), Step(50 * US, 100 * US)])
    made = replace(made, events=[replace(one, step=1) if one.name.endswith("2") else one for one in made.events])
    assert causes_of(traced(made)) == [{"interpreter": 10, "input": 20}, {"interpreter": 10, "input": 20, "launch": 10}]
    # The step that follows may not be accounted for: its activity ends the gap all the same.
    alone = replace(made, steps=made.steps[:1])
    alone = replace(alone, events=[replace(one, step=-1) if one.step == 1 else one for one in alone.events])
    assert causes_of(traced(alone)) == [{"interpreter": 10, "input": 20}]


def test_without_a_launch_only_what_the_host_says_it_was_at_counts() -> None:
    made = one_gap(span(Kind.INPUT, "enumerate(DataLoader)", 30, 40))
    made = replace(made, events=[one for one in made.events if one.name != "launch#2"])
    assert causes_of(traced(made)) == [{"input": 40, "unlinked": 30}]
    assert causes_of(traced(Made(events=[gemm(1, 20, 50)], steps=[Step(0, 100 * US)]))) == [{"unlinked": 50}]


def test_several_devices_are_averaged_and_close_exactly() -> None:
    # Device 0 is idle 20-90, device 1 is idle 0-30 and from 65.001 on: work launched by 61.
    made = one_gap(
        span(Kind.GC, "gc.collect", 20, 40),
        launch(3, 20, 10),
        gemm(3, 30, 35, stream=STREAM_20),
    )
    made = replace(made, events=[replace(one, dur=one.dur + 1) if one.name == "gemm#3" else one for one in made.events])
    trace = traced(made, devices=(-1, -1, 0, 1))
    table = idle(trace)
    assert table["idle_ns"].tolist() == account(trace)["idle_ns"].tolist() == [67_500]
    assert sum(table[f"{cause.name.lower()}_ns"][0] for cause in Cause) == 67_500
    # The pause: 40 on the first, and on the second the 10 of the launch that lies in it. The ns that halving leaves over goes to the largest cause.
    assert table["gc_ns"].tolist() == [(40_000 + 10_000) // 2 + 1]
    assert table["interpreter_ns"].tolist() == [(20_000 + 20_000) // 2]
    assert table["launch_ns"].tolist() == [10_000 // 2]
    assert table["unlinked_ns"].tolist() == [34_999 // 2]


def test_on_a_host_idle_time_is_what_the_calling_thread_says() -> None:
    made = Made(
        events=[
            span(Kind.OP, "aten::linear", 0, 30),
            span(Kind.OP, "aten::addmm", 5, 20),
            span(Kind.INPUT, "enumerate(DataLoader)", 40, 20),
            span(Kind.LAUNCH, "c10d::allreduce_", 65, 5),
            span(Kind.GC, "gc.collect", 75, 10),
        ],
        steps=[Step(0, 100 * US)],
    )
    trace = make_trace(made)
    assert METHODS[account(trace)["method"][0]] == "operators"
    # Compute is 5-25; the operator around it has 10, and behind the last event nothing is recorded any more.
    assert causes_of(trace) == [
        {"input": 20, "gc": 10, "host_comm": 5, "dispatch": 10, "interpreter": 20, "untraced": 15}
    ]


def test_by_subtraction_idle_time_is_the_input_of_the_step_lines() -> None:
    made = Made(steps=[Step(0, 100 * US, blocked=30 * US, input=8 * US)], waits=waits_of((60 * US, 90 * US)))
    assert causes_of(make_trace(made)) == [{"input": 8}]
    assert names_of(make_trace(made)) == {("input", ""): 8}


def test_only_so_many_names_are_kept() -> None:
    events = []
    for number in range(30):
        at = 100 * number
        events += [
            span(Kind.OP, f"aten::op{number}", at, 50 + number),
            launch(number, at + 60, 5),
            gemm(number, at + 65, 35),
        ]
    table = idle_names(traced(Made(events=events, steps=[Step(0, 3000 * US)])))
    assert len(table) == MOST_NAMES
    assert {"aten::op29", "aten::op20"} <= set(table["name"])
    assert "aten::op0" not in table["name"]


@pytest.mark.parametrize("lanes", [(0, 1, 2, 3), (0, 1)])
@given(data=st.data())
def test_the_causes_always_add_up_to_the_idle_time_of_the_account(lanes: tuple[int, ...], data: st.DataObject) -> None:
    kinds = [kind for kind in Kind if kind != Kind.IO]
    drawn = data.draw(
        st.lists(
            st.tuples(st.sampled_from(lanes), st.sampled_from(kinds), st.integers(0, 90), st.integers(0, 40)),
            min_size=1,
        )
    )
    edges = sorted(data.draw(st.sets(st.integers(0, 110), min_size=2, max_size=5)))
    steps = [Step(start * US, end * US, blocked=0, input=0) for start, end in itertools.pairwise(edges)]
    number = st.integers(0, 5)
    events = [
        Event(
            lane,
            kind,
            start * US,
            dur * US,
            f"{kind.name}#{data.draw(number)}",
            step=data.draw(st.integers(-1, len(steps) - 1)),
        )
        for lane, kind, start, dur in drawn
    ]
    devices = data.draw(st.sampled_from([(-1, -1, 0, 0), (-1, -1, 0, 1)]))
    trace = traced(Made(events=events, steps=steps, waits=waits_of((3 * US, 9 * US))), devices=devices)
    _check(trace)


def _check(trace: Trace) -> None:
    """The causes of every step are never negative and add up; the names say no more than that."""
    table, names = idle(trace), idle_names(trace)
    cells = np.column_stack([table[f"{cause.name.lower()}_ns"] for cause in Cause])
    known = account(trace)
    assert table["step"].tolist() == known["step"].tolist()
    assert table["idle_ns"].tolist() == known["idle_ns"].tolist()
    assert (cells >= 0).all()
    assert cells.sum(axis=1).tolist() == known["idle_ns"].tolist()
    for step, cause, ns in zip(names["step"].tolist(), names["cause"].tolist(), names["ns"].tolist(), strict=True):
        assert 0 <= ns <= cells[table["step"] == step][0, cause] + len(Cause)


def job(cause: str, **more: Any) -> Spec:
    fields = {
        "ranks": 2,
        "steps": 4,
        "late_rank": 1,
        "late_cause": cause,
        "compute_ms": 10.0,
        "gradient_bytes": 4_000_000,
    }
    return Spec(**{**fields, **more})


def sums_of(spec: Spec, folder: Path) -> dict[int, dict[str, int]]:
    """By rank the ns of each cause, over all accounted steps."""
    write_job(spec, folder)
    (run,) = find_runs([folder])
    found = {}
    for rank, files in run.ranks.items():
        trace = read_rank(files)
        _check(trace)
        table = idle(trace)
        found[rank] = {cause.name.lower(): int(table[f"{cause.name.lower()}_ns"].sum()) for cause in Cause}
    return found


@pytest.mark.parametrize("run_ahead", [0, 1])
def test_a_late_batch_shows_as_input_on_the_late_rank(run_ahead: int, tmp_path: Path) -> None:
    late = sums_of(job("input", late_ms=20.0, run_ahead=run_ahead), tmp_path / "late")
    calm = sums_of(job("input", run_ahead=run_ahead), tmp_path / "calm")
    grown = {rank: {cause: late[rank][cause] - calm[rank][cause] for cause in calm[rank]} for rank in calm}
    if not run_ahead:  # the host waits for the device at the end of every step, so that nothing hides any of it
        assert grown[1] == {**dict.fromkeys(grown[1], 0), "input": 4 * 20_000_000}
    else:
        assert grown[1]["input"] > 4 * 10_000_000
        assert max(grown[1], key=lambda cause: grown[1][cause]) == "input"
    assert grown[0]["input"] <= 0


def test_a_pause_shows_as_garbage_collection_on_the_late_rank(tmp_path: Path) -> None:
    sums = sums_of(job("pause", late_ms=20.0), tmp_path)
    calm = sums_of(job("pause"), tmp_path / "calm")
    assert sums[0]["gc"] == calm[0]["gc"] == calm[1]["gc"] == 0
    # What was launched before the pause still runs meanwhile: half of the forward pass, at most.
    assert 4 * 17_000_000 < sums[1]["gc"] < 4 * 20_000_000
    idle_grown = sum(sums[1].values()) - sum(calm[1].values())
    assert abs(idle_grown - sums[1]["gc"]) < 4 * 100_000


@pytest.mark.parametrize("folder", ["kineto", "ascend", "horovod"])
def test_causes_add_up_in_other_peoples_traces(folder: str, foreign_traces: Path) -> None:
    runs = find_runs([foreign_traces / folder])
    assert runs
    for run in runs:
        for files in run.ranks.values():
            _check(read_rank(files))


def test_causes_add_up_in_the_samples(repository: Path) -> None:
    for run in find_runs([repository / "sample_traces"]):
        trace = read_rank(next(iter(run.ranks.values())))
        _check(trace)
