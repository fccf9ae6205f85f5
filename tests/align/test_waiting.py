"""Exposed communication in its parts, on paper."""

from typing import Any

import numpy as np

from scaleprof.align import RankFacts, align
from scaleprof.align.matching import match
from scaleprof.align.meetings import Book
from scaleprof.align.offsets import clocks_of_run
from scaleprof.align.waiting import Exchange, exchange_of, exposed_parts
from scaleprof.clock import RankClock
from scaleprof.results import Table
from scaleprof.run import ProcessGroup, RankInfo, RunInfo
from tests.tables import numbers, operations

WORLD = (ProcessGroup("0", (0, 1)),)
SAME = {rank: RankClock("node", 0, 0) for rank in range(2)}


def exchange(tables: dict[int, Table], clocks: dict[int, RankClock] = SAME) -> Exchange:
    return exchange_of(tables, Book(match(tables, dict.fromkeys(tables, WORLD)), tables), clocks)


def told(
    tables: dict[int, Table], exposed: int, segments: Table, waits: Table | None = None, clocks: Any = SAME
) -> list[int]:
    account = numbers(step=[0], exposed_comm_ns=[exposed])
    parts = exposed_parts(0, account, segments, waits, tables[0], exchange(tables, clocks))
    return [int(parts[name][0]) for name in ("exposed_transfer", "bubble", "exposed_wait", "exposed_untold")]


REDUCED = {0: operations({"start_ns": 100, "dur_ns": 100}), 1: operations({"start_ns": 170, "dur_ns": 30})}
"""Rank 1 comes last: 30 ns are transfer, and rank 0 has waited for 70."""


def test_of_a_stretch_the_end_is_transfer_and_the_rest_was_waiting() -> None:
    segments = numbers(segment=[0, 1], step=[0, 0], start_ns=[110, 160], end_ns=[130, 190], comm=[0, 0])
    assert told(REDUCED, 50, segments) == [20, 0, 30, 0]


def test_what_no_operation_explains_stays_untold() -> None:
    segments = numbers(segment=[0], step=[0], start_ns=[190], end_ns=[240], comm=[0])
    assert told(REDUCED, 50, segments) == [10, 0, 0, 40]


def test_of_several_devices_the_mean_counts_also_where_one_exposes_nothing() -> None:
    segments = numbers(segment=[0], step=[0], start_ns=[110], end_ns=[190], comm=[0])
    assert told(REDUCED, 40, segments) == [10, 0, 30, 0]  # 80 ns on one device, none on the other


PAIR = {
    0: operations({"op": "recv", "peer": 1, "issued_ns": 100, "start_ns": 100}),
    1: operations({"op": "send", "peer": 0, "issued_ns": 160, "start_ns": 160}),
}


def test_a_receive_waits_until_it_is_sent() -> None:
    segments = numbers(segment=[0], step=[0], start_ns=[120], end_ns=[200], comm=[0])
    waits = numbers(collective=[0], start_ns=[120], dur_ns=[80])
    assert told(PAIR, 80, segments, waits) == [40, 40, 0, 0]
    ahead = {0: RankClock("a", 0, 0), 1: RankClock("b", 10, 0)}
    assert told(PAIR, 80, segments, waits, ahead) == [50, 30, 0, 0]


def test_without_comparable_clocks_a_transfer_stays_untold() -> None:
    segments = numbers(segment=[0], step=[0], start_ns=[120], end_ns=[200], comm=[0])
    waits = numbers(collective=[0], start_ns=[120], dur_ns=[80])
    assert told(PAIR, 80, segments, waits, {0: SAME[0], 1: RankClock("b", None, None)}) == [0, 0, 0, 80]


def test_on_a_device_the_side_that_came_first_waited_for_the_other() -> None:
    # The receive stands on the stream from 100 to 200, the send from 160 to 210: rank 0 waits 60 ns, both transfer from then on.
    tables = {
        0: operations({"op": "recv", "peer": 1, "start_ns": 100, "dur_ns": 100}),
        1: operations({"op": "send", "peer": 0, "start_ns": 160, "dur_ns": 50}),
    }
    segments = numbers(segment=[0], step=[0], start_ns=[120], end_ns=[190], comm=[0])
    assert told(tables, 70, segments) == [30, 40, 0, 0]
    found = exchange(tables)
    assert (found.wait_ns[0].tolist(), found.transfer_ns[0].tolist()) == ([60], [40])
    assert (found.wait_ns[1].tolist(), found.transfer_ns[1].tolist()) == ([0], [50])
    early = {**tables, 1: operations({"op": "send", "peer": 0, "start_ns": 20, "dur_ns": 50})}
    assert exchange(early).wait_ns[1].tolist() == [0], (
        "its data were taken into a buffer: it left before the receiver came"
    )


