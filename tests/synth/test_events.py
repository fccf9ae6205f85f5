"""The events of a step: what ties them together, and what a reader must not count."""

from collections import Counter
from typing import Any

from scaleprof.synth.events import (
    Process,
    closing_events,
    device_events,
    host_events,
    stride_of,
    thread_events,
)
from scaleprof.synth.rows import rows_of
from scaleprof.synth.spec import Spec, load_spec
from scaleprof.synth.timeline import Timeline, simulate
from tests.synth.tiny import tiny

PROCESS = Process(rank=1, device=1)


def events_of(spec: Spec) -> tuple[Timeline, list[dict[str, Any]], list[dict[str, Any]]]:
    timeline = simulate(spec)
    rows = rows_of(timeline)
    return timeline, host_events(timeline, PROCESS, rows), device_events(timeline, PROCESS, rows)


def test_every_device_activity_has_its_launch() -> None:
    timeline, _, events = events_of(tiny())
    work = [event for event in events if event["cat"] in ("kernel", "gpu_memcpy")]
    assert len(work) == timeline.plan.kernels
    calls = {event["args"]["correlation"] for event in events if event["cat"] == "cuda_runtime"}
    assert {event["args"]["correlation"] for event in work} <= calls
    flows = Counter((event["ph"], event["id"]) for event in events if event["cat"] == "ac2g")
    assert all(
        flows["f", event["args"]["correlation"]] == 1 == flows["s", event["args"]["correlation"]] for event in work
    )
    assert len(flows) > 2 * len(work), "calls that launch nothing have flows, too"


def test_a_collective_is_told_on_the_host_and_on_the_device() -> None:
    _, host, device = events_of(tiny(ranks=40, ranks_per_host=8, dialect="oneline2026"))
    told = [event for event in host if event["name"] == "record_param_comms"]
    kernels = [event for event in device if event["name"].startswith("ncclDevKernel_AllReduce")]
    assert len(told) == len(kernels) == 2
    for event in (*told, *kernels):
        about = event["args"]
        assert (about["Collective name"], about["In msg nelems"], about["Group size"]) == ("allreduce", 5_000_000, 40)
        assert about["Process Group Ranks"].endswith("28, 29, ..., ...]"), "torch cuts long lists"
    assert [event["args"]["Seq"] for event in kernels] == ["@q1:2@", "@q2:2@"]
    names = Counter((event["cat"], event["name"]) for event in (*host, *device))
    assert names["user_annotation", "nccl:all_reduce"] == names["gpu_user_annotation", "nccl:all_reduce"] == 2


def test_steps_stand_on_the_host_and_are_mirrored() -> None:
    _, host, device = events_of(tiny())
    for events, category in ((host, "user_annotation"), (device, "gpu_user_annotation")):
        assert [event["cat"] for event in events if event["name"].startswith("ProfilerStep#")] == [category]


def test_the_backward_pass_runs_on_a_thread_of_its_own() -> None:
    _, host, _ = events_of(tiny())
    thread = {event["name"]: event["tid"] for event in host if event["cat"] == "cpu_op"}
    assert thread["aten::mm"] == PROCESS.pid
    assert thread["autograd::engine::evaluate_function: MmBackward0"] == thread["c10d::allreduce_"] == PROCESS.autograd
    pairs = Counter((event["ph"], event["id"]) for event in host if event["cat"] == "fwdbwd")
    assert pairs == {(phase, f"@n{layer}@"): 1 for phase in "sf" for layer in (1, 2)}


def test_numbers_of_one_step_do_not_reach_into_the_next() -> None:
    timeline, host, device = events_of(tiny(stack_events=5, dialect="oneline2026"))
    text = str([*host, *device])
    numbers = [int(part.partition("@")[0]) for part in text.split("@n")[1:]]
    assert max(numbers) < stride_of(timeline, PROCESS.rank)


def test_threads_and_streams_are_named() -> None:
    events = thread_events(PROCESS, (7, 20))
    labels = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert labels[PROCESS.device, 20] == "stream 20 "
    assert len(labels) == 5


def test_a_large_file_is_made_of_what_real_ones_are_made_of() -> None:
    spec = load_spec("large", [("steps", "1")])
    _, host, device = events_of(spec)
    events = [*host, *device, *closing_events(PROCESS, 1)]
    complete = sum(event["ph"] == "X" for event in events) / len(events)
    assert 0.4 < complete < 0.7
    assert len({event["name"] for event in events}) > 40
