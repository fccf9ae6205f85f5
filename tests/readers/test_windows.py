"""Where steps begin and end (`method` 1.1), on traces small enough to draw."""

import dataclasses
from pathlib import Path

import pytest

from scaleprof.readers import read_rank
from scaleprof.trace import Trace
from tests.readers.making import COMM_STREAM, Json, complete, kernel, launch, rank_of, step, write_trace


def read(tmp_path: Path, events: list[Json]) -> Trace:
    return read_rank(rank_of(write_trace(tmp_path / "t.json", events)))


def tiled(*, after: bool = True, steps: int = 3) -> list[Json]:
    """Steps of 100 us on the host; each launches two kernels that end 50 us after the host's step, and a collective."""
    events: list[Json] = []
    for number in range(steps):
        start, base = 100 * number, 10 * number
        events += step(number, start, 100)
        events += [launch(start + 10, base + 1), launch(start + 20, base + 2), launch(start + 30, base + 3)]
        events += [kernel("gemm", start + 40, 30, base + 1), kernel("gemm", start + 80, 70, base + 2)]
        events += [kernel("ncclDevKernel_AllReduce_x", start + 90, 75, base + 3, stream=COMM_STREAM)]
    if after:
        events.append(complete("cudaDeviceSynchronize", "cuda_runtime", 100 * steps + 5, 60, correlation=999))
    return events


def read_files(tmp_path: Path, *files: list[Json]) -> Trace:
    """Several files of one rank."""
    paths = tuple(write_trace(tmp_path / f"{number}.json", events) for number, events in enumerate(files))
    return read_rank(dataclasses.replace(rank_of(paths[0]), traces=paths))


def later(events: list[Json], by_us: int, *, steps: int = 0) -> list[Json]:
    """The same events later, their steps counted on."""
    moved = [{**event, "ts": event["ts"] + by_us} for event in events]
    for event in moved:
        number = event["name"].removeprefix("ProfilerStep#")
        if number.isdecimal():
            event["name"] = f"ProfilerStep#{int(number) + steps}"
    return moved


