import numpy as np
import pytest

from scaleprof.align import RankFacts, align
from scaleprof.clock import ClockOffset, HostClock
from scaleprof.results import Table
from scaleprof.run import ProcessGroup, RankInfo, RunInfo
from tests.making import Made, Step, make_view
from tests.tables import numbers, operations


def test_common_steps_are_those_of_every_rank_with_their_mean_time() -> None:
    first = Made(steps=[Step(0, 10_000_000), Step(10_000_000, 30_000_000)])
    second = Made(steps=[Step(0, 14_000_000)])
    view = make_view([first, second])
    assert view.steps.rows() == [[0, 12.0, 4.0, True]]


def test_a_step_disturbed_on_one_rank_is_not_steady() -> None:
    view = make_view([Made(steps=[Step(0, 10), Step(10, 20)]), Made(steps=[Step(0, 10, perturbed=True), Step(10, 20)])])
    assert np.asarray(view.steps["steady"]).tolist() == [False, True]


def test_no_rank_with_steps_gives_empty_tables_of_the_same_form() -> None:
    view = make_view([Made(), Made()])
    assert list(view.steps.columns) == ["step", "time_ms", "spread_ms", "steady"]
    assert len(view.steps) == len(view.leaves) == 0


def test_leaves_that_do_not_add_up_are_refused() -> None:
    columns = (
        "step",
        "window_ns",
        "compute_ns",
        "exposed_comm_ns",
        "exposed_memory_ns",
        "idle_ns",
        "comm_ns",
        "overlapped_ns",
    )
    table = Table({name: np.array([1]) for name in (*columns, "compute_sum_ns", "method")})
    with pytest.raises(AssertionError, match="add up"):
        align(RunInfo("r", 1), {0: RankFacts(RankInfo(0, 1), {"account": table})})


def test_ranks_of_one_host_share_a_clock_and_unknown_hosts_do_not() -> None:
    infos = {0: RankInfo(0, 3, host="a"), 1: RankInfo(1, 3, host="a"), 2: RankInfo(2, 3)}
    view = align(RunInfo("r", 3), {rank: RankFacts(info, {}) for rank, info in infos.items()})
    assert [clock.offset_ns for clock in view.clocks.of_rank.values()] == [0, 0, None]


def test_a_bubble_that_the_clocks_cannot_tell_is_left_untold() -> None:
    def told(bound_ns: int) -> tuple[int, int, int]:
        clock = HostClock("b", "a", tuple(ClockOffset(0, time, 0, bound_ns) for time in (0, 1_000)))
        infos = {
            0: RankInfo(0, 2, host="a", clock=HostClock("a", "a"), process_groups=(ProcessGroup("0", (0, 1)),)),
            1: RankInfo(1, 2, host="b", clock=clock, process_groups=(ProcessGroup("0", (0, 1)),)),
        }
        names = ("compute_ns", "exposed_memory_ns", "idle_ns", "comm_ns", "overlapped_ns", "compute_sum_ns", "method")
        account = numbers(step=[0], window_ns=[100], exposed_comm_ns=[100], **{name: [0] for name in names})
        tables = {
            0: {
                "account": account,
                "segments": numbers(segment=[0], step=[0], start_ns=[100], end_ns=[200], comm=[0]),
                "waits": numbers(collective=[0], start_ns=[100], dur_ns=[100]),
                "collectives": operations({"op": "recv", "peer": 1, "issued_ns": 100, "start_ns": 100, "dur_ns": -1}),
            },
            1: {"collectives": operations({"op": "send", "peer": 0, "issued_ns": 160, "start_ns": 160, "dur_ns": -1})},
        }
        view = align(RunInfo("r", 2), {rank: RankFacts(infos[rank], tables[rank]) for rank in infos})
        return int(view.leaves["bubble_ns"][0]), int(view.leaves["exposed_untold_ns"][0]), len(view.refused)

    assert told(12) == (60, 0, 0)
    assert told(13) == (0, 60, 1), "more than a fifth"
