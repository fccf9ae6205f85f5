"""Clocks: from monotonic to unix time, and what is known about other hosts."""

from hypothesis import given
from hypothesis import strategies as st

from scaleprof.clock import (
    ClockAnchor,
    ClockOffset,
    HostClock,
    clock_was_set_ns,
    clocks_of_hosts,
    mono_to_unix_offset_ns,
)


def test_an_anchor_ties_the_clocks_in_its_middle() -> None:
    anchor = ClockAnchor(real_before_ns=1_000, mono_ns=100, real_after_ns=1_011)
    assert anchor.offset_ns == 905
    assert anchor.half_width_ns == 6


def test_a_reading_is_tight_and_in_order() -> None:
    anchor = ClockAnchor.now()
    assert anchor.real_before_ns <= anchor.real_after_ns
    assert anchor.half_width_ns < 1_000_000


@given(st.integers(0, 2**60), st.integers(0, 2**40), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_true_offset_lies_within_the_half_width(mono: int, offset: int, before: int, after: int) -> None:
    anchor = ClockAnchor(mono + offset - before, mono, mono + offset + after)
    assert abs(anchor.offset_ns - offset) <= anchor.half_width_ns


def test_the_tightest_anchor_serves_the_whole_run() -> None:
    loose, tight = ClockAnchor(0, 0, 10_000), ClockAnchor(8_000, 1_000, 8_010)
    assert mono_to_unix_offset_ns([loose, tight]) == 7_005


def test_a_clock_that_was_set_is_noticed() -> None:
    hour_ns = 3_600 * 10**9
    start = ClockAnchor(10, 0, 10)
    assert clock_was_set_ns([start]) == 0
    assert clock_was_set_ns([start, ClockAnchor(hour_ns + 10**9, hour_ns, hour_ns + 10**9)]) == 0, (
        "slewed at most 500 ppm"
    )
    jumped = ClockAnchor(hour_ns - 5 * 10**9, hour_ns, hour_ns - 5 * 10**9)
    assert clock_was_set_ns([start, jumped]) == -5 * 10**9 - 10


def test_ranks_of_one_host_share_its_clock() -> None:
    clocks = clocks_of_hosts({0: "a", 1: "a", 2: "b", 3: None})
    assert [clocks[rank].offset_ns for rank in range(4)] == [0, 0, None, None]
    assert [clocks[rank].bound_ns for rank in range(4)] == [0, 0, None, None]
    assert clocks[3].host == "unknown host of rank 3"


def test_the_lowest_rank_is_the_reference_even_on_an_unknown_host() -> None:
    clocks = clocks_of_hosts({4: None, 7: None})
    assert clocks[4].offset_ns == 0
    assert clocks[7].offset_ns is None
    assert clocks_of_hosts({}) == {}


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=20),
    st.integers(-(10**13), 10**13),
    st.integers(-(10**13), 10**13),
)
def test_the_true_offset_lies_within_half_the_least_round_trip(
    trips: list[tuple[int, int]], ahead: int, mono_ahead: int
) -> None:
    there = ClockAnchor(1_000, 1_000, 1_010)
    here = ClockAnchor(1_000 + ahead, 1_000 + mono_ahead, 1_006 + ahead)
    rounds = [(10**9 + mono_ahead, 10**9 + out, 10**9 + mono_ahead + out + back) for out, back in trips]
    offset = ClockOffset.of_rounds(rounds, here, there)
    assert offset is not None
    assert abs(offset.offset_ns - ahead) <= offset.bound_ns
    assert offset.bound_ns <= min(out + back for out, back in trips) // 2 + 1 + 3 + 5
    assert offset.rounds == len(trips)


def test_without_a_round_trip_there_is_no_offset() -> None:
    assert ClockOffset.of_rounds([], ClockAnchor.now(), ClockAnchor.now()) is None


def at(second: int, offset_ns: int, bound_ns: int = 50_000) -> ClockOffset:
    return ClockOffset(mono_ns=second * 10**9, unix_ns=second * 10**9, offset_ns=offset_ns, bound_ns=bound_ns)


def test_measured_hosts_have_offset_drift_and_bound() -> None:
    recorded = {
        0: HostClock("x", "x"),
        1: HostClock("x"),
        2: HostClock("y", "x", (at(100, 5_000_000), at(200, 6_000_000, 70_000))),
        3: HostClock("y"),
        4: HostClock("z"),
    }
    clocks = clocks_of_hosts({0: "a", 1: "b", 2: "c", 3: "c", 4: "d"}, recorded)
    assert clocks[1].offset_ns == 0, "two containers of one machine"
    assert clocks[2] == clocks[3]
    assert (clocks[3].offset_ns, clocks[3].bound_ns, clocks[3].drift_ppm) == (5_000_000, 70_000, 10.0)
    assert clocks[3].offset_at(150 * 10**9) == 5_500_000
    assert clocks[3].bound_at(150 * 10**9) == 70_000
    assert clocks[3].bound_at(201 * 10**9) == 170_000, "behind the last measurement clocks may drift otherwise"
    assert clocks[4].offset_ns is None, "never measured: not comparable"
    assert clocks[4].offset_at(0) is clocks[4].bound_at(0) is None
    assert clocks[0].bound_at(10**18) == 0


def test_one_measurement_says_nothing_of_the_drift() -> None:
    clocks = clocks_of_hosts({0: "a", 1: "b"}, {0: HostClock("x", "x"), 1: HostClock("y", "x", (at(100, -7),))})
    assert (clocks[1].offset_ns, clocks[1].drift_ppm) == (-7, None)
    assert clocks[1].offset_at(10**12) == -7
    assert clocks[1].bound_at(100 * 10**9) == 50_000
    assert clocks[1].bound_at(99 * 10**9) == 150_000


def test_measurements_of_several_ranks_of_a_host_belong_together() -> None:
    recorded = {1: HostClock("y", "x", (at(200, 30_000),)), 2: HostClock("y", "x", (at(100, 10_000),))}
    clocks = clocks_of_hosts({1: "b", 2: "b", 3: None}, recorded)
    assert clocks[1].offset_at(150 * 10**9) == 20_000, "against rank 0, whose files are missing"
    assert clocks[3].offset_ns is None


def test_a_clock_that_was_set_in_between_is_not_comparable() -> None:
    recorded = {0: HostClock("x", "x"), 1: HostClock("y", "x", (at(100, 0), at(101, 5 * 10**9)))}
    assert clocks_of_hosts({0: "a", 1: "b"}, recorded)[1].offset_ns is None


def test_rank_0_unheard_leaves_the_lowest_rank_as_the_reference() -> None:
    clocks = clocks_of_hosts({1: "b", 2: "c", 3: "b"}, {1: HostClock("y"), 2: HostClock("z"), 3: HostClock("y")})
    assert [clocks[rank].offset_ns for rank in (1, 2, 3)] == [0, None, 0]
