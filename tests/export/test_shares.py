"""Shares of a budget, on paper."""

from scaleprof.export.shard import OPERATION_BYTES, RANK_BYTES
from scaleprof.export.shares import Shares

EACH = OPERATION_BYTES + 150


def test_a_rank_has_what_its_operations_need_and_an_even_part_of_the_rest() -> None:
    shares = Shares(3 * RANK_BYTES + 110 * EACH + 300, {0: (10, 0), 1: (100, 0), 2: (0, 0)})
    assert [shares.of(rank) for rank in (0, 1, 2)] == [
        RANK_BYTES + 10 * EACH + 100,
        RANK_BYTES + 100 * EACH + 100,
        RANK_BYTES + 100,
    ]


def test_what_a_rank_leaves_over_is_for_the_others() -> None:
    shares = Shares(3 * RANK_BYTES + 300, {0: (0, 0), 1: (0, 0), 2: (0, 0)})
    shares.took(0, RANK_BYTES)
    assert [shares.of(rank) for rank in (1, 2)] == [RANK_BYTES + 150] * 2
    shares.took(1, RANK_BYTES + 150)
    assert shares.of(2) == RANK_BYTES + 150


def test_where_not_all_that_is_needed_is_there_each_has_its_part() -> None:
    needed = 2 * RANK_BYTES + 40 * EACH
    shares = Shares(needed // 2, {0: (10, 0), 1: (30, 0)})
    assert [shares.of(rank) for rank in (0, 1)] == [
        (needed // 2) * (RANK_BYTES + count * EACH) // needed for count in (10, 30)
    ]


def test_a_wait_needs_less_than_an_operation() -> None:
    shares = Shares(2 * RANK_BYTES + EACH + 300, {0: (1, 0), 1: (0, 1)})
    assert shares.of(0) == RANK_BYTES + EACH
    assert shares.of(1) == RANK_BYTES + 300
