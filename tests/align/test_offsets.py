"""Which clocks a run has, from hosts, ping-pongs and the ends of operations."""

from collections.abc import Mapping

import numpy as np
import pytest

from scaleprof.align.matching import match
from scaleprof.align.meetings import Book
from scaleprof.align.offsets import Clocks, clocks_of_run
from scaleprof.clock import ClockOffset, HostClock
from scaleprof.results import Table
from scaleprof.run import ProcessGroup, RankInfo
from tests.tables import operations

BASE = 1_800_000_000_000_000_000
S = 1_000_000_000


def reduced(
    *, ahead_ns: Mapping[int, int], drift: Mapping[int, float] | None = None, group: str = "0", times: int = 30
) -> dict[int, Table]:
    """One all-reduce a second: 100 us after the last of the ranks, which come one us after the other in turns, all leave."""
    ranks = sorted(ahead_ns)
    tables = {}
    for rank in ranks:
        rows = []
        for number in range(times):
            came = number * S + 1_000 * ((ranks.index(rank) + number) % len(ranks))
            left = number * S + 1_000 * (len(ranks) - 1) + 100_000
            shown = [BASE + true + ahead_ns[rank] + round((drift or {}).get(rank, 0.0) * true) for true in (came, left)]
            rows.append(
                {"start_ns": shown[0], "dur_ns": shown[1] - shown[0], "seq": number, "group": group, "step": number}
            )
        tables[rank] = operations(*rows)
    return tables


def clocks(
    tables: Mapping[int, Table],
    hosts: Mapping[int, str | None],
    recorded: Mapping[int, HostClock] | None = None,
    groups: Mapping[int, tuple[ProcessGroup, ...]] | None = None,
) -> Clocks:
    everybody = (ProcessGroup("0", tuple(sorted(tables))),)
    of = {rank: (groups or {}).get(rank, everybody) for rank in tables}
    infos = {
        rank: RankInfo(
            rank=rank,
            world_size=len(hosts),
            host=hosts[rank],
            clock=(recorded or {}).get(rank),
            process_groups=of[rank],
        )
        for rank in tables
    }
    return clocks_of_run(infos, Book(match(tables, of), tables).sample)


def test_ends_tell_offset_and_drift_of_a_host_that_nobody_measured() -> None:
    far = 3_600 * S  # an hour
    found = clocks(
        reduced(ahead_ns={0: 0, 1: 0, 2: far, 3: far}, drift={2: 50e-6, 3: 50e-6}), {0: "a", 1: "a", 2: "b", 3: "b"}
    )
    assert found.of_rank[2] == found.of_rank[3]
    clock = found.of_rank[2]
    assert clock.host == "b"
    assert clock.drift_ppm == pytest.approx(50.0, rel=1e-3)
    for second in (0, 13, 29):
        true = second * S + 103_000
        shown = BASE + true + far + round(50e-6 * true)
        assert abs(clock.offset_at(shown) - (shown - BASE - true)) <= 2  # type: ignore[operator]
    assert clock.half_width_ns is not None and clock.half_width_ns < 1_000
    assert clock.bound_ns is not None and 50_000 < clock.bound_ns < 110_000, "as long as a transfer takes, at most"
    assert found.of_rank[0].offset_ns == found.of_rank[1].offset_ns == 0
    assert (found.residual_ns, found.agree_ns, found.operations) == (
        pytest.approx(0, abs=2),
        pytest.approx((0, 0), abs=3),
        30,
    )


def test_hosts_that_meet_through_a_third_are_comparable_and_others_are_not() -> None:
    one, other = (
        reduced(ahead_ns={0: 0, 1: 5_000_000}, group="x"),
        reduced(ahead_ns={1: 5_000_000, 2: -7_000_000}, group="y"),
    )
    alone = reduced(ahead_ns={3: 0, 4: 0}, group="z")
    both = Table({name: [*one[1].columns[name], *other[1].columns[name]] if isinstance(one[1].columns[name], list)
                  else np.concatenate((one[1].columns[name], other[1].columns[name])) for name in one[1].columns})  # fmt: skip
    groups = [ProcessGroup("x", (0, 1)), ProcessGroup("y", (1, 2)), ProcessGroup("z", (3, 4))]
    member = {rank: tuple(group for group in groups if rank in group.ranks) for rank in range(5)}
    found = clocks({0: one[0], 1: both, 2: other[2], 3: alone[3], 4: alone[4]}, dict.fromkeys(range(5)), groups=member)
    assert found.of_rank[1].offset_ns == pytest.approx(5_000_000, abs=5)
    assert found.of_rank[2].offset_ns == pytest.approx(-7_000_000, abs=5)
    assert found.of_rank[3].offset_ns is found.of_rank[4].offset_ns is None, (
        "they never met rank 0, not even through others"
    )


