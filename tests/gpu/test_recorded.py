"""What a GPU recorded, against stopwatches that ran in the job itself: `jobs.py` says what was done on purpose, `truth.jsonl` for how long.

One H200, torch 2.11 with CUDA 13; two ranks of NCCL share it (CUDA MPS) and talk over the loopback. No GPU is needed here.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof import analyze
from scaleprof.analyses.account.gaps import idle
from scaleprof.analyses.account.steps import steps
from scaleprof.readers import find_runs, read_rank
from scaleprof.results import RunReport
from scaleprof.trace import Trace

SAMPLES = Path(__file__).parent.parent.parent / "sample_traces"
TRUTH = [json.loads(line) for line in (Path(__file__).parent / "truth.jsonl").read_text().splitlines()]
NOTHING_TO_DO = 11.0
"""What a step of the job takes the device, in ms, where nothing is done to it."""


def folder(name: str) -> Path:
    [found] = SAMPLES.glob(f"{name}-n?-*")
    return found


@cache
def traces(name: str) -> Mapping[int, Trace]:
    [run] = find_runs([folder(name)])
    return {rank: read_rank(files) for rank, files in run.ranks.items()}


@cache
def analyzed(name: str) -> RunReport:
    [run] = analyze([folder(name)]).runs
    return run


def told(job: str, what: str, rank: int = 0) -> dict[int, float]:
    """By step what the stopwatch of a rank says, in ms."""
    return {line["step"]: line[what] for line in TRUTH if (line["job"], line["rank"]) == (job, rank)}


def value(name: str, id: str) -> Any:
    metric = analyzed(name).metric(id)
    assert metric is not None, f"{name} has no {id}"
    return metric.value


def findings(name: str) -> dict[str, Any]:
    return {one.id: one for section in analyzed(name).sections for one in section.findings if one.severity != "healthy"}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("job", ["ddp-light", "ddp-timeline", "late-timeline"])
def test_steps_take_as_long_as_the_devices_own_events_say(job: str, rank: int) -> None:
    """Where no profiler runs the host is up to ten steps ahead, so that its own times are a fraction of these."""
    table, truth = steps(traces(f"nccl-{job}")[rank]), told(job, "device_ms", rank)
    # Around the windows of the profiler the job's own events hold what starting and stopping it took.
    compared = [
        (time_ns / 1e6, truth[step])
        for step, time_ns in zip(table["step"].tolist(), table["time_ns"].tolist(), strict=True)
        if step in {2, 3, 4, *range(7, 15), 17, 18, 19, 20}
    ]
    assert len(compared) == 15
    for found, expected in compared:
        assert found == pytest.approx(expected, abs=0.2, rel=0.002)


def test_a_healthy_step_is_nearly_all_compute() -> None:
    assert value("gpu-plain", "step.time_ms") == pytest.approx(NOTHING_TO_DO, rel=0.02)
    assert value("gpu-plain", "time.compute_share") > 0.96
    assert not findings("gpu-plain")


@pytest.mark.parametrize(
    ("job", "finding", "cause", "named"),
    [
        ("input", "starved", "input", "scaleprof::input"),
        ("sync", "host-sync", "sync", "aten::item"),
        ("launch", "launch-bound", "launch", "aten::add_"),
        ("alloc", "allocation", "alloc", "cudaFree"),
        ("gc", "collection", "gc", "garbage collection"),
        ("checkpoint", "checkpoint", "checkpoint", "save checkpoint"),
        ("module", "compilation", "compile", "aten::special_"),
        ("compile", "compilation", "compile", "torch.compile"),
    ],
)
def test_why_the_device_was_idle_is_found_and_named(job: str, finding: str, cause: str, named: str) -> None:
    found = findings(f"gpu-{job}")
    assert found[finding].severity == "high"
    assert named in found[finding].evidence
    assert set(found) <= {finding, "exposed-copies", "small-kernels"}, "and nothing else is blamed"
    shares = {
        metric.id: float(metric.value)
        for section in analyzed(f"gpu-{job}").sections
        for metric in section.metrics
        if metric.id.startswith("idle.") and metric.id.endswith("_share")
    }
    assert max(shares, key=lambda one: shares[one]) == f"idle.{cause}_share"


@pytest.mark.parametrize(
    ("job", "causes", "tolerance_ms"),
    [("gc", ("gc",), 0.1), ("module", ("compile",), 0.5), ("sync", ("sync", "after_sync"), 0.6)],
)
def test_idle_time_lasts_as_long_as_the_stopwatch_says(job: str, causes: tuple[str, ...], tolerance_ms: float) -> None:
    """It was done after the optimizer's step, which ends a step of ours: the next one has it. The device was idle when it began."""
    table, truth = idle(traces(f"gpu-{job}")[0]), told(job, "injected_ms")
    for row, step in enumerate(table["step"].tolist()):
        found_ms = sum(int(table[f"{cause}_ns"][row]) for cause in causes) / 1e6
        assert found_ms == pytest.approx(truth[step - 1], abs=tolerance_ms), f"step {step}"


