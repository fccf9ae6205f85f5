"""Slices on tracks: the quick check agrees with a stack, and what overlaps goes to as few further tracks as come."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.export.nesting import MOST_TRIED, in_order, nests, tracks_of

Pairs = list[tuple[int, int]]
SPANS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 8)).map(lambda one: (one[0], one[0] + one[1])), max_size=12
)


def columns(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    order = in_order(table[:, 0], table[:, 1], np.zeros(len(table), dtype=np.int64))
    return table[order, 0], table[order, 1]


def by_stack(start: np.ndarray, end: np.ndarray) -> bool:
    open_until: list[int] = []
    for begins, ends in zip(start.tolist(), end.tolist(), strict=True):
        while open_until and open_until[-1] <= begins:
            open_until.pop()
        if open_until and ends > open_until[-1]:
            return False
        open_until.append(ends)
    return True


@given(SPANS)
def test_the_check_without_a_loop_says_what_a_stack_says(pairs: Pairs) -> None:
    assert nests(*columns(pairs)) == by_stack(*columns(pairs))


@given(SPANS, st.integers(1, 7))
def test_every_track_nests_and_nothing_lies_across_a_division(pairs: Pairs, length: int) -> None:
    start, end = columns(pairs)
    split = np.where(end - start > length, start + length, start)
    track = tracks_of(start, end, split)
    for number in set(track.tolist()):
        here = track == number
        assert by_stack(start[here], end[here])
        for place in np.flatnonzero(here & (split > start)).tolist():
            inside = here & (np.arange(len(start)) > place) & (start < end[place])
            assert not (inside & (start < split[place]) & (end > split[place])).any()


def test_two_kernels_side_by_side_get_two_tracks() -> None:
    # 0-10 holds 2-4; 8-12 begins inside it and ends outside; 11-13 has room on the first one again.
    start, end = columns([(0, 10), (2, 4), (8, 12), (11, 13)])
    assert tracks_of(start, end, start).tolist() == [0, 0, 1, 0]


def test_a_slice_across_the_begin_of_the_transfer_leaves_the_track() -> None:
    # An operation from 0 to 10 waits until 6: a slice from 5 to 7 is neither inside its wait nor inside its transfer.
    start, end = columns([(0, 10), (1, 3), (5, 7), (8, 9)])
    assert tracks_of(start, end, np.array([6, 1, 5, 8])).tolist() == [0, 0, 1, 0]


def test_what_has_no_length_lies_inside_whatever_is_open() -> None:
    start, end = columns([(0, 5), (5, 5), (5, 9), (9, 9), (7, 7)])
    assert nests(start, end) and tracks_of(start, end, start).tolist() == [0] * 5


def test_thousands_that_all_overlap_take_no_time_and_a_track_is_used_again_when_it_is_free() -> None:
    # Each begins 1 later and ends 1 later than the one before it, so that `count` are open at once; each of the same again begins when one ends.
    count = 20_000
    once = [(place, count + place) for place in range(count)]
    start, end = columns([*once, *((begins + count, ends + count) for begins, ends in once)])
    track = tracks_of(start, end, start)
    assert track[:count].tolist() == list(range(count))
    assert track[count:].tolist() == list(range(count))
    assert count > MOST_TRIED


def test_what_begins_or_ends_where_the_transfer_begins_does_not_lie_across() -> None:
    start, end = columns([(0, 10), (2, 6), (6, 8)])
    assert tracks_of(start, end, np.array([6, 2, 6])).tolist() == [0, 0, 0]


def test_what_begins_when_another_ends_stays_on_its_track() -> None:
    start, end = columns([(0, 10), (5, 12), (10, 20)])
    assert tracks_of(start, end, start).tolist() == [0, 1, 0]