def test_ranks_of_one_name_with_two_clocks_are_found_out() -> None:
    found = clocks(reduced(ahead_ns={0: 0, 1: 3_000_000}), {0: "node", 1: "node"})
    assert "name one host" in found.caveats[0]
    assert found.of_rank[1].offset_ns == pytest.approx(3_000_000, abs=5)
    same = clocks(reduced(ahead_ns={0: 0, 1: 3_000}), {0: "node", 1: "node"})
    assert not same.caveats and same.of_rank[1].offset_ns == 0, "profilers of one host differ by some us"
    assert clocks(reduced(ahead_ns={0: 0, 1: 3_000_000}, times=1), {0: "node", 1: "node"}).caveats, (
        "one that is all there is"
    )


def test_profilers_of_one_host_may_differ_by_more_than_a_transfer_takes() -> None:
    rows = [{"seq": n, "step": n, "start_ns": BASE + n * S, "dur_ns": 1_000} for n in range(9)]
    for apart, caveats in ((5_000, 0), (40_000, 1)):
        later = [{**row, "start_ns": row["start_ns"] + apart} for row in rows]
        assert len(clocks({0: operations(*rows), 1: operations(*later)}, {0: "a", 1: "a"}).caveats) == caveats


def test_of_the_ranks_of_a_clock_the_middle_one_counts_and_unknown_times_do_not() -> None:
    """One rank of the second host leaves late every time, and one recorded nothing."""
    tables = reduced(ahead_ns=dict.fromkeys(range(6), 0))
    tables[4] = Table({**tables[4].columns, "dur_ns": np.asarray(tables[4]["dur_ns"]) + 50_000})
    tables[5] = Table({**tables[5].columns, "start_ns": np.full(30, -1), "dur_ns": np.full(30, -1)})
    found = clocks(tables, {rank: "a" if rank < 2 else "b" for rank in tables})
    assert found.of_rank[5].offset_ns == pytest.approx(0, abs=5) and not found.caveats
    assert found.agree_ns == pytest.approx((50_000, 50_000), abs=5)


def test_ends_are_told_on_one_clock_where_that_is_known() -> None:
    tables = reduced(ahead_ns={0: 0, 1: 5_000_000, 2: 0}, times=9)
    tables[2] = Table({**tables[2].columns, "group": ["another"] * 9})
    dur = np.asarray(tables[1]["dur_ns"]).copy()
    dur[3] = -1
    tables[1] = Table({**tables[1].columns, "dur_ns": dur, "op": ["broadcast", *["all_reduce"] * 8]})
    found = clocks(tables, dict.fromkeys(range(3)))
    ends = found.end_times(tables)
    assert ends.of_rank[2].tolist() == [-1] * 9, "it met nobody"
    assert [place for place, end in enumerate(ends.of_rank[1].tolist()) if end == -1] == [0, 3]
    apart = ends.of_rank[1] - ends.of_rank[0]
    assert np.abs(apart[[1, 2, 4, 5, 6, 7, 8]]).max() < 5
    assert 10_000 <= ends.tolerance_ns < 13_000


def sent_both_ways(
    ranks: tuple[int, int], *, ahead_ns: int, times: int = 20, early_ns: int = 0
) -> dict[int, list[dict[str, int | str]]]:
    """Transfers of 80 us between two ranks, of which the second one's clock is ahead; receivers come early."""
    sides: dict[int, list[dict[str, int | str]]] = {rank: [] for rank in ranks}
    for number in range(times):
        for place, (source, target) in enumerate((ranks, ranks[::-1])):
            begin = BASE + number * S + place * S // 2
            for rank, op, peer in ((source, "send", target), (target, "recv", source)):
                early = early_ns if op == "recv" else 0
                start = begin + (ahead_ns if rank == ranks[1] else 0) - early
                same: dict[str, int | str] = {"seq": number, "step": number, "dur_ns": 80_000 + early, "group": "pp"}
                sides[rank].append({"op": op, "peer": peer, "start_ns": start, "issued_ns": start, **same})
    return sides


def test_transfers_find_out_ranks_of_one_name_with_two_clocks() -> None:
    sides = sent_both_ways((0, 1), ahead_ns=5_000_000)
    found = clocks({rank: operations(*rows) for rank, rows in sides.items()}, {0: "node", 1: "node"})
    assert "20 of 40 operations" in found.caveats[0]
    assert found.of_rank[1].offset_ns == pytest.approx(5_000_000, abs=5_000)


def test_transfers_between_hosts_say_nothing_of_the_names_of_hosts() -> None:
    rows: dict[int, list[dict[str, int | str]]] = {}
    for pair in ((0, 1), (1, 2), (2, 3)):
        for rank, of_rank in sent_both_ways(pair, ahead_ns=0).items():
            moved = 5_000_000 if rank > 1 else 0
            rows.setdefault(rank, []).extend({**row, "start_ns": int(row["start_ns"]) + moved} for row in of_rank)
    found = clocks({rank: operations(*of_rank) for rank, of_rank in rows.items()}, {0: "a", 1: "a", 2: "b", 3: "b"})
    assert not found.caveats
    assert found.of_rank[1].offset_ns == 0
    assert found.of_rank[3].offset_ns == pytest.approx(5_000_000, abs=5_000)


