"""What each strategy must cost, by formula (`method` 6), against the simulated job."""

from typing import Any

import numpy as np
import pytest

from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import simulate
from tests.synth.truths import steps_of

SWIFT: dict[str, Any] = {"launch_us": 0.001, "input_ms": 0.0, "copy_ms": 0.0, "steps": 3}
"""A host that is never in the way."""
HOST_NS = 10_000
"""More than all its launches of a step take."""


@pytest.mark.parametrize("alpha_us", [0.0, 50.0])
@pytest.mark.parametrize(
    ("bytes", "buckets"), [(400_000_000, 4), (4_000_000_000, 3), (40_000_000, 12), (80_000_000, 1)]
)
def test_ddp_exposes_what_the_buckets_leave_behind_the_backward_pass(bytes: int, buckets: int, alpha_us: float) -> None:
    spec = Spec(
        ranks=4, layers=12, kernels_per_layer=1, buckets=buckets, gradient_bytes=bytes, alpha_us=alpha_us, **SWIFT
    )
    plan = simulate(spec).plan
    ready = sent = 0
    for segment in plan.segments:
        ready += int(segment.dur_ns.sum()) if segment.phase == "backward" else 0
        sent = max(sent, ready) + int(segment.dur_ns[0]) if segment.phase == "all_reduce" else sent
    assert set(steps_of(spec)["exposed_comm_ns"]) == {sent - ready}
    assert set(steps_of(spec)["bubble_ns"]) == {0}


@pytest.mark.parametrize("bytes", [100_000_000, 800_000_000, 1_600_000_000])
def test_fsdp_exposes_the_first_gather_what_compute_cannot_hide_and_the_last_scatter(bytes: int) -> None:
    units = 6
    spec = Spec(
        strategy="fsdp", ranks=4, layers=units, kernels_per_layer=1, buckets=units, gradient_bytes=bytes, compute_ms=60.0, forward_share=0.3,
        optimizer_share=0.1, **SWIFT,
    )  # fmt: skip
    segments = simulate(spec).plan.segments
    compute = [int(one.dur_ns.sum()) for one in segments if one.phase in ("forward", "backward")]
    gather = next(int(one.dur_ns[0]) for one in segments if one.phase == "all_gather")
    scatter = next(int(one.dur_ns[0]) for one in segments if one.phase == "reduce_scatter")
    assert len(compute) == 2 * units
    assert scatter <= max(compute[-1], gather), "each scatter ends before the next begins"
    exposed = gather + sum(max(0, gather - took) for took in compute[:-1]) + scatter
    assert set(steps_of(spec)["exposed_comm_ns"]) == {exposed}


def test_fsdp_gathers_every_unit_in_both_passes_and_scatters_it_once() -> None:
    plan = simulate(Spec(strategy="fsdp", ranks=2, layers=4, buckets=4, **SWIFT)).plan
    phases = [segment.phase for segment in plan.operations]
    assert (phases.count("all_gather"), phases.count("reduce_scatter"), len(phases)) == (8, 4, 12)
    assert phases[:2] == ["all_gather"] * 2, "the second is launched before the first unit computes"


@pytest.mark.parametrize(("ranks", "layers"), [(2, 3), (4, 12)])
def test_nothing_hides_tensor_parallelism(ranks: int, layers: int) -> None:
    spec = Spec(ranks=ranks, tensor=ranks, layers=layers, buckets=1, **SWIFT)
    steps = steps_of(spec)
    once = spec.cost_ns("all_reduce", spec.activation_bytes, ranks)
    assert set(steps["exposed_comm_ns"]) == set(steps["comm_ns"]) == {4 * layers * once}
    assert set(steps["overlapped_ns"]) == {0}


@pytest.mark.parametrize(("stages", "batches"), [(2, 1), (2, 4), (4, 4), (4, 8), (3, 7), (8, 8), (4, 2)])
def test_the_bubble_of_1f1b(stages: int, batches: int) -> None:
    """Stages of the same length and transfers that take no time: a share of (p-1)/(m+p-1) of a step."""
    free: dict[str, Any] = {
        "alpha_us": 0.0,
        "activation_bytes": 2,
        "bandwidth_gbps": 3_600_000.0,
        "optimizer_share": 0.001,
    }
    spec = Spec(ranks=stages, pipeline=stages, micro_batches=batches, layers=stages * 2, **free, **SWIFT)
    share = (stages - 1) / (batches + stages - 1)
    optimizer_ns = spec.ns(spec.compute_ms * spec.optimizer_share)
    for rank in range(stages):
        steps = steps_of(spec, rank)
        bubble, window = steps["bubble_ns"] + steps["idle_ns"], steps["window_ns"] - optimizer_ns
        assert bubble == pytest.approx(share * window, abs=HOST_NS)
        assert steps["bubble_ns"] == pytest.approx(share * window, abs=HOST_NS), "waiting in transfers, not idle"
        assert set(steps["exposed_wait_ns"]) == {0}


