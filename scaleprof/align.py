"""From the facts of every rank to one view of the run: the only place where ranks meet.

matching -> clocks -> wait and transfer -> leaves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaleprof.clock import RankClock, clocks_of_hosts
from scaleprof.intervals import Ints
from scaleprof.matching import match
from scaleprof.results import Table
from scaleprof.run import RankInfo, RunInfo
from scaleprof.waiting import PARTS, Exchange, exchange_of, exposed_parts

LEAVES = ("compute", "exposed_comm", "exposed_memory", "idle")
"""The classes that divide a step exactly, in the order of the account."""


@dataclass(frozen=True)
class RankFacts:
    """What the worker that read one rank sends back: no events."""

    info: RankInfo
    tables: Mapping[str, Table]
    """Fact name to its table; a fact that failed is absent and has a caveat."""
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunView:
    """One run as conclusions see it."""

    info: RunInfo
    ranks: Mapping[int, RankInfo]
    """The ranks that were read."""
    facts: Mapping[str, Mapping[int, Table]]
    """Fact name -> rank -> table."""
    steps: Table
    """One row per step that every rank with steps has: step, time_ms (mean over ranks), spread_ms, steady (all ranks unperturbed)."""
    leaves: Table
    """One row per rank and profiled step: rank, step, window_ns and one `<leaf>_ns` per leaf, which sum to the window;
    comm_ns, overlapped_ns, compute_sum_ns, method (as the account of one rank has them); and one `<part>_ns` per part of exposed communication
    (`waiting.PARTS`), which sum to it."""
    matches: Table
    """One row for each rank that took part in an operation: collective (its number), rank, row (in the rank's table of operations), group, ranks."""
    matched_share: float | None
    """Of the operations that have a partner on another rank; None where there are none."""
    unmatched: Mapping[str, int]
    """The others, by why not."""
    exchange: Exchange
    """Waiting and transfer of every matched operation."""
    clocks: Mapping[int, RankClock]
    caveats: tuple[str, ...] = ()

    def fact(self, name: str) -> Mapping[int, Table]:
        """A fact by rank; empty where no rank has it."""
        return self.facts.get(name, {})


def align(info: RunInfo, ranks: Mapping[int, RankFacts]) -> RunView:
    """Merge the facts of all ranks of one run."""
    facts: dict[str, dict[int, Table]] = {}
    for rank in sorted(ranks):
        for name, table in ranks[rank].tables.items():
            facts.setdefault(name, {})[rank] = table
    infos = {rank: ranks[rank].info for rank in sorted(ranks)}
    matches = match(facts.get("collectives", {}), {rank: one.process_groups for rank, one in infos.items()})
    clocks = clocks_of_hosts(
        {rank: rank_info.host for rank, rank_info in infos.items()},
        {rank: rank_info.clock for rank, rank_info in infos.items()},
    )
    exchange = exchange_of(facts.get("collectives", {}), matches, clocks)
    return RunView(
        info=info,
        ranks=infos,
        facts=facts,
        steps=_common_steps(facts.get("steps", {})),
        leaves=_leaves(facts, exchange),
        exchange=exchange,
        matches=matches.table(),
        matched_share=matches.matched_share,
        unmatched=dict(matches.unmatched),
        clocks=clocks,
        caveats=tuple(caveat for rank in sorted(ranks) for caveat in ranks[rank].caveats),
    )


def _common_steps(of_ranks: Mapping[int, Table]) -> Table:
    """Global step time is the mean over ranks (`method` 1.1): one rank's differs only by the change of its lag."""
    tables = [table for table in of_ranks.values() if len(table)]
    columns: dict[str, Any] = {
        "step": np.zeros(0, dtype=np.int64),
        "time_ms": np.zeros(0),
        "spread_ms": np.zeros(0),
        "steady": np.zeros(0, dtype=bool),
    }
    if not tables:
        return Table(columns)
    common = tables[0]["step"]
    for table in tables[1:]:
        common = np.intersect1d(common, table["step"])
    picks = [np.searchsorted(table["step"], common) for table in tables]
    times = np.array([table["time_ns"][pick] for table, pick in zip(tables, picks, strict=True)]) / 1e6
    perturbed = np.array([table["perturbed"][pick] for table, pick in zip(tables, picks, strict=True)])
    if len(common):
        columns = {
            "step": common,
            "time_ms": times.mean(axis=0),
            "spread_ms": times.max(axis=0) - times.min(axis=0),
            "steady": ~perturbed.any(axis=0),
        }
    return Table(columns)


def _leaves(facts: Mapping[str, Mapping[int, Table]], exchange: Exchange) -> Table:
    names = (
        "step",
        "window_ns",
        *(f"{leaf}_ns" for leaf in LEAVES),
        "comm_ns",
        "overlapped_ns",
        "compute_sum_ns",
        "method",
    )
    tables = {rank: table for rank, table in facts.get("account", {}).items() if len(table)}
    empty = np.zeros(0, dtype=np.int64)
    columns = {"rank": np.concatenate([empty, *(np.full(len(table), rank) for rank, table in tables.items())])}
    for name in names:
        columns[name] = np.concatenate([empty, *(table[name] for table in tables.values())])
    parts = [_parts(rank, table, facts, exchange) for rank, table in tables.items()]
    for part in PARTS:
        columns[f"{part}_ns"] = np.concatenate([empty, *(of[part] for of in parts)])
    total = np.sum([columns[f"{leaf}_ns"] for leaf in LEAVES], axis=0)
    assert (total == columns["window_ns"]).all(), "the leaves must add up to the step"
    split = np.sum([columns[f"{part}_ns"] for part in PARTS], axis=0)
    assert (split == columns["exposed_comm_ns"]).all(), "the parts must add up to the exposed communication"
    return Table(columns)


def _parts(rank: int, account: Table, facts: Mapping[str, Mapping[int, Table]], exchange: Exchange) -> dict[str, Ints]:
    collectives = facts.get("collectives", {}).get(rank)
    if collectives is None:
        nothing = np.zeros(len(account), dtype=np.int64)
        return dict.fromkeys(PARTS[:3], nothing) | {PARTS[3]: np.asarray(account["exposed_comm_ns"])}
    segments, waits = (facts.get(name, {}).get(rank) for name in ("segments", "waits"))
    return exposed_parts(rank, account, segments, waits, collectives, exchange)
