"""The sections of one run, each on a run small enough to know the answer."""

import numpy as np
import pytest

from scaleprof.align import RunView
from scaleprof.analyses.account import kernels, steps
from scaleprof.analyses.communication import collectives
from scaleprof.analyses.machine import hardware
from scaleprof.analyses.stragglers import ranks
from scaleprof.trace import Kind
from tests.making import HOST, STREAM_7, STREAM_20, WORKER, Event, Made, Step, make_view, regular_job, waits_of

MS = 1_000_000


def test_step_times_and_throughput_of_a_regular_job() -> None:
    view = make_view(regular_job(4, step=100 * MS, compute=80 * MS, blocked=10 * MS, samples=8))
    result = steps.conclude(view, None)
    assert result is not None
    metrics = {metric.id: metric for metric in result.metrics}
    assert metrics["step.time_ms"].value == 100
    assert metrics["step.throughput"].value == pytest.approx(4 * 8 / 0.1)
    assert metrics["step.count"].value == 12
    assert metrics["step.runq_share"].value == 0
    assert not result.caveats


def test_perturbed_steps_are_left_out_and_outliers_are_named() -> None:
    times = [100] * 4 + [900] + [100] * 6
    starts = np.cumsum([0, *times])
    made = Made(
        steps=[
            Step(int(start), int(start) + time, samples=1, perturbed=place == 2)
            for place, (start, time) in enumerate(zip(starts, times, strict=False))
        ]
    )
    view = make_view([made])
    assert steps.steady_steps(view).tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10]
    result = steps.conclude(view, None)
    assert result is not None
    assert any("1 outlier step (4)" in caveat for caveat in result.caveats)


def test_a_machine_without_free_cores_is_called_so() -> None:
    made = Made(steps=[Step(100 * n, 100 * n + 100, runq=30, samples=1) for n in range(8)])
    result = steps.conclude(make_view([made]), None)
    assert result is not None
    assert any("30.0 % of its step for a core" in caveat for caveat in result.caveats)


def slow_rank_two() -> RunView:
    made = []
    for rank in range(4):
        blocked = 0 if rank == 2 else 20
        made.append(Made(steps=[Step(100 * n, 100 * n + 100, blocked=blocked) for n in range(8)], waits=waits_of()))
    return make_view(made)


def test_the_rank_that_never_waits_is_the_busiest() -> None:
    result = ranks.conclude(slow_rank_two(), None)
    assert result is not None
    assert result.headline == "Rank 2 is busy longest, 25.0 % above the median rank"
    assert result.tables["ranks"]["against_median"].tolist() == pytest.approx([0, 0, 0.25, 0])
    [chart] = result.charts
    assert chart.layers[0].z is not None
    assert chart.layers[0].z[2] == pytest.approx([0.25] * 8)


def test_one_rank_has_no_picture_of_ranks() -> None:
    assert ranks.conclude(make_view([Made(steps=[Step(0, 10)])]), None) is None


def test_collectives_are_counted_per_step_and_rank_with_their_bytes() -> None:
    made = Made(
        events=[
            Event(WORKER, Kind.COLLECTIVE, 100 * n + at, 20, "gloo:all_reduce", step=n)
            for n in range(8)
            for at in (10, 40)
        ],
        steps=[Step(100 * n, 100 * n + 100, blocked=0, input=0) for n in range(8)],
    )
    result = collectives.conclude(make_view([made, made]), None)
    assert result is not None
    values = {metric.id: metric.value for metric in result.metrics}
    assert values["collectives.count"] == 2
    assert values["collectives.bytes"] == 8192
    assert result.tables["collectives"].rows() == [
        ["all_reduce", 4096, "float32", "0", "", "gloo:all_reduce", 2.0, 2e-5, 4e-5, 0.0, 2e-5, 204.8]
    ]
    assert values["collectives.wait_share"] == 0


