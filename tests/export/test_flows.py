"""Arrows between ranks, worked out on paper: who came first, where data were sent and when they can have come."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from scaleprof.clock import RankClock
from scaleprof.export.flows import Links, links_of
from scaleprof.export.placing import Placing
from scaleprof.export.selection import EVER
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN

AHEAD_NS = 1_000_000
"""The clock of rank 2 is so far ahead."""
CLOCKS = {rank: RankClock("host", AHEAD_NS if rank == 2 else 0, 0) for rank in range(4)}
PLACING = Placing(CLOCKS, 0, ())
Row = tuple[int, bool, bool, int]
"""Operation, an arrow comes, an arrow goes, where a mark has it."""


@dataclass(frozen=True)
class Op:
    """A rank's part in an operation; times of the file."""

    number: int
    start: int
    end: int
    op: str = "all_reduce"
    event: int | None = None
    """Its own place unless stated; UNKNOWN for one that was only issued."""


def links(
    ranks: Sequence[Sequence[Op]], windows: dict[int, tuple[int, int]] | None = None
) -> tuple[list[list[Row]], int]:
    """By rank, what `links_of` says of these operations; and how many transfers have no arrow."""
    facts: dict[str, dict[int, Table]] = {"carried": {}, "collectives": {}}
    matched: list[tuple[int, int, int]] = []
    for rank, ops in enumerate(ranks):
        ahead = AHEAD_NS if rank == 2 else 0
        events = [place if one.event is None else one.event for place, one in enumerate(ops)]
        ran = np.array(events, dtype=np.int64) != UNKNOWN
        start, end = (
            np.array([getattr(one, name) + ahead for one in ops], dtype=np.int64) for name in ("start", "end")
        )
        facts["carried"][rank] = Table({"event": np.array(events), "end_ns": np.where(ran, end, UNKNOWN)})
        columns = {"start_ns": np.where(ran, start, UNKNOWN), "issued_ns": np.where(ran, UNKNOWN, start)}
        facts["collectives"][rank] = Table({**columns, "op": [one.op for one in ops]})
        matched += [(one.number, rank, row) for row, one in enumerate(ops)]
    matches = Table(dict(zip(("collective", "rank", "row"), map(np.array, zip(*matched, strict=True)), strict=True)))
    view: Any = SimpleNamespace(matches=matches, fact=lambda name: facts.get(name, {}))
    found, lost = links_of(view, PLACING, windows or dict.fromkeys(range(len(ranks)), EVER))
    return [rows(found[rank], ranks[rank]) if rank in found else [] for rank in range(len(ranks))], lost


def rows(of: Links, ops: Sequence[Op]) -> list[Row]:
    assert [ops[row].number for row in of.row.tolist()] == of.operation.tolist()
    columns = (of.operation, of.comes, of.goes, of.at_ns)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_a_chain_leads_from_who_came_first_to_who_came_last_on_the_files_clock() -> None:
    # They came at 30, 10 and 20; by its own clock the last one came a millisecond later.
    found, lost = links([[Op(4, 30, 40)], [Op(4, 10, 40)], [Op(4, 20, 40)]])
    assert found == [[(4, True, False, UNKNOWN)], [(4, False, True, UNKNOWN)], [(4, True, True, UNKNOWN)]]
    assert lost == 0


def test_of_ranks_that_came_at_once_the_lower_one_is_first() -> None:
    found, _ = links([[Op(0, 10, 40)], [Op(0, 10, 40)]])
    assert found == [[(0, False, True, UNKNOWN)], [(0, True, False, UNKNOWN)]]


def test_operations_do_not_mix() -> None:
    found, _ = links([[Op(0, 10, 20), Op(1, 30, 40)], [Op(0, 12, 20), Op(1, 25, 40)]])
    assert found[0] == [(0, False, True, UNKNOWN), (1, True, False, UNKNOWN)]
    assert found[1] == [(0, True, False, UNKNOWN), (1, False, True, UNKNOWN)]


def test_who_is_alone_has_no_arrow() -> None:
    assert links([[Op(0, 10, 20)], [Op(1, 10, 20)]]) == ([[], []], 0)
    assert links([[Op(0, 10, 20)], [Op(0, 10, 20)]], {0: EVER}) == ([[], []], 0)


def test_a_window_holds_its_begin_and_not_its_end() -> None:
    ranks = [[Op(0, 10, 15), Op(1, 20, 25)], [Op(0, 10, 15), Op(1, 20, 25)]]
    found, _ = links(ranks, dict.fromkeys((0, 1), (10, 20)))
    assert [[row[0] for row in of] for of in found] == [[0], [0]]
    found, _ = links(ranks, {0: (11, 21), 1: (0, 21)})
    assert [[row[0] for row in of] for of in found] == [[1], [1]]


