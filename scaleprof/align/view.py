"""One run as conclusions see it: steps, leaves, operations, clocks, and the merged facts of all ranks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from scaleprof.align.matching import Matches, match
from scaleprof.align.meetings import Book
from scaleprof.align.offsets import Clocks, clocks_of_run
from scaleprof.align.waiting import PARTS, Exchange, exchange_of, exposed_parts
from scaleprof.columns import StoredTable
from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.run import RankInfo, RunInfo

CLASSES = ("compute", "exposed_comm", "exposed_memory", "idle")
"""What divides a step exactly on one rank alone, in the order of the account."""
LEAVES = ("compute", "exposed_transfer", "exposed_wait", "bubble", "exposed_untold", "exposed_memory", "idle")
"""What divides it exactly where the ranks are seen together; `exposed_untold` is exposed communication that could not be told apart, 0 at best."""

_NOT_ONE = "they end on one rank before they begin on another, on any clocks: what looks like one group is several"
HELD_TABLES = 32
"""Of each fact."""
MOST_ERROR = 0.2
"""Of a bubble, from the clocks: beyond that it is refused."""


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
    refused: tuple[str, ...]
    """What the clocks are too uncertain for, in sentences."""
    leaves: Table
    """One row per rank and profiled step: rank, step, window_ns and one `<leaf>_ns` per leaf, which sum to the window; exposed_comm_ns, the sum of
    its parts (`waiting.PARTS`); comm_ns, overlapped_ns, compute_sum_ns, method as the account of one rank has them."""
    matching: Matches
    """Which operation of all ranks each row of each rank's table of operations is."""
    matched_share: float | None
    """Of the operations that have a partner on another rank; None where there are none."""
    unmatched: Mapping[str, int]
    """The others, by why not."""
    exchange: Exchange
    """Waiting and transfer of every matched operation."""
    clocks: Clocks
    """Every rank's clock against the run's."""
    caveats: tuple[str, ...] = ()

    @cached_property
    def matches(self) -> Table:
        """One row for each rank that took part in an operation: collective (its number), rank, row (in the rank's table of operations), group, ranks.

        That is as many rows as all ranks have together: who can take `matching` rank by rank should.
        """
        return self.matching.table()

    def fact(self, name: str) -> Mapping[int, Table]:
        """A fact by rank; empty where no rank has it."""
        return self.facts.get(name, {})


def align(info: RunInfo, ranks: Mapping[int, RankFacts]) -> RunView:
    """Merge the facts of all ranks of one run."""
    names = dict.fromkeys(name for rank in sorted(ranks) for name in ranks[rank].tables)
    facts = {name: _OfRanks({rank: ranks[rank].tables for rank in sorted(ranks) if name in ranks[rank].tables}, name) for name in names}  # fmt: skip
    infos = {rank: ranks[rank].info for rank in sorted(ranks)}
    tables = facts.get("collectives", _OfRanks({}, "collectives"))
    groups = {rank: one.process_groups for rank, one in infos.items()}
    world_size = max((one.world_size for one in infos.values()), default=0)
    matches = match(tables, groups)
    book = Book(matches, tables, world_size=world_size)
    clocks = clocks_of_run(infos, book.sample)
    if clocks.contradicted:
        matches = matches.only_numbered(_NOT_ONE)
        book = Book(matches, tables, world_size=world_size)
        clocks = clocks_of_run(infos, book.sample)
    elif matches.undecided:
        matches = match(tables, groups, clocks.end_times(tables))
        book = Book(matches, tables, world_size=world_size)
    exchange = exchange_of(tables, book, clocks.of_rank)
    leaves, refused = _leaves(facts, exchange)
    return RunView(
        info=info,
        ranks=infos,
        facts=facts,
        steps=_common_steps(facts.get("steps", {})),
        leaves=leaves,
        refused=refused,
        exchange=exchange,
        matching=matches,
        matched_share=matches.matched_share,
        unmatched=dict(matches.unmatched),
        clocks=clocks,
        caveats=tuple(caveat for rank in sorted(ranks) for caveat in ranks[rank].caveats),
    )


class _OfRanks(Mapping[int, Table]):
    """One fact by rank. Of tables that lie on disk those that were asked for last are held, for who looks into the same few again and again."""

    def __init__(self, tables: Mapping[int, Mapping[str, Table]], name: str) -> None:
        self._tables, self._name = tables, name
        self._held: dict[int, Table] = {}

    def __getitem__(self, rank: int) -> Table:
        table = self._held.pop(rank, None)
        if table is None:
            table = self._tables[rank][self._name]
        if isinstance(table, StoredTable):
            self._held[rank] = table  # behind those that were asked for before it
            if len(self._held) > HELD_TABLES:
                del self._held[next(iter(self._held))]
        return table

    def __iter__(self) -> Iterator[int]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


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


def _leaves(facts: Mapping[str, Mapping[int, Table]], exchange: Exchange) -> tuple[Table, tuple[str, ...]]:
    names = (
        "step",
        "window_ns",
        *(f"{part}_ns" for part in CLASSES),
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
    for part in (*PARTS, "bubble_error"):
        columns[f"{part}_ns"] = np.concatenate([empty, *(of[part] for of in parts)])
    refused = _refused(columns)
    total = np.sum([columns[f"{leaf}_ns"] for leaf in LEAVES], axis=0)
    assert (total == columns["window_ns"]).all(), "the leaves must add up to the step"
    return Table(columns), refused


def _refused(columns: dict[str, Any]) -> tuple[str, ...]:
    """A bubble that the clocks cannot tell from transfer is left untold (`method` 10)."""
    bubble, error = int(columns["bubble_ns"].sum()), int(columns["bubble_error_ns"].sum())
    if error <= MOST_ERROR * bubble or not bubble:
        return ()
    columns["exposed_untold_ns"] = columns["exposed_untold_ns"] + columns["bubble_ns"]
    columns["bubble_ns"] = np.zeros_like(columns["bubble_ns"])
    return (
        f"waiting for pipeline neighbours needs clocks better than these: {bubble / 1e6:.3g} ms of it, give or take {error / 1e6:.3g} ms; it is left "
        "among what is not told apart",
    )


def _parts(rank: int, account: Table, facts: Mapping[str, Mapping[int, Table]], exchange: Exchange) -> dict[str, Ints]:
    collectives = facts.get("collectives", _OfRanks({}, "collectives")).get(rank)
    if collectives is None:
        nothing = np.zeros(len(account), dtype=np.int64)
        return dict.fromkeys((*PARTS, "bubble_error"), nothing) | {
            "exposed_untold": np.asarray(account["exposed_comm_ns"])
        }
    segments, waits = (facts.get(name, {}).get(rank) for name in ("segments", "waits"))
    return exposed_parts(rank, account, segments, waits, collectives, exchange)
