"""Which operations of different ranks are one: by hand, and against jobs whose events were lost at random."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from scaleprof.align.content import EndTimes
from scaleprof.align.matching import Matches, match
from scaleprof.results import Table
from scaleprof.run import ProcessGroup

WORLD = (ProcessGroup("0", (0, 1)),)


def table(*rows: tuple[Any, ...], **same: Any) -> Table:
    """One rank's operations: (op, bytes), or a dict that says more."""
    full = [{"op": row[0], "bytes": row[1], **(row[2] if len(row) > 2 else {})} for row in rows]
    columns: dict[str, Any] = {}
    for name, absent in (
        ("op", ""),
        ("bytes", -1),
        ("dtype", "float"),
        ("group", "0"),
        ("seq", -1),
        ("step", 0),
        ("peer", -1),
    ):
        values = [row.get(name, same.get(name, absent)) for row in full]
        columns[name] = values if isinstance(absent, str) else np.array(values, dtype=np.int64)
    return Table(columns)


def members(found: Matches) -> list[dict[int, int]]:
    """Of each operation the row on every rank that took part."""
    operations: dict[int, dict[int, int]] = {}
    for number, rank, row in zip(*(column.tolist() for column in found.members()), strict=True):
        operations.setdefault(number, {})[rank] = row
    return [operations[number] for number in sorted(operations)]


def matched(*tables: Table, groups: tuple[ProcessGroup, ...] = WORLD) -> Matches:
    return match(dict(enumerate(tables)), dict.fromkeys(range(len(tables)), groups))


def numbered(*numbers: int, size: int = 8) -> Table:
    return table(*(("all_reduce", size, {"seq": number}) for number in numbers))


def test_numbers_pair_what_positions_would_not() -> None:
    found = matched(numbered(3, 4, 5, 6), numbered(5, 6, 7))
    assert members(found) == [{0: 2, 1: 0}, {0: 3, 1: 1}]
    assert found.unmatched == {"they stand on one rank only": 3}
    assert found.matched_share == 4 / 7


def test_one_number_with_two_contents_is_no_pair() -> None:
    found = matched(numbered(1, 2), table(("all_reduce", 8, {"seq": 1}), ("all_gather", 8, {"seq": 2})))
    assert members(found) == [{0: 0, 1: 0}]
    assert found.unmatched == {"operation, type or size differ under one number": 2}


@pytest.mark.parametrize("op", ["all_to_all", "scatter", "gather"])
def test_ranks_of_some_operations_may_send_differently_much(op: str) -> None:
    one, other = (table((op, size, {"seq": 1})) for size in (10, 30))
    assert members(matched(one, other)) == [{0: 0, 1: 0}]


def test_a_group_that_was_made_anew_begins_again() -> None:
    rows = [("all_reduce", 8, {"seq": seq, "step": step}) for seq, step in ((1, 0), (2, 0), (1, 9), (2, 9))]
    assert members(matched(table(*rows), table(*rows))) == [{0: row, 1: row} for row in range(4)]
    found = matched(
        table(*rows), table(*rows[2:])
    )  # the second rank was recorded late: its first is the other's second life
    assert members(found) == []
    assert found.unmatched == {"their group was made anew, and not all ranks say so": 6}


def test_a_number_lost_in_either_life_of_a_group_pairs_no_two_lives() -> None:
    lives = [("all_reduce", 8, {"seq": seq, "step": step}) for step in (0, 1) for seq in (1, 2, 3)]
    found = matched(
        table(*lives[:1], *lives[2:]), table(*lives[:4], *lives[5:])
    )  # 2 of the first life, 2 of the second
    assert members(found) == [{0: 0, 1: 0}, {0: 1, 1: 2}, {0: 2, 1: 3}, {0: 4, 1: 4}]
    assert found.unmatched == {"they stand on one rank only": 2}


def test_numbers_a_little_out_of_order_are_no_new_life() -> None:
    found = matched(numbered(5, 7, 6, 8), numbered(5, 6, 7, 8))
    assert members(found) == [{0: 0, 1: 0}, {0: 2, 1: 1}, {0: 1, 1: 2}, {0: 3, 1: 3}]