def test_a_send_that_stays_until_the_receiver_has_come_waited_for_it() -> None:
    tables = {
        0: operations({"op": "send", "peer": 1, "start_ns": 100, "dur_ns": 100}),
        1: operations({"op": "recv", "peer": 0, "start_ns": 160, "dur_ns": 40}),
    }
    assert exchange(tables).wait_ns[0].tolist() == [60]
    left = {**tables, 0: operations({"op": "send", "peer": 1, "start_ns": 100, "dur_ns": 60})}
    assert exchange(left).wait_ns[0].tolist() == [0], "it left as the receiver came"


def test_a_clock_that_drifts_moves_waiting_with_time() -> None:
    rows = [{"seq": n, "step": n, "start_ns": n * 1_000_000, "dur_ns": 1_000} for n in (10, 20)]
    tables = {
        0: operations(*({**row, "op": "recv", "peer": 1} for row in rows)),
        1: operations(*({**row, "op": "send", "peer": 0, "start_ns": row["start_ns"] + 500} for row in rows)),
    }
    drifting = RankClock("b", 100, 0, at_ns=10_000_000, drift_ppm=20.0)
    assert exchange(tables, {0: SAME[0], 1: drifting}).wait_ns[0].tolist() == [400, 200]
    once = RankClock("b", 100, 0, at_ns=10_000_000, drift_ppm=None)
    assert exchange(tables, {0: SAME[0], 1: once}).wait_ns[0].tolist() == [400, 400]


def test_who_depends_on_a_root_waits_for_it_and_others_do_not() -> None:
    world = (ProcessGroup("0", (0, 1, 2)),)
    begin = {0: 150, 1: 100, 2: 170}

    def split(op: str, root: int = 0) -> list[int]:
        tables = {
            rank: operations({"op": op, "peer": root, "start_ns": start, "dur_ns": 200 - start})
            for rank, start in begin.items()
        }
        found = exchange_of(
            tables, Book(match(tables, dict.fromkeys(tables, world)), tables), dict.fromkeys(tables, SAME[0])
        )
        return [int(found.wait_ns[rank][0]) for rank in begin]

    assert split("broadcast") == [0, 50, 0]
    assert split("reduce") == [20, 0, 0]
    assert split("broadcast", -1) == split("reduce", -1) == [-1, -1, -1], "nobody says who is the root"


def test_clocks_too_uncertain_for_a_bubble_say_by_how_much() -> None:
    tables = {
        0: operations({"op": "recv", "peer": 1, "start_ns": 100, "dur_ns": 100}),
        1: operations({"op": "send", "peer": 0, "start_ns": 160, "dur_ns": 50}),
    }
    segments = numbers(segment=[0], step=[0], start_ns=[100], end_ns=[200], comm=[0])
    clocks = {0: RankClock("a", 0, 0), 1: RankClock("b", 0, 30, half_width_ns=7)}
    parts = exposed_parts(
        0, numbers(step=[0], exposed_comm_ns=[100]), segments, None, tables[0], exchange(tables, clocks)
    )
    assert (parts["bubble"].tolist(), parts["bubble_error"].tolist()) == ([60], [7])


def test_clocks_that_contradict_durations_are_noticed() -> None:
    def found(ahead_ns: int) -> float | None:
        ms = 1_000_000
        tables = {
            0: operations(*({"seq": n, "start_ns": n * 9 * ms, "dur_ns": 2 * ms} for n in range(10))),
            1: operations(*({"seq": n, "start_ns": n * 9 * ms + ms + ahead_ns, "dur_ns": ms} for n in range(10))),
        }
        return exchange(tables).disagreeing

    assert found(0) == found(5_000) == 0.0
    assert found(3_000_000) == 1.0
    assert exchange(REDUCED, {0: SAME[0], 1: RankClock("b", None, None)}).disagreeing is None


def test_ends_that_scatter_on_a_busy_host_contradict_no_clock() -> None:
    def found(scatter_ns: list[int], ahead_ns: int = 0) -> float | None:
        ms = 1_000_000
        early = [{"seq": n, "start_ns": n * 9 * ms, "dur_ns": 2 * ms} for n in range(12)]
        late = [
            {"seq": n, "start_ns": n * 9 * ms + ms + ahead_ns, "dur_ns": ms + scatter_ns[n % len(scatter_ns)]}
            for n in range(12)
        ]
        return exchange({0: operations(*early), 1: operations(*late)}).disagreeing

    assert found([-200_000, 0, 200_000]) == 0.0
    assert found([-200_000, 0, 200_000], ahead_ns=3_000_000) == 1.0, "a wrong clock shifts every end"
    assert found([0] * 11 + [800_000]) == 0.0, "a single one is an accident"
    assert found([0] * 5 + [800_000]) == 2 / 12


