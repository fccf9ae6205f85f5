"""Folders that `scaleprof.trace_handler` wrote: our record of the rank, and steps that the training's own profiler marked."""

from pathlib import Path
from typing import Any

from scaleprof.clock import ClockAnchor
from scaleprof.readers import read_rank
from scaleprof.run import RANK_FILE, RankFiles, RankInfo, rank_folder_name, trace_file_name, write_json
from scaleprof.trace import Trace
from tests.readers.making import OFFSET_NS, Json, complete, write_trace


def profiled_folder(tmp_path: Path, *files: list[Json], **info: Any) -> Trace:
    """A folder as `scaleprof.trace_handler` leaves it."""
    folder = tmp_path / "job" / rank_folder_name(0)
    folder.mkdir(parents=True)
    anchors = (ClockAnchor(OFFSET_NS, 0, OFFSET_NS),)
    write_json(RankInfo(rank=0, world_size=1, anchors=anchors, **info), folder / RANK_FILE)
    paths = tuple(write_trace(folder / trace_file_name(n, n, "full"), events) for n, events in enumerate(files))
    return read_rank(RankFiles(0, "recorded", paths, folder))


def batches(first: int, count: int, *, optimizer_every: int, start: int = 0) -> list[Json]:
    """Steps of the profiler of 100 us, of which every so many end with the optimizer's."""
    events = []
    for number in range(first, first + count):
        at = start + 100 * (number - first)
        events.append(complete(f"ProfilerStep#{number}", "user_annotation", at, 95))
        if (number + 1) % optimizer_every == 0:
            events.append(complete("Optimizer.step#SGD.step", "user_annotation", at + 80, 10))
    return events


def step_windows(trace: Trace) -> list[tuple[int, int, int]]:
    steps = trace.steps
    return list(
        zip(steps.index.tolist(), (steps.start_ns // 1000).tolist(), (steps.end_ns // 1000).tolist(), strict=True)
    )


def test_a_folder_of_a_trace_handler_has_the_steps_of_its_files(tmp_path: Path) -> None:
    trace = profiled_folder(
        tmp_path, batches(3, 2, optimizer_every=1), batches(9, 2, optimizer_every=1, start=9000), local_batch=16
    )
    assert step_windows(trace) == [(3, 0, 100), (4, 100, 195), (9, 9000, 9100), (10, 9100, 9195)]
    assert trace.steps.samples.tolist() == [16] * 4
    assert (trace.step_source, trace.info.device, trace.caveats) == ("annotations", "cpu", ())


def test_batches_are_joined_to_steps_of_the_optimizer(tmp_path: Path) -> None:
    trace = profiled_folder(tmp_path, batches(2, 9, optimizer_every=3), batches(22, 5, optimizer_every=3, start=9000))
    # 2 | 3 4 5 | 6 7 8 | 9 10 and 22 23 | 24 25 26: what is no whole step is left out.
    assert step_windows(trace) == [(5, 100, 400), (8, 400, 695), (26, 9200, 9495)]
    assert "3 to a step of the optimizer" in trace.caveats[0]


def test_a_step_that_the_optimizer_leaves_out_stays_one(tmp_path: Path) -> None:
    events = [event for event in batches(0, 6, optimizer_every=1) if event["ts"] != 280]
    assert [index for index, _, _ in step_windows(profiled_folder(tmp_path, events))] == [0, 1, 2, 3, 4, 5]


def test_what_comes_after_the_last_step_of_the_optimizer_is_none(tmp_path: Path) -> None:
    events = [*batches(0, 4, optimizer_every=1), complete("ProfilerStep#4", "user_annotation", 400, 1)]
    trace = profiled_folder(tmp_path, events)
    assert [index for index, _, _ in step_windows(trace)] == [0, 1, 2, 3]
    assert trace.caveats == ("what the profiler marked behind the optimizer's last step is left out",)