def windows(trace: Trace) -> list[tuple[int, int, int]]:
    steps = trace.steps
    return list(
        zip(steps.index.tolist(), (steps.start_ns // 1000).tolist(), (steps.end_ns // 1000).tolist(), strict=True)
    )


def test_steps_end_where_their_kernels_on_the_main_stream_end(tmp_path: Path) -> None:
    trace = read(tmp_path, tiled())
    assert windows(trace) == [(1, 150, 250), (2, 250, 350)]
    assert (trace.steps.host_start_ns // 1000).tolist() == [100, 200]
    assert trace.step_source == "annotations"
    assert "step 0 is left out" in " ".join(trace.caveats)


def test_a_device_activity_belongs_to_the_step_that_launched_it(tmp_path: Path) -> None:
    trace = read(tmp_path, tiled())
    rows = [row for row in range(len(trace.events)) if trace.on_device[row] and trace.events.link[row] >= 0]
    launched = {int(trace.events.start_ns[row]) // 1000: int(trace.events.step[row]) for row in rows}
    # Rows of steps 1 and 2 are 0 and 1. Of step 0 only the collective reaches into a window: it counts there.
    assert launched == {40: -1, 80: -1, 90: 0, 140: 0, 180: 0, 190: 0, 240: 1, 280: 1, 290: 1}


def test_the_last_step_may_be_cut_off(tmp_path: Path) -> None:
    trace = read(tmp_path, tiled(after=False, steps=4))
    assert windows(trace) == [(1, 150, 250), (2, 250, 350)]
    assert "step 3 is left out" in " ".join(trace.caveats)
    two = read(tmp_path, tiled(after=False, steps=2))
    assert windows(two) == [(1, 150, 250)]
    assert "the end of step 1 may have been cut off" in " ".join(two.caveats)


def test_a_step_with_few_kernels_on_the_main_stream_counts_all_streams(tmp_path: Path) -> None:
    events = [*tiled(), *step(3, 300, 100), launch(310, 31), launch(320, 32)]
    events += [kernel("gemm", 340, 20, 31), kernel("gemm", 345, 60, 32, stream=9)]
    events += [complete("cudaDeviceSynchronize", "cuda_runtime", 405, 6, correlation=998)]
    assert windows(read(tmp_path, events))[-1] == (3, 350, 405)


def test_a_step_without_device_work_is_empty(tmp_path: Path) -> None:
    events = [event for event in tiled(steps=4) if event.get("args", {}).get("correlation") not in (21, 22, 23)]
    assert windows(read(tmp_path, events)) == [(1, 150, 250), (2, 250, 250), (3, 250, 450)]


def test_activities_without_a_launch_belong_by_time_and_are_counted(tmp_path: Path) -> None:
    trace = read(tmp_path, [*tiled(), kernel("gemm", 210, 5, 777), kernel("gemm", 400, 7, 778)])
    assert trace.extra["device_events_without_launch"] == 2
    assert "2 device activities (0.012 ms) have no launch in the file" in " ".join(trace.caveats)
    rows = {int(trace.events.start_ns[row]) // 1000: int(trace.events.step[row]) for row in range(len(trace.events))}
    assert (rows[210], rows[400]) == (0, -1)


def test_a_lone_step_is_the_span_of_what_it_launched(tmp_path: Path) -> None:
    events = [*step(7, 0, 100), launch(10, 1), launch(20, 2), kernel("gemm", 30, 30, 1), kernel("gemm", 70, 60, 2)]
    trace = read(tmp_path, [*events, kernel("gemm", 5, 10, 99)])
    assert windows(trace) == [(7, 30, 130)]
    assert trace.step_source == "lone step"
    assert trace.extra == {"device_events_without_launch": 1}
    orphan = int(trace.events.step[[int(start) for start in trace.events.start_ns // 1000].index(5)])
    assert orphan == -1, "it was launched before the step and is not in its account"
    assert any("1 device activities (0.01 ms)" in caveat for caveat in trace.caveats)
    assert any("only one step" in caveat for caveat in trace.caveats)


def test_only_one_of_several_steps_launched_something(tmp_path: Path) -> None:
    events = [*step(1, 0, 100), *step(2, 100, 100), launch(110, 1), launch(120, 2)]
    trace = read(tmp_path, [*events, kernel("gemm", 130, 30, 1), kernel("gemm", 170, 60, 2)])
    assert windows(trace) == [(2, 130, 230)]
    assert trace.step_source == "lone step"


def test_without_steps_the_trace_is_one(tmp_path: Path) -> None:
    device = read(tmp_path, [launch(0, 1), kernel("gemm", 10, 5, 1), kernel("gemm", 30, 50, 2)])
    assert windows(device) == [(0, 10, 80)]
    assert device.events.step.tolist() == [-1, 0, 0]
    profiler = complete("PyTorch Profiler (0)", "Trace", 0, 1000, pid="Spans", tid="PyTorch Profiler")
    host = read(tmp_path, [profiler, complete("a", "cpu_op", 20, 5), complete("b", "cpu_op", 30, 40)])
    assert windows(host) == [(0, 20, 70)]
    assert host.step_source == "whole trace"
    assert "marks no steps" in host.caveats[0]


def test_a_trace_without_events_has_no_steps(tmp_path: Path) -> None:
    trace = read(tmp_path, [])
    assert (len(trace.events), len(trace.steps)) == (0, 0)


def test_on_the_cpu_a_step_ends_where_the_next_begins(tmp_path: Path) -> None:
    annotations = [complete(f"ProfilerStep#{n}", "user_annotation", 110 * n, 100) for n in (5, 6)]
    trace = read(tmp_path, [*annotations, complete("a", "cpu_op", 655, 1), complete("late", "cpu_op", 800, 1)])
    assert windows(trace) == [(5, 550, 660), (6, 660, 760)]
    assert trace.events.step.tolist() == [0, 0, 1, -1]


def test_step_numbers_that_start_again_are_counted_through(tmp_path: Path) -> None:
    annotations = [complete(f"ProfilerStep#{n}", "user_annotation", ts, 100) for n, ts in ((5, 0), (6, 100), (5, 200))]
    assert read(tmp_path, annotations).steps.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize("steps", [3, 5, 9])
def test_windows_tile_exactly(tmp_path: Path, steps: int) -> None:
    trace = read(tmp_path, tiled(steps=steps))
    assert (trace.steps.start_ns[1:] == trace.steps.end_ns[:-1]).all()
    assert int((trace.steps.end_ns - trace.steps.start_ns).sum()) == (steps - 1) * 100_000


@pytest.mark.parametrize("digits", [16, 30, 5000])
def test_a_step_number_that_no_job_reaches_is_no_step(tmp_path: Path, digits: int) -> None:
    event = complete("ProfilerStep#" + "9" * digits, "user_annotation", 0, 100)
    trace = read_rank(rank_of(write_trace(tmp_path / "t.json", [event])))
    assert trace.step_source == "whole trace"


def test_between_two_files_the_profiler_was_off(tmp_path: Path) -> None:
    first = [event for number in (0, 1) for event in step(number, 100 * number, 90)]
    trace = read_files(tmp_path, first, later(first, 5000, steps=2))
    assert windows(trace) == [(0, 0, 100), (1, 100, 190), (2, 5000, 5100), (3, 5100, 5190)]


def test_each_file_has_device_windows_of_its_own(tmp_path: Path) -> None:
    trace = read_files(tmp_path, tiled(), later(tiled(), 5000, steps=10))
    assert windows(trace) == [(1, 150, 250), (2, 250, 350), (11, 5150, 5250), (12, 5250, 5350)]
    rows = [row for row in range(len(trace.events)) if trace.on_device[row] and trace.events.link[row] >= 0]
    launched = {int(trace.events.start_ns[row]) // 1000: int(trace.events.step[row]) for row in rows}
    assert {time: launched[time] for time in (140, 240, 5140, 5240)} == {140: 0, 240: 1, 5140: 2, 5240: 3}
    said = " ".join(trace.caveats)
    assert "step 0 is left out" in said
    assert "step 10 is left out" in said


def test_a_file_ends_with_its_own_last_event_not_with_the_next_file(tmp_path: Path) -> None:
    cut = tiled(after=False, steps=4)
    trace = read_files(tmp_path, cut, later(cut, 5000, steps=10))
    assert windows(trace) == [(1, 150, 250), (2, 250, 350), (11, 5150, 5250), (12, 5250, 5350)]
    assert "step 3 is left out" in " ".join(trace.caveats)


def test_files_of_one_step_each_stand_alone(tmp_path: Path) -> None:
    lone = tiled(steps=1)
    trace = read_files(tmp_path, lone, later(lone, 5000, steps=7))
    assert windows(trace) == [(0, 40, 165), (7, 5040, 5165)]


def test_a_file_without_device_work_costs_its_steps(tmp_path: Path) -> None:
    trace = read_files(tmp_path, step(0, 0, 100)[:1], later(tiled(), 5000, steps=10))
    assert windows(trace) == [(11, 5150, 5250), (12, 5250, 5350)]
