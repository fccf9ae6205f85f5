"""Clocks: from monotonic to unix time, and what is known about other hosts."""

from hypothesis import given
from hypothesis import strategies as st

from scaleprof.clock import ClockAnchor, clock_was_set_ns, clocks_of_hosts, mono_to_unix_offset_ns


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