def test_kernels_by_time_with_unknown_names_and_earlier_launches_apart() -> None:
    made = Made(
        events=[
            Event(STREAM_7, Kind.COMPUTE, 0, 60, "gemm"),
            Event(STREAM_7, Kind.COMPUTE, 60, 20, "odd_kernel"),
            Event(STREAM_20, Kind.COLLECTIVE, 5, 20, "ncclDevKernel"),
            Event(STREAM_7, Kind.COMPUTE, 90, 7, "gemm", step=-1),
        ],
        steps=[Step(0, 100)],
    )
    result = kernels.conclude(make_view([made]), None)
    assert result is not None
    assert result.tables["unclassified"]["name"] == ["odd_kernel"]
    values = {metric.id: metric.value for metric in result.metrics}
    assert values["kernels.unclassified_share"] == 0.2
    assert (values["kernels.before_window_count"], values["kernels.before_window_ms"]) == (1, 7e-6)
    assert next(row[:4] for row in result.tables["kernels"].rows()) == ["gemm", "compute", 1, 6e-5]
    assert any("matched no rule" in caveat for caveat in result.caveats)


def test_without_a_device_leaf_operators_are_listed() -> None:
    made = Made(
        events=[Event(HOST, Kind.OP, 0, 50, "aten::linear"), Event(HOST, Kind.OP, 5, 20, "aten::addmm")],
        steps=[Step(0, 100)],
    )
    result = kernels.conclude(make_view([made]), None)
    assert result is not None
    assert [row[:4] for row in result.tables["kernels"].rows()] == [["aten::addmm", "op", 1, 2e-5]]


def test_counters_that_only_grow_become_rates() -> None:
    made = Made(steps=[Step(0, 10)], counters={"cpu_user_s": [1.0, 1.5, 2.5], "rss_bytes": [10.0, 20.0, 30.0]})
    view = make_view([made])
    table = view.fact("hardware")[0]
    # The samples of a made trace are 1 ns apart.
    assert table["cpu_user_cores"][1:].tolist() == pytest.approx([0.5e9, 1.0e9])
    result = hardware.conclude(view, None)
    assert result is not None
    assert result.tables["hardware"]["counter"] == ["cpu_user_cores", "rss_mb"]
    assert hardware.conclude(make_view([Made(events=[Event(HOST, Kind.OP, 0, 1)], steps=[Step(0, 10)])]), None) is None


def test_a_counter_is_shown_in_words_with_its_unit() -> None:
    made = [
        Made(steps=[Step(0, 10)], counters={"rss_bytes": [first, 4e8, 4e8], "gpu_util_percent": [90.0, 60.0, 30.0]})
        for first in (4e8, 1e8)
    ]
    result = hardware.conclude(make_view(made), None)
    assert result is not None
    assert [chart.title for chart in result.charts] == [
        "Memory of the process: 300 to 400 MB, on average by rank",
        "GPU utilisation: 60.0 % on average",
    ]


def test_on_a_device_waiting_for_others_is_not_being_busy() -> None:
    """Rank 0 computes 60 of 100 ns, rank 1 20: it waits 70 in an all-reduce, and its step is the longer one."""
    made = [
        Made(
            events=[
                event
                for n in range(8)
                for event in (
                    Event(STREAM_7, Kind.COMPUTE, 200 * n, compute, step=n),
                    Event(STREAM_20, Kind.COLLECTIVE, 200 * n + compute, total - compute - 10, step=n),
                )
            ],
            steps=[Step(200 * n, 200 * n + total) for n in range(8)],
        )
        for compute, total in ((60, 100), (20, 110))
    ]
    result = ranks.conclude(make_view(made), None)
    assert result is not None
    assert result.tables["ranks"]["busy_ms"].tolist() == pytest.approx([70e-6, 30e-6])
    assert result.headline.startswith("Rank 0 is busy longest, 40.0 %")


def test_where_nobody_knows_who_was_blocked_only_steps_are_compared() -> None:
    made = [Made(steps=[Step(200 * n, 200 * n + total) for n in range(8)]) for total in (100, 150)]
    result = ranks.conclude(make_view(made), None)
    assert result is not None
    assert result.headline == "The step of rank 1 is longest, 20.0 % above the median rank"
    assert result.charts[0].z is not None and result.charts[0].z.unit == "share"
    assert any("waiting included" in caveat for caveat in result.caveats)