def test_a_pipeline_of_two_stages_happens_as_on_paper() -> None:
    """Passes of 1.5 and 3 ms, transfers of 1 ms. Times in ms since the first stage began; each stage has the same step of 17.5 ms.

    stage 0   F0 0-1.5   F1 1.5-3   waits until 7   receives b0 until 8   b0 8-11   waits until 12.5   receives b1 until 13.5   b1 until 16.5
    stage 1   waits until 1.5   receives F0 until 2.5   F0 2.5-4   b0 4-7   receives F1 until 8   F1 8-9.5   b1 9.5-12.5   sends until 13.5

    The optimizer takes 1 ms more; stage 1 ends its step 3 ms before stage 0 does, and so waits for 3 + 1.5 ms in the next.
    """
    spec = Spec(
        ranks=2, pipeline=2, micro_batches=2, layers=2, kernels_per_layer=1, buckets=1, compute_ms=10.0, forward_share=0.3, optimizer_share=0.1,
        activation_bytes=10_000_000, bandwidth_gbps=10.0, alpha_us=0.0, **SWIFT,
    )  # fmt: skip
    for rank, bubble_ms, transfer_ms in ((0, 4 + 1.5, 2), (1, 3 + 1.5, 3)):
        steps = steps_of(spec, rank)
        for name, ms in (("window", 17.5), ("compute", 10), ("bubble", bubble_ms), ("exposed_transfer", transfer_ms)):
            assert steps[f"{name}_ns"] == pytest.approx(ms * 1e6, abs=500), (rank, name)
        assert set(steps["exposed_wait_ns"]) == {0}


def test_a_longer_stage_sets_the_pace_and_the_others_wait_for_it() -> None:
    """Unequal stages: m times the longest, and at most once each of the others (`method` 6.4)."""
    free: dict[str, Any] = {
        "alpha_us": 0.0,
        "activation_bytes": 2,
        "bandwidth_gbps": 3_600_000.0,
        "optimizer_share": 0.001,
    }
    spec = Spec(ranks=3, pipeline=3, micro_batches=6, layers=4, kernels_per_layer=1, **free, **SWIFT)
    took = [
        sum(int(one.dur_ns.sum()) for one in plan.segments if one.phase in ("forward", "backward"))
        for plan in simulate(spec).plans
    ]
    assert sorted(took)[-1] > 1.9 * sorted(took)[0]
    each = sorted(total / 6 for total in took)
    window = steps_of(spec, 0)["window_ns"]
    optimizer_ns = spec.compute_ms * 1e6 * spec.optimizer_share * 3
    assert (window > 6 * each[-1]).all()
    assert (window < 6 * each[-1] + each[0] + each[1] + optimizer_ns + HOST_NS).all()


def test_micro_batches_without_a_pipeline_reduce_their_gradients_once() -> None:
    plan = simulate(Spec(ranks=2, micro_batches=3, buckets=2, **SWIFT)).plan
    assert [segment.micro_batch for segment in plan.operations] == [2, 2]
    total = sum(int(one.dur_ns.sum()) for one in plan.segments if one.phase in ("forward", "backward", "optimizer"))
    assert total == 40_000_000


@pytest.mark.parametrize("seed", range(3))
def test_ranks_leave_an_operation_one_after_the_other(seed: int) -> None:
    timeline = simulate(Spec(ranks=64, buckets=8, exit_us=20.0, seed=seed, **SWIFT))
    kernels = list(timeline.plan.collectives)
    took = np.array([int(one.dur_ns[0]) for one in timeline.plan.operations])
    late = timeline.end_ns[:, :, kernels] - timeline.met_ns - took
    assert (late >= 0).all()
    assert late.mean() == pytest.approx(20_000, rel=0.1)
    assert late.std() == pytest.approx(20_000, rel=0.15)