def test_of_several_operations_of_one_number_none_may_be_lost() -> None:
    """torch counts coalesced operations once."""
    assert len(members(matched(numbered(4, 4, 4, 5), numbered(4, 4, 4, 5)))) == 4
    found = matched(numbered(4, 4, 4, 5), numbered(4, 4, 5))
    assert members(found) == [{0: 3, 1: 2}]
    assert found.unmatched == {"several of one number, some of which were lost": 5}


def test_where_most_have_numbers_the_others_are_left_alone() -> None:
    found = matched(numbered(1, -1, 3), numbered(1, 2, 3))
    assert members(found) == [{0: 0, 1: 0}, {0: 2, 1: 2}]
    assert found.unmatched == {"they have no number, and others of their group do": 1, "they stand on one rank only": 1}


def test_where_few_have_numbers_order_must_not_contradict_them() -> None:
    found = matched(numbered(-1, -1, 3), numbered(1, 2, 4))
    assert members(found) == [{0: 0, 1: 0}, {0: 1, 1: 1}]
    assert found.unmatched == {"their numbers differ": 2}


def test_what_one_rank_does_not_say_of_a_group_another_says() -> None:
    four = (ProcessGroup("0", (0, 1, 2, 3)),)
    found = match(dict.fromkeys(range(4), numbered(1)), {2: four, 3: four})
    assert members(found) == [dict.fromkeys(range(4), 0)]
    assert found.groups[0].is_stated and found.groups[0].ranks == (0, 1, 2, 3)


def unnamed(*numbers: int, size: int = 8) -> Table:
    return table(*(("all_reduce", size, {"seq": number, "group": ""}) for number in numbers))


def test_numbers_of_groups_without_a_name_say_nothing() -> None:
    """Both pairs count from 1; the second has lost its first one."""
    found = matched(unnamed(1, 2), unnamed(1, 2), unnamed(2), unnamed(2), groups=())
    assert members(found) == []
    pairs = matched(unnamed(1, 2), unnamed(1, 2), unnamed(1, size=64), unnamed(1, size=64), groups=())
    assert members(pairs) == []
    assert pairs.unmatched == {"the ranks did different things, and nothing numbers them": 6}


def test_a_group_without_a_name_is_that_of_all_ranks_or_none() -> None:
    short = [("all_reduce", 8, {"group": ""}), ("all_gather", 8, {"group": ""})]
    found = matched(table(*short), table(*short), table(*short[1:]), groups=())
    assert members(found) == [{0: 1, 1: 1, 2: 0}]
    assert found.unmatched == {"the trace names no group, and not all ranks took part": 2}


def test_operations_that_name_no_group_belong_to_the_only_one_that_there_is() -> None:
    world = ProcessGroup("0", (0, 1, 2))
    [group] = matched(unnamed(1), unnamed(1), groups=(world, ProcessGroup("same ranks", (0, 1, 2)))).groups
    assert group.ranks == (0, 1, 2), "rank 2 was not read"
    found = matched(unnamed(1), unnamed(1), groups=(world, ProcessGroup("1", (0, 1))))
    assert found.unmatched == {"the trace names no group, and they have several": 2}


def test_groups_inside_groups_have_numbers_of_their_own() -> None:
    tensor = {0: ("1", (0, 1)), 1: ("1", (0, 1)), 2: ("2", (2, 3)), 3: ("2", (2, 3))}
    data = {0: ("3", (0, 2)), 2: ("3", (0, 2)), 1: ("4", (1, 3)), 3: ("4", (1, 3))}
    groups = {rank: tuple(ProcessGroup(*one[rank]) for one in (tensor, data)) for rank in range(4)}
    tables = {
        rank: table(
            ("all_reduce", 8, {"seq": 1, "group": tensor[rank][0]}),
            ("all_reduce", 8, {"seq": 1, "group": data[rank][0]}),
        )
        for rank in range(4)
    }
    found = match(tables, groups)
    assert sorted(map(sorted, members(found))) == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert found.matched_share == 1


