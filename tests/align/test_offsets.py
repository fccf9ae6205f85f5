"""Which clocks a run has, from hosts, ping-pongs and the ends of operations."""

from collections.abc import Mapping

import numpy as np
import pytest

from scaleprof.align.matching import match, meetings_of
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
    return clocks_of_run(infos, meetings_of(match(tables, of), tables))


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


def test_a_ping_pong_and_the_ends_tighten_one_another() -> None:
    tables = reduced(ahead_ns={0: 0, 1: 5_000_000})
    ping = ClockOffset(0, BASE + 5_000_000, 5_010_000, 12_000)  # 10 us off, within its bound
    recorded = {0: HostClock("a", "a"), 1: HostClock("b", "a", (ping,))}
    found = clocks(tables, {0: "a", 1: "b"}, recorded)
    assert found.of_rank[1].offset_ns == pytest.approx(5_000_000, abs=5), "within what the ping-pong allows"
    alone = clocks(tables, {0: "a", 1: "b"})
    assert found.of_rank[1].bound_ns <= alone.of_rank[1].bound_ns  # type: ignore[operator]


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
    sides = {0: [], 1: []}  # type: dict[int, list[dict[str, int | str]]]
    for number in range(20):
        for place, (source, target) in enumerate(((0, 1), (1, 0))):
            begin = BASE + number * S + place * S // 2
            for rank, op, peer in ((source, "send", target), (target, "recv", source)):
                start = begin + (5_000_000 if rank else 0)
                sides[rank].append(
                    {
                        "op": op,
                        "peer": peer,
                        "seq": number,
                        "step": number,
                        "start_ns": start,
                        "dur_ns": 80_000,
                        "issued_ns": start,
                    }
                )
    found = clocks({rank: operations(*rows) for rank, rows in sides.items()}, {0: "a", 1: "b"})
    clock = found.of_rank[1]
    assert clock.offset_ns == pytest.approx(5_000_000, abs=5_000)
    assert clock.bound_ns == pytest.approx(80_000, rel=0.1), "nothing is received before it is sent"
