"""When things happen: a small job on paper, and the laws that any job keeps."""

import numpy as np
import pytest

from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import BEGIN_NS, on_host_clock, simulate
from tests.synth.tiny import WINDOW_US, tiny


def test_the_small_job_happens_as_on_paper() -> None:
    timeline = simulate(tiny())
    for step in (1, 2):
        since = timeline.done_ns[:, step - 1, None]
        assert ((timeline.start_ns[:, step] - since) // 1000).tolist() == [
            [1024, 1524, 3024, 4524, 7524, 7524, 11724, 14724, 15224],
            [1024, 1524, 4024, 6524, 9524, 9524, 12524, 14724, 15224],
        ]
        assert ((timeline.end_ns[:, step] - since) // 1000).tolist() == [
            [1524, 3024, 4524, 7524, 11724, 10524, 14724, 15224, WINDOW_US],
            [1524, 4024, 6524, 9524, 11724, 12524, 14724, 15224, WINDOW_US],
        ]
    assert ((timeline.host_start_ns[:, 1:] - timeline.done_ns) // 1000).tolist() == [[12] * 3] * 2


def test_a_host_that_launches_slowly_leaves_the_device_idle() -> None:
    # A launch every 20 us for kernels of 5 us: three quarters of the time the device waits.
    spec = Spec(
        ranks=1, steps=1, layers=100, kernels_per_layer=1, buckets=1, compute_ms=0.995, forward_share=0.5, optimizer_share=0.01,
        launch_us=20.0, input_ms=0.0, copy_ms=0.0,
    )  # fmt: skip
    timeline = simulate(spec)
    kernels = timeline.start_ns[0, 1, 1:100]
    assert set(np.diff(kernels)) == {20_000}
    assert abs(int((timeline.end_ns - timeline.start_ns)[0, 1, :100].mean()) - 5_000) < 30


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_nothing_starts_before_its_launch_its_stream_and_what_it_waits_for(ahead: int, jitter: float) -> None:
    spec = Spec(ranks=3, steps=5, layers=6, buckets=3, run_ahead=ahead, jitter=jitter, late_ms=1.0, launch_us=30.0)
    timeline = simulate(spec)
    plan = timeline.plan
    starts, ends = timeline.start_ns, timeline.end_ns
    for step in range(timeline.steps):
        for rank in range(spec.ranks):
            called = timeline.launches(rank, step) + spec.launch_ns
            assert (starts[rank, step] >= called).all()
            assert called[-1] <= timeline.host_start_ns[rank, step + 1]
        for segment, first in zip(plan.segments, plan.first, strict=True):
            for place in segment.after:
                last = plan.first[place] + len(plan.segments[place]) - 1
                assert (starts[:, step, first] >= ends[:, step, last]).all()
        for kernel in plan.collectives:
            assert len(set(ends[:, step, kernel].tolist())) == 1
    for stream in {segment.stream for segment in plan.segments}:
        here = np.concatenate([np.full(len(segment), segment.stream == stream) for segment in plan.segments])
        begun, ended = (times[:, :, here].reshape(spec.ranks, -1) for times in (starts, ends))
        assert (begun[:, 1:] >= ended[:, :-1]).all()


def test_a_host_may_run_ahead_of_its_device() -> None:
    spec = Spec(ranks=2, steps=4, run_ahead=1)
    timeline = simulate(spec)
    assert (timeline.host_start_ns[:, 2:-1] < timeline.done_ns[:, 1:-1]).all()
    # The batch is there before the device needs it: nothing but the copy stands between two steps.
    gap = timeline.start_ns[:, 2:, 0] - timeline.done_ns[:, 1:-1]
    assert (gap == 0).all()


def test_jitter_is_the_same_for_the_same_seed() -> None:
    def ends(seed: int) -> list[int]:
        found: list[int] = simulate(Spec(jitter=0.05, seed=seed, steps=3)).done_ns.ravel().tolist()
        return found

    assert ends(1) == ends(1)
    assert ends(1) != ends(2)


def test_clocks_are_ahead_by_their_offset_and_drift() -> None:
    spec = tiny(clock_offset_ms=(0.0, 2.5), clock_drift_ppm=(0.0, 10.0))
    times = BEGIN_NS + np.array([0, 1_000_000_000, 2_000_000_001], dtype=np.int64)
    assert (on_host_clock(spec, 0, times) - times).tolist() == [0, 0, 0]
    assert (on_host_clock(spec, 1, times) - times).tolist() == [2_500_000, 2_510_000, 2_520_000]
    coarse = tiny(clock_offset_ms=(0.0, 2.5), clock_drift_ppm=(0.0, 10.0), dialect="old2022")
    assert (on_host_clock(coarse, 1, times) % 1000).tolist() == [0, 0, 0]
    assert (on_host_clock(tiny(clock_offset_ms=()), 1, times) == times).all()