def test_a_group_of_one_rank_has_nobody_to_match() -> None:
    assert matched(numbered(1), numbered(1), groups=(ProcessGroup("0", (0,)),)).matched_share is None


def ops(text: str, step: int = 0) -> list[tuple[Any, ...]]:
    names = {"r": "all_reduce", "g": "all_gather", "s": "reduce_scatter"}
    return [(names[letter], 8, {"step": step}) for letter in text]


@pytest.mark.parametrize(
    ("first", "second", "pairs", "lost"),
    [
        ("rgs", "rgs", [(0, 0), (1, 1), (2, 2)], 0),
        ("rgs", "rs", [(0, 0), (2, 1)], 1),  # the gather was lost on the second rank
        ("rrrr", "rrr", [], 7),  # one of four alike ones: nobody knows which
        ("rgrr", "rgr", [(0, 0), (1, 1)], 3),
        ("rg", "gr", [], 4),  # neither is a part of the other
        ("rgs", "", [], 3),
    ],
)
def test_without_numbers_content_and_order_decide(
    first: str, second: str, pairs: list[tuple[int, int]], lost: int
) -> None:
    found = matched(table(*ops(first)), table(*ops(second)))
    assert [(one[0], one[1]) for one in members(found)] == pairs
    assert found.unmatched.total() == lost


def test_two_ranks_that_lost_different_ones_are_not_paired_by_position() -> None:
    usual = [row for step in range(5) for row in ops("rrrg", step)]
    short = [row for row in usual if row[2]["step"] != 4] + ops("rrg", 4)
    found = matched(table(*short), table(*short))
    assert len(members(found)) == 4 * 4 + 1  # of the last step only the gather is certain
    assert found.unmatched.total() == 4


def test_transfers_are_paired_by_their_ends_and_numbers() -> None:
    one = table(*(("send", 8, {"peer": 1, "seq": seq}) for seq in (4, 5, 6)), ("recv", 8, {"peer": 1, "seq": 5}))
    other = table(*(("recv", 8, {"peer": 0, "seq": seq}) for seq in (5, 6, 7)), ("send", 8, {"peer": 0, "seq": 5}))
    found = matched(one, other)
    assert members(found) == [{0: 1, 1: 0}, {0: 2, 1: 1}, {1: 3, 0: 3}]
    assert found.unmatched == {"one side of a transfer is missing, or which of several alike ones it was": 2}


def test_transfers_without_numbers_need_as_many_on_both_sides() -> None:
    sends = table(*[("send", 8, {"peer": 1})] * 3)
    assert len(members(matched(sends, table(*[("recv", 8, {"peer": 0})] * 3)))) == 3
    assert len(members(matched(sends, table(*[("recv", 8, {"peer": 0})] * 2)))) == 0
    assert matched(sends, table(("recv", 8, {}))).unmatched["they do not say to whom"] == 1


def transfers(*rows: tuple[str, int, int, int]) -> Table:
    """(op, peer, number, step)."""
    return table(*((op, 8, {"peer": peer, "seq": seq, "step": step}) for op, peer, seq, step in rows))


def test_a_count_of_all_transfers_of_a_rank_says_nothing_on_another() -> None:
    """A pipeline that only goes forward: rank 1 counts what it receives and what it sends together."""
    first = transfers(*(("send", 1, number, 0) for number in range(4)))
    middle = transfers(*(row for n in range(4) for row in (("recv", 0, 2 * n, 0), ("send", 2, 2 * n + 1, 0))))
    last = transfers(*(("recv", 1, number, 0) for number in range(4)))
    found = matched(first, middle, last, groups=())
    assert members(found) == [*({0: n, 1: 2 * n} for n in range(4)), *({1: 2 * n + 1, 2: n} for n in range(4))]


def both_ways(step: int) -> tuple[list[tuple[str, int, int, int]], list[tuple[str, int, int, int]]]:
    """A step of two ranks: two sends and two receives each, numbered as torch does."""
    one = [(op, 1, 4 * step + place, step) for place, op in enumerate(("send", "send", "recv", "recv"))]
    other = [(op, 0, 4 * step + place, step) for place, op in enumerate(("recv", "recv", "send", "send"))]
    return one, other


