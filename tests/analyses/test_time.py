import pytest

from scaleprof.analyses.account import time
from scaleprof.trace import Kind
from tests.making import HOST, STREAM_7, STREAM_20, Event, Made, Step, make_view, waits_of


def test_shares_sum_to_one_and_the_headline_names_the_largest_loss() -> None:
    made = Made(
        events=[Event(STREAM_7, Kind.COMPUTE, 0, 60), Event(STREAM_20, Kind.COLLECTIVE, 50, 30)],
        steps=[Step(0, 100)],
    )
    result = time.conclude(make_view([made, made]), None)
    assert result is not None
    values = {metric.id: metric.value for metric in result.metrics}
    assert values["time.compute_share"] == 0.6
    assert values["time.exposed_comm_share"] == 0.2
    assert values["time.idle_share"] == 0.2
    assert values["time.exposed_memory_share"] == 0
    assert values["time.comm_share"] == 0.3
    assert values["time.overlap_ratio"] == pytest.approx(1 / 3)
    assert result.headline == "60.0 % of the step is compute; the largest loss is exposed transfer with 20.0 %"
    assert result.tables["time"]["step_ms"] == [1e-4, 1e-4]


def test_an_overlap_ratio_without_communication_is_absent_with_a_caveat() -> None:
    made = Made(events=[Event(STREAM_7, Kind.COMPUTE, 0, 60)], steps=[Step(0, 100)])
    result = time.conclude(make_view([made]), None)
    assert result is not None
    assert "time.overlap_ratio" not in {metric.id for metric in result.metrics}
    assert any("no overlap ratio" in caveat for caveat in result.caveats)


def test_compute_by_subtraction_says_so() -> None:
    made = Made(steps=[Step(0, 100, blocked=30, input=10, profiled=False)], waits=waits_of((60, 90)))
    result = time.conclude(make_view([made]), None)
    assert result is not None
    values = {metric.id: metric.value for metric in result.metrics}
    assert values["time.compute_share"] == 0.6
    assert "time.comm_share" not in values
    assert any("by subtraction" in caveat for caveat in result.caveats)
    assert any("no communication spans" in caveat for caveat in result.caveats)


def test_warm_up_stays_out_of_the_account() -> None:
    steps = [Step(0, 1000), *(Step(1000 + 100 * n, 1100 + 100 * n) for n in range(9))]
    events = [Event(HOST, Kind.COMPUTE, step.start, 50, step=place) for place, step in enumerate(steps)]
    result = time.conclude(make_view([Made(events=events, steps=steps)]), None)
    assert result is not None
    assert {metric.id: metric.value for metric in result.metrics}["time.compute_share"] == 0.5


def test_nothing_to_account_for_says_nothing() -> None:
    assert time.conclude(make_view([Made()]), None) is None


def test_the_picture_says_how_the_ranks_differ() -> None:
    def rank(compute: int, transfer: int) -> Made:
        events = [Event(STREAM_7, Kind.COMPUTE, 0, compute), Event(STREAM_20, Kind.COLLECTIVE, compute, transfer)]
        return Made(events=events, steps=[Step(0, 100)])

    titles = []
    for ranks in ([rank(60, 20), rank(60, 20)], [rank(60, 20), rank(60, 30)], [rank(50, 20), rank(60, 10)]):
        result = time.conclude(make_view(ranks), None)
        assert result is not None
        titles.append(result.charts[0].title)
    assert titles[0] == "Every rank computes equally long"
    # Both transfer as long as the shorter one: what rank 1 was in it before is waiting.
    assert titles[1] == f"{titles[0]}; waiting for slow ranks differs most, from 0 ms on rank 0 to 1e-05 ms on rank 1"
    assert titles[2].startswith("Compute differs by 20.0 % between the ranks; ")