def test_a_checkpoint_is_the_copy_from_the_device_and_the_rest() -> None:
    leaves = traces("gpu-checkpoint")[0]
    table, truth = idle(leaves), told("checkpoint", "injected_ms")
    run = analyzed("gpu-checkpoint")
    share = run.metric("time.exposed_memory_share")
    assert share is not None
    copied_ms = float(share.value) * float(np.mean(table["window_ns"])) / 1e6
    found_ms = float(np.mean(table["checkpoint_ns"])) / 1e6 + copied_ms
    assert found_ms == pytest.approx(np.mean([truth[step - 1] for step in table["step"].tolist()]), rel=0.02)


def test_copies_from_memory_that_is_not_pinned_are_exposed() -> None:
    assert findings("gpu-copies")["exposed-copies"].severity == "high"
    exposed_ms = value("gpu-copies", "time.exposed_memory_share") * value("gpu-copies", "step.time_ms")
    assert exposed_ms == pytest.approx(np.median(list(told("copies", "injected_ms").values())), rel=0.2)


def test_bandwidth_is_what_the_devices_own_events_say() -> None:
    """As nccl-tests does it, one operation after the other; the events hold the launch too, which counts for small ones."""
    [links] = [section for section in analyzed("nccl-sweep").sections if section.name == "links"]
    [chart] = links.charts
    found = dict(zip(chart.layers[0].x, chart.layers[0].y, strict=True))
    table = steps(traces("nccl-sweep")[0])
    profiled = set(table["step"][table["profiled"]].tolist())
    for size in (1 << 24, 1 << 26):
        times: dict[int, list[float]] = {}
        for line in TRUTH:
            if line["job"] == "sweep" and line["bytes"] == size and line["step"] in profiled:
                times.setdefault(line["step"], []).append(line["device_ms"])
        ms = np.median([min(of) for of in times.values()])
        assert found[size] == pytest.approx(size / ms / 1e6, rel=0.05), "two ranks: bus bandwidth is size over time"


def test_clocks_of_ranks_on_one_host_agree_to_microseconds() -> None:
    """NCCL's kernels end 7 us apart on the two ranks, in the median; on 8 V100 of a public trace it is 4."""
    residual = value("nccl-ddp-timeline", "clock.residual_us")
    assert 0 < residual < 10
    assert value("nccl-ddp-timeline", "collectives.matched_share") == 1


def test_exposed_communication_without_a_profiler_is_what_the_profiler_sees() -> None:
    """By events of the device around each wait, in a run of its own: 61 against 63 % of the step."""
    light, timeline = (value(f"nccl-ddp-{level}", "time.exposed_comm_share") for level in ("light", "timeline"))
    assert light == pytest.approx(timeline, abs=0.05)
    assert light > 0.5


def test_the_rank_whose_host_sleeps_is_the_straggler() -> None:
    """30 ms before each forward pass of rank 1, after its device has finished the step before."""
    assert value("nccl-late-timeline", "straggler.rank") == 1
    assert value("nccl-late-timeline", "straggler.cause") == "its host is late"
    step_ms = value("nccl-late-timeline", "step.time_ms")
    # One of two ranks waits: what it waits is twice that share of the time of both.
    waited_ms = 2 * value("nccl-late-timeline", "straggler.cost_share") * step_ms
    assert waited_ms == pytest.approx(30, abs=5)
    assert value("nccl-ddp-timeline", "straggler.wait_share") < 0.02
    assert analyzed("nccl-ddp-timeline").metric("straggler.rank") is None


def test_half_precision_halves_the_bytes_and_shortens_the_step() -> None:
    # The plain run at level light, which has no bytes, is no match for one with them.
    report = analyze([folder("nccl-ddp-light"), folder("nccl-ddp-timeline"), folder("nccl-fp16-timeline")])
    [row] = report.tables["compression"].to_dict("records")
    assert row["ratio"] == pytest.approx(2, rel=0.001)
    assert 0 < row["encode_ms"] + row["decode_ms"] < 1, "on the device: kernels of a few microseconds"
    assert row["saved_ms"] > 0


def test_jax_on_a_gpu_has_its_kernels_and_its_steps() -> None:
    """Four layers, 4096 x 1024 x 1024: four matrix products forward, seven backward (nothing asks for the gradient of the input)."""
    pytest.importorskip("google.protobuf")
    [run] = analyze([SAMPLES / "jax-gpu-n1"]).runs
    assert (run.info.framework, run.info.device) == ("jax", "cuda")
    share = run.metric("time.compute_share")
    count = run.metric("step.count")
    assert share is not None
    assert count is not None
    assert 0.3 < float(share.value) < 0.6
    assert count.value == 3, "the first and the last of five are cut off by the profiler"
    [kernels] = [section.tables["kernels"] for section in run.sections if section.name == "kernels"]
    counts = dict(zip(kernels["name"], kernels["count"], strict=True))
    assert sum(count for name, count in counts.items() if "gemm" in name) == 3 * 11
    assert counts["wrapped_tanh"] == 3 * 4