def test_numbers_of_all_transfers_say_which_one_of_a_step_was_lost() -> None:
    one, other = ([row for step in range(4) for row in both_ways(step)[side]] for side in (0, 1))
    found = matched(transfers(*one), transfers(*other[:8], *other[9:]))  # the first that rank 1 receives in step 2
    assert len(members(found)) == 15 and found.unmatched.total() == 1
    assert {0: 9, 1: 8} in members(found), "the second send is the second receive"


def test_one_kind_of_transfer_alone_has_gaps_too() -> None:
    one, other = (
        transfers(*((op, peer, n, -1) for n in kept)) for op, peer, kept in (("send", 1, (0, 9)), ("recv", 0, (0, 7)))
    )
    assert members(matched(one, other)) == []


def test_a_place_lost_in_every_step_moves_no_other() -> None:
    steps = [both_ways(step) for step in range(2)]
    whole = [row for one, _ in steps for row in one]
    without_first = [row for _, other in steps for row in other[1:]]
    found = matched(transfers(*whole), transfers(*without_first))
    assert members(found) == [{1: 1, 0: 2}, {1: 2, 0: 3}, {1: 4, 0: 6}, {1: 5, 0: 7}], "what rank 1 sends is whole"
    assert found.unmatched.total() == 6


def test_as_many_on_both_sides_are_no_pairs_where_numbers_are_missing() -> None:
    one, other = both_ways(0)
    found = matched(transfers(*one[1:]), transfers(other[0], *other[2:]))  # each lacks another one of the first two
    assert members(found) == []


def test_as_many_on_both_sides_are_pairs_if_other_steps_have_as_many() -> None:
    def counted(counts: list[int], op: str, peer: int) -> Table:
        return transfers(*((op, peer, -1, step) for step, count in enumerate(counts) for _ in range(count)))

    def pairs(sent: list[int], received: list[int]) -> int:
        return len(members(matched(counted(sent, "send", 1), counted(received, "recv", 0))))

    assert pairs([4, 4, 3], [4, 4, 3]) == 8, "each may have lost another one"
    assert pairs([4, 2] * 4, [4, 2] * 4) == 24, "half as many in every other step"
    assert pairs([4, 2] * 4 + [4], [4, 2] * 4 + [3]) == 16, "something is lost"
    assert pairs([4, 3, 3, 3, 3], [4, 3, 3, 2, 3]) == 0, "most steps lack something"


def test_outside_of_all_steps_only_numbers_say_that_no_transfer_was_lost() -> None:
    one, other = ([(op, peer, number, -1) for op, peer, number, _ in rows] for rows in both_ways(0))
    assert len(members(matched(transfers(*one), transfers(*other)))) == 4
    found = matched(*(transfers(*((op, peer, -1, -1) for op, peer, _, _ in rows)) for rows in (one, other)))
    assert members(found) == []


def test_two_ranks_that_lost_equally_many_twice_are_not_paired_by_position() -> None:
    usual = [row for step in (0, 3) for row in ops("rrrr", step)]
    short = [row for step in (1, 2) for row in ops("rrr", step)]
    found = matched(table(*usual, *short), table(*usual, *short))
    assert len(members(found)) == 8
    alternating = [row for step in range(8) for row in ops("rrrr" if step % 2 else "rrr", step)]
    assert len(members(matched(table(*alternating), table(*alternating)))) == 28, "every other step is a shorter one"


@pytest.mark.parametrize(("apart", "pairs"), [(0, 1), (1, 1), (2, 0)])
def test_one_operation_may_stand_in_neighbouring_steps(apart: int, pairs: int) -> None:
    one, other = (("all_reduce", 8, {"seq": 1, "step": step}) for step in (0, apart))
    assert len(members(matched(table(one), table(other)))) == pairs
    sent, received = transfers(("send", 1, 1, 0)), transfers(("recv", 0, 1, apart))
    found = matched(sent, received)
    assert (len(members(found)), found.unmatched.total()) == (pairs, 2 * (1 - pairs))