def test_a_liar_is_found_among_many_operations_of_others() -> None:
    honest = {
        rank: rows for pair in ((0, 1), (2, 3)) for rank, rows in sent_both_ways(pair, ahead_ns=0, times=99).items()
    }
    few = sent_both_ways((1, 2), ahead_ns=5_000_000, times=4)
    moved = {2: 5_000_000, 3: 5_000_000}
    tables = {}
    for rank, rows in honest.items():
        late = [{**row, "start_ns": row["start_ns"] + moved.get(rank, 0)} for row in rows]  # type: ignore[operator]
        tables[rank] = operations(*late, *few.get(rank, ()))
    found = clocks(tables, dict.fromkeys(range(4), "localhost"))
    assert "4 of 8 operations of the same ranks" in found.caveats[0]
    assert found.of_rank[3].offset_ns == pytest.approx(5_000_000, abs=10_000)


def test_times_in_whole_us_are_not_known_better_than_that() -> None:
    """Files of 2022 say whole us, and what they cut off may be the same in every operation."""
    cut = {}
    for rank, table in reduced(ahead_ns={0: 0, 1: 700}).items():
        start, end = (
            np.asarray(table["start_ns"]) // 1000 * 1000,
            np.asarray(table["start_ns"] + table["dur_ns"]) // 1000 * 1000,
        )
        cut[rank] = Table({**table.columns, "start_ns": start, "dur_ns": end - start})
    clock = clocks(cut, {0: "a", 1: "b"}).of_rank[1]
    assert clock.offset_ns == pytest.approx(0, abs=1)
    assert clock.half_width_ns is not None and clock.half_width_ns >= 700


def test_one_operation_alone_bounds_a_clock_and_says_no_more() -> None:
    clock = clocks(reduced(ahead_ns={0: 0, 1: 5_000_000}, times=1), {0: "a", 1: "b"}).of_rank[1]
    assert clock.half_width_ns == clock.bound_ns
    assert clock.bound_ns is not None and 100_000 <= clock.bound_ns < 110_000


def test_a_ping_pong_and_the_ends_tighten_one_another() -> None:
    tables = reduced(ahead_ns={0: 0, 1: 5_000_000})
    # 10 us off, within their bounds.
    pings = tuple(ClockOffset(0, BASE + 5_000_000 + second * S, 5_010_000, 12_000) for second in (0, 29))
    recorded = {0: HostClock("a", "a"), 1: HostClock("b", "a", pings)}
    found = clocks(tables, {0: "a", 1: "b"}, recorded)
    assert found.of_rank[1].offset_ns == pytest.approx(5_000_000, abs=5), "within what the ping-pong allows"
    alone = clocks(tables, {0: "a", 1: "b"})
    assert found.of_rank[1].bound_ns == pytest.approx(22_000, abs=100), "on either side what the ping-pong allows"
    assert alone.of_rank[1].bound_ns == pytest.approx(101_000, abs=2_000)


def test_a_few_operations_that_cannot_be_are_named_and_left_out() -> None:
    tables = reduced(ahead_ns={0: 0, 1: 5_000_000})
    start = np.asarray(tables[1]["start_ns"]).copy()
    start[7] += 40_000_000
    tables[1] = Table({**tables[1].columns, "start_ns": start})
    found = clocks(tables, {0: "a", 1: "b"})
    assert found.of_rank[1].offset_ns == pytest.approx(5_000_000, abs=5)
    assert "1 operations contradict the clocks" in found.caveats[0]


def test_a_clock_that_was_set_is_not_compared() -> None:
    tables = reduced(ahead_ns={0: 0, 1: 0})
    start = np.asarray(tables[1]["start_ns"]).copy()
    start[15:] += 50_000_000
    tables[1] = Table({**tables[1].columns, "start_ns": start})
    found = clocks(tables, {0: "a", 1: "b"})
    assert found.of_rank[1].offset_ns is None
    assert "the clock of rank 1 was set" in found.caveats[0]


def test_transfers_both_ways_bound_clocks_that_share_no_collective() -> None:
    sides = sent_both_ways((0, 1), ahead_ns=5_000_000, early_ns=700_000)
    found = clocks({rank: operations(*rows) for rank, rows in sides.items()}, {0: "a", 1: "b"})
    clock = found.of_rank[1]
    assert clock.offset_ns == pytest.approx(5_000_000, abs=5_000)
    assert clock.bound_ns == pytest.approx(80_000, rel=0.1), "nothing is received before it is sent"