def test_an_operation_that_was_only_issued_has_its_place_in_the_chain_but_a_transfer_has_not() -> None:
    found, _ = links([[Op(0, 30, 30, event=UNKNOWN)], [Op(0, 10, 40)]])
    assert found == [[(0, True, False, UNKNOWN)], [(0, False, True, UNKNOWN)]]
    sent, received = Op(0, 10, 10, "send", event=UNKNOWN), Op(0, 20, 40, "recv")
    assert links([[sent], [received]]) == ([[], []], 0)


def test_of_operations_that_one_activity_carried_out_the_first_has_the_chain() -> None:
    coalesced = [Op(0, 10, 40, event=7), Op(1, 10, 40, event=7)]
    found, _ = links([coalesced, [Op(0, 20, 40), Op(1, 25, 45)], [Op(1, 30, 45)]])
    assert found[0] == [(0, False, True, UNKNOWN)]
    assert found[1] == [(0, True, False, UNKNOWN), (1, False, True, UNKNOWN)]
    assert found[2] == [(1, True, False, UNKNOWN)]


def test_those_that_were_only_issued_are_no_activity_together() -> None:
    issued = [Op(0, 10, 10, event=UNKNOWN), Op(1, 11, 11, event=UNKNOWN)]
    found, _ = links([issued, [Op(0, 20, 40), Op(1, 25, 45)]])
    assert [row[0] for row in found[0]] == [0, 1]


def test_a_transfer_in_order_has_its_arrow_from_slice_to_slice() -> None:
    found, lost = links([[Op(3, 10, 30, "send")], [Op(3, 20, 40, "recv")]])
    assert (found, lost) == ([[(3, False, True, UNKNOWN)], [(3, True, False, UNKNOWN)]], 0)


def test_where_the_receiver_waited_a_mark_has_the_arrow_just_after_the_data_were_sent() -> None:
    found, lost = links([[Op(3, 10, 30, "send")], [Op(3, 5, 40, "recv")]])
    assert (found, lost) == ([[(3, False, True, UNKNOWN)], [(3, True, False, 11)]], 0)


def test_a_transfer_that_ended_before_it_began_has_no_arrow_and_is_counted() -> None:
    def received_until(end: int) -> tuple[list[list[Row]], int]:
        return links([[Op(3, 10, 30, "send")], [Op(3, 5, end, "recv")]])

    assert received_until(11) == ([[], []], 1), "a mark at 11 would lie behind its slice"
    assert received_until(12) == ([[(3, False, True, UNKNOWN)], [(3, True, False, 11)]], 0)


def test_of_a_transfer_that_began_at_once_the_lower_rank_is_first() -> None:
    up, _ = links([[Op(3, 10, 30, "send")], [Op(3, 10, 40, "recv")]])
    down, _ = links([[Op(3, 10, 40, "recv")], [Op(3, 10, 30, "send")]])
    assert up == [[(3, False, True, UNKNOWN)], [(3, True, False, UNKNOWN)]]
    assert down == [[(3, True, False, 11)], [(3, False, True, UNKNOWN)]]


def test_an_activity_that_did_several_things_has_marks() -> None:
    # Rank 0 sends to rank 1 and receives from it in one activity from 10 to 50; rank 1 does each alone.
    both = [Op(0, 10, 50, "send", event=4), Op(1, 10, 50, "recv", event=4)]
    found, lost = links([both, [Op(0, 20, 30, "recv"), Op(1, 35, 45, "send")]])
    assert found[0] == [(0, False, True, 10), (1, True, False, 36)]
    assert found[1] == [(0, True, False, UNKNOWN), (1, False, True, UNKNOWN)] and lost == 0
    # Both in one activity: from where it was sent to where the receiver's activity began, which is later.
    other = [Op(0, 20, 45, "recv", event=4), Op(1, 20, 45, "send", event=4)]
    found, _ = links([both, other])
    assert found == [[(0, False, True, 10), (1, True, False, 21)], [(0, True, False, 20), (1, False, True, 20)]]


def test_a_send_without_its_receiver_has_no_arrow_and_is_not_counted() -> None:
    assert links([[Op(0, 10, 20, "send")], [Op(1, 10, 20, "recv")]]) == ([[], []], 0)
    assert links([[Op(0, 10, 20, "send")], [Op(0, 12, 20, "send")]]) == ([[], []], 0)


def test_of_transfers_both_ways_at_once_each_has_its_own_order() -> None:
    # The data of both leave at 10, and both receivers began then: for the one on the lower rank a mark is needed.
    found, lost = links(
        [[Op(0, 10, 40, "send"), Op(1, 10, 40, "recv")], [Op(0, 10, 40, "recv"), Op(1, 10, 40, "send")]]
    )
    assert found == [
        [(0, False, True, UNKNOWN), (1, True, False, 11)],
        [(0, True, False, UNKNOWN), (1, False, True, UNKNOWN)],
    ]
    assert lost == 0