def settled(first: list[int], second: list[int], *, third: list[int] | None = None) -> Matches:
    """Alike operations in one step, which ended at these times (-1: not known); two ends of one are no more than 10 apart."""
    times = [first, second, *([third] if third else [])]
    tables = {rank: table(*ops("r" * len(ends))) for rank, ends in enumerate(times)}
    ends = EndTimes({rank: np.array(ends) for rank, ends in enumerate(times)}, 10)
    return match(tables, dict.fromkeys(tables, (ProcessGroup("0", tuple(tables)),)), ends)


def test_where_order_cannot_tell_the_times_of_ends_do() -> None:
    assert members(settled([100, 200, 300], [105, 298])) == [{0: 0, 1: 0}, {0: 2, 1: 1}]
    left = settled([100, 200, 300], [105, 298])
    assert (left.undecided, left.unmatched) == (0, {"they stand on one rank only": 1})
    far = settled([100, 200, 300], [111, 298])
    assert (members(far), far.undecided) == ([{0: 2, 1: 1}], 1), "too far apart"
    assert members(settled([100, 120, 300], [105, 298])) == [{0: 2, 1: 1}], "too near another one"
    assert members(settled([100, 105, 300], [103, 298])) == [{0: 2, 1: 1}], "two of one rank"
    assert members(settled([100, -1, 300], [105, -1])) == [{0: 0, 1: 0}], "some ends are not known"
    whole = settled([100, 200, 300], [101, 299], third=[102, 202, 301])
    assert members(whole) == [{0: 0, 2: 0, 1: 0}, {0: 1, 2: 1}, {0: 2, 2: 2, 1: 1}], "into what order has found"


# ---- jobs with known answers


def job(
    seed: int, *, lost: float, are_numbered: bool
) -> tuple[dict[int, Table], dict[int, tuple[ProcessGroup, ...]], dict[int, list[int]]]:
    """Four ranks, tensor parallel in pairs and data parallel across, some events lost; and the true number of each row that is left."""
    random = np.random.default_rng(seed)
    groups = {
        rank: (
            ProcessGroup(f"tp{rank // 2}", (rank // 2 * 2, rank // 2 * 2 + 1)),
            ProcessGroup(f"dp{rank % 2}", (rank % 2, rank % 2 + 2)),
        )
        for rank in range(4)
    }
    shapes = random.choice([64, 128, 256], size=12)
    tables, truth = {}, {}
    for rank in range(4):
        rows, answers, counts = [], [], {"tp": 0, "dp": 0}
        for step in range(30):
            for place, size in enumerate(shapes):
                kind = "tp" if place % 3 else "dp"
                counts[kind] += 1
                if random.random() >= lost:
                    group = groups[rank][0 if kind == "tp" else 1].name
                    seq = counts[kind] if are_numbered else -1
                    rows.append(("all_reduce", int(size), {"group": group, "seq": seq, "step": step}))
                    answers.append(step * 100 + place)
        tables[rank], truth[rank] = table(*rows), answers
    return tables, groups, truth


def wrong(found: Matches, truth: Mapping[int, list[int]]) -> int:
    return sum(len({truth[rank][row] for rank, row in one.items()}) > 1 for one in members(found))


@pytest.mark.parametrize("seed", range(40))
def test_lost_events_never_make_a_wrong_pair(seed: int) -> None:
    for are_numbered in (True, False):
        tables, groups, truth = job(seed, lost=0.01, are_numbered=are_numbered)
        found = match(tables, groups)
        assert wrong(found, truth) == 0
        assert found.matched_share is not None
        assert found.matched_share > (0.97 if are_numbered else 0.8)


def test_ranks_that_use_the_name_of_a_group_that_nobody_describes_are_its_members() -> None:
    """So it is where a trace names communicators only."""
    pair = [table(("all_reduce", 8), group="communicator 77") for _ in range(2)]
    other = [table(("all_reduce", 8), group="communicator 78") for _ in range(2)]
    found = matched(*pair, *other, groups=())
    assert members(found) == [{0: 0, 1: 0}, {2: 0, 3: 0}]
    assert [group.ranks for group in found.groups] == [(0, 1), (2, 3)]
