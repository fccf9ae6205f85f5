"""Which operations of different ranks are one: by hand, and against jobs whose events were lost at random."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

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
    for number, rank, row in zip(found.collective, found.rank, found.row, strict=True):
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
    assert found.unmatched["one number stands in different steps"] == 4


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
    one = table(*(("send", 8, {"peer": 1, "seq": seq}) for seq in (4, 5, 6)), ("recv", 8, {"peer": 1, "seq": 9}))
    other = table(*(("recv", 8, {"peer": 0, "seq": seq}) for seq in (5, 6, 7)), ("send", 8, {"peer": 0, "seq": 9}))
    found = matched(one, other)
    assert members(found) == [{0: 1, 1: 0}, {0: 2, 1: 1}, {1: 3, 0: 3}]
    assert found.unmatched == {"one side of a transfer is missing, or which of several alike ones it was": 2}


def test_transfers_without_numbers_need_as_many_on_both_sides() -> None:
    sends = table(*[("send", 8, {"peer": 1})] * 3)
    assert len(members(matched(sends, table(*[("recv", 8, {"peer": 0})] * 3)))) == 3
    assert len(members(matched(sends, table(*[("recv", 8, {"peer": 0})] * 2)))) == 0
    assert matched(sends, table(("recv", 8, {}))).unmatched["they do not say to whom"] == 1


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
