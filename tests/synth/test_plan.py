"""What a rank does in a step: order, durations that add up, buckets that hold every gradient."""

import numpy as np
import pytest

from scaleprof.synth.plan import plan_of, shared
from scaleprof.trace import Kind
from tests.synth.tiny import tiny


@pytest.mark.parametrize("quantum", [1, 1000])
def test_parts_add_up_exactly(quantum: int) -> None:
    parts = shared(10_000_000, [6, 1, 1, 4, 1, 6, 6], quantum)
    assert parts.sum() == 10_000_000
    assert (parts % quantum == 0).all()
    assert shared(10, [1, 1, 1]).tolist() == [3, 4, 3]


def test_a_bucket_is_reduced_as_soon_as_its_layers_are_done() -> None:
    plan = plan_of(tiny())
    assert [segment.phase for segment in plan.segments] == [
        "copy",
        "forward",
        "backward",
        "all_reduce",
        "backward",
        "all_reduce",
        "optimizer",
    ]
    assert [segment.after for segment in plan.segments] == [(), (), (), (2,), (), (4,), (3, 5)]
    assert plan.collectives == (4, 6)
    assert plan.kernels == 1 + 2 + 1 + 1 + 1 + 1 + 2


def test_the_compute_of_a_step_is_what_the_spec_says() -> None:
    spec = tiny(layers=7, kernels_per_layer=5, buckets=3, compute_ms=12.345678)
    plan = plan_of(spec)
    total = dict.fromkeys(("forward", "backward", "optimizer"), 0)
    for segment in plan.segments:
        if segment.kind == Kind.COMPUTE:
            total[segment.phase] += int(segment.dur_ns.sum())
    assert sum(total.values()) == 12_345_678
    assert total["forward"] == spec.ns(0.3 * 12.345678)
    assert len(plan.kernels_of(Kind.COMPUTE)) == 2 * 35 + 2


def test_buckets_hold_all_gradients() -> None:
    plan = plan_of(tiny(layers=7, buckets=3, gradient_bytes=1_000_000))
    sizes = [segment.bytes for segment in plan.segments if segment.kind == Kind.COLLECTIVE]
    assert sum(sizes) == 1_000_000
    assert all(size % 4 == 0 for size in sizes)
    assert [len(segment) for segment in plan.segments if segment.phase == "backward"] == [2, 3, 2]


def test_the_late_rank_is_late_in_its_forward_pass() -> None:
    plan = plan_of(tiny(late_ms=2.0))
    assert [int(segment.late_ns.sum()) for segment in plan.segments] == [0, 2_000_000, 0, 0, 0, 0, 0]


def test_one_rank_reduces_nothing() -> None:
    plan = plan_of(tiny(ranks=1, late_rank=0, copy_ms=0.0))
    assert [segment.phase for segment in plan.segments] == ["forward", "backward", "backward", "optimizer"]
    assert plan.collectives == ()
    assert np.array_equal(plan.kernels_of(Kind.COLLECTIVE), [])