def test_who_came_last_at_the_same_time_as_another_is_not_named() -> None:
    even = {rank: operations({"start_ns": 100, "dur_ns": 100}) for rank in range(2)}
    assert np.asarray(exchange(even).collectives["last"]).tolist() == [-1]
    told_of = exchange(REDUCED).collectives
    assert [int(told_of[name][0]) for name in ("last", "wait_ns", "transfer_ns")] == [1, 70, 60]


def test_what_ends_before_another_rank_has_come_is_not_one_operation() -> None:
    ms = 1_000_000
    good = [{"seq": n, "step": n, "start_ns": 10 * n * ms, "dur_ns": ms} for n in range(20)]
    late = [*good[:7], {**good[7], "start_ns": 75 * ms}, *good[8:]]
    found = exchange({0: operations(*good), 1: operations(*late)})
    assert (found.impossible, found.transfer_ns[0].tolist().count(-1)) == ((7,), 1)
    wrong = exchange({0: operations(*good), 1: operations(*late)}, {0: SAME[0], 1: RankClock("b", 5 * ms, 0)})
    assert wrong.impossible == (), "almost none could be on these clocks: they are wrong, not the matching"
    assert wrong.disagreeing == 0.95, "but for the late one, which they happen to explain"


def test_what_is_received_before_it_is_sent_is_no_transfer() -> None:
    ms = 1_000_000

    def found(ahead_ns: int) -> Exchange:
        rows = [{"seq": n, "step": n, "start_ns": 10 * n * ms, "dur_ns": ms} for n in range(20)]
        late = [{**row, "op": "send", "peer": 1, "start_ns": row["start_ns"] + ahead_ns} for row in rows]
        return exchange({0: operations(*late), 1: operations(*({**row, "op": "recv", "peer": 0} for row in rows))})

    assert found(0).impossible == () and found(0).wait_ns[1].tolist() == [0] * 20
    wrong = found(5 * ms)
    assert wrong.impossible == tuple(range(20)), "whether the clocks are wrong or the pairs"
    assert set(wrong.transfer_ns[1].tolist()) == {-1}


def test_where_nothing_but_order_made_them_one_the_clocks_of_one_host_are_right() -> None:
    ms = 1_000_000
    good = [{"seq": -1, "step": n, "start_ns": 10 * n * ms, "dur_ns": ms} for n in range(20)]
    apart = [{**row, "start_ns": row["start_ns"] + 5 * ms} for row in good]
    found = exchange({0: operations(*good), 1: operations(*apart)})
    assert found.impossible == tuple(range(20)) and not len(found.collectives)


def test_a_group_that_nobody_describes_is_not_known_to_be_whole_where_a_rank_was_not_read() -> None:
    def split(world_size: int, groups: tuple[ProcessGroup, ...]) -> int:
        infos = {rank: RankInfo(rank=rank, world_size=world_size, host="a", process_groups=groups) for rank in range(2)}
        facts = {rank: RankFacts(infos[rank], {"collectives": REDUCED[rank]}) for rank in infos}
        return len(align(RunInfo("r", world_size), facts).exchange.collectives)

    assert split(2, ()) == 1
    assert split(3, ()) == 0, "rank 2 may have come last"
    assert split(3, WORLD) == 1
    assert split(3, (ProcessGroup("0", (0, 1, 2)),)) == 0


def test_where_no_clocks_explain_unnamed_groups_they_are_not_split() -> None:
    """Two pairs of ranks reduce for themselves, and the trace does not say that they are pairs."""
    ms = 1_000_000
    pairs = {
        rank: [
            {"seq": -1, "step": n, "start_ns": 20 * n * ms + (rank // 2) * (n % 3) * 5 * ms, "dur_ns": ms}
            for n in range(30)
        ]
        for rank in range(4)
    }
    tables = {rank: operations(*rows) for rank, rows in pairs.items()}
    infos = {rank: RankInfo(rank=rank, world_size=4, host="node") for rank in tables}
    meetings = Book(match(tables, dict.fromkeys(tables, ())), tables).sample
    assert clocks_of_run(infos, meetings).contradicted
    facts = {rank: RankFacts(infos[rank], {"collectives": tables[rank]}) for rank in tables}
    view = align(RunInfo(name="pairs", world_size=4), facts)
    assert view.matched_share == 0
    assert not len(view.exchange.collectives)
