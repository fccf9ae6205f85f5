"""Which operations of different ranks are one: by process group and sequence number, else by order and content (`method` 2.1).

Never by bare position: a wrong pair would accuse an innocent rank. What cannot be told (`content`, `transfers`) is left unmatched and counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaleprof.align.content import ONE_RANK, EndTimes, Signature, by_content, signature
from scaleprof.align.transfers import TRANSFERS, pairs_of
from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.run import ProcessGroup
from scaleprof.trace import UNKNOWN

SYNCHRONISING = ("all_reduce", "reduce_scatter", "all_gather", "all_to_all", "barrier")
"""Every rank's completion depends on the arrival of all others (`method` 2.2)."""


@dataclass(frozen=True)
class Group:
    """Ranks that communicate, as far as it is known which."""

    name: str
    ranks: tuple[int, ...]
    is_stated: bool
    """The trace says which ranks; else those that use its name, and where there is no name all that were read."""


@dataclass
class Matches:
    """Operations that belong together, and how many could not be told."""

    collective: list[int] = field(default_factory=list)
    """The number of the operation, the same on every rank that took part; likewise one entry for each rank and operation below."""
    rank: list[int] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    """Row in the rank's table of operations."""
    groups: list[Group] = field(default_factory=list)
    """Of each operation."""
    numbered: list[bool] = field(default_factory=list)
    """Of each operation: whether a number says that it is one."""
    unmatched: Counter[str] = field(default_factory=Counter)
    """Rows left alone, by reason."""
    undecided: int = 0
    """How many of these the ends of operations might decide, once clocks are known."""

    def add(self, group: Group, members: Iterable[tuple[int, int]], *, numbered: bool = False) -> None:
        """One operation: the rank and row of each that took part."""
        number = len(self.groups)
        self.groups.append(group)
        self.numbered.append(numbered)
        for rank, row in members:
            self.collective.append(number)
            self.rank.append(rank)
            self.row.append(row)

    @property
    def matched_share(self) -> float | None:
        """Matched rows among those that have a partner somewhere; None where there are none."""
        total = len(self.rank) + self.unmatched.total()
        return len(self.rank) / total if total else None

    def only_numbered(self, reason: str) -> "Matches":
        """Without the operations that nothing but their order made one, between more than two ranks or not."""
        found = Matches(unmatched=self.unmatched.copy(), undecided=self.undecided)
        members: dict[int, list[tuple[int, int]]] = {}
        for number, rank, row in zip(self.collective, self.rank, self.row, strict=True):
            members.setdefault(number, []).append((rank, row))
        for number, of_operation in members.items():
            if self.numbered[number]:
                found.add(self.groups[number], of_operation, numbered=True)
            else:
                found.unmatched[reason] += len(of_operation)
        return found

    def table(self) -> Table:
        """One row for each rank that took part in an operation."""
        groups = [self.groups[number] for number in self.collective]
        return Table(
            {
                "collective": np.array(self.collective, dtype=np.int64),
                "rank": np.array(self.rank, dtype=np.int64),
                "row": np.array(self.row, dtype=np.int64),
                "group": [group.name for group in groups],
                "ranks": np.array([len(group.ranks) for group in groups], dtype=np.int64),
            }
        )


@dataclass(frozen=True)
class Meetings:
    """Every rank's part in every matched operation, as columns in the order of the operations; times in ns on each rank's own clock."""

    operation: Ints
    """Ascending; every number from 0 on stands here."""
    rank: Ints
    row: Ints
    """In the rank's table of operations."""
    op: NDArray[np.object_]
    """What this rank says that it is."""
    step: Ints
    issued_ns: Ints
    """UNKNOWN where not recorded, likewise the next two."""
    start_ns: Ints
    dur_ns: Ints
    peer: Ints
    first: Ints
    """By operation: where its parts begin."""
    size: Ints
    """By operation: how many ranks its group has."""

    @property
    def end_ns(self) -> Ints:
        """Of no meaning where `dur_ns` is UNKNOWN."""
        return self.start_ns + self.dur_ns

    @property
    def count(self) -> Ints:
        """By operation: how many ranks were seen to take part."""
        return np.diff(np.append(self.first, len(self.operation)))

    def of_all(self, holds: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """By operation: whether it holds for every part."""
        found: NDArray[np.bool_] = (
            np.logical_and.reduceat(holds, self.first) if len(self.first) else np.zeros(0, dtype=np.bool_)
        )
        return found

    def is_one_of(self, ops: Sequence[str]) -> NDArray[np.bool_]:
        """By operation: whether those ranks that know what it is call it one of these."""
        said = np.isin(self.op, (*ops, "unknown"))
        return self.of_all(said) & ~self.of_all(self.op == "unknown")


def meetings_of(matches: Matches, tables: Mapping[int, Table]) -> Meetings:
    """The parts of all matched operations, side by side."""
    rank, row = np.array(matches.rank, dtype=np.int64), np.array(matches.row, dtype=np.int64)
    columns = {
        name: np.full(len(rank), UNKNOWN, dtype=np.int64)
        for name in ("step", "issued_ns", "start_ns", "dur_ns", "peer")
    }
    op = np.full(len(rank), "unknown", dtype=object)
    for number, table in tables.items():
        here = np.flatnonzero(rank == number)
        for name, column in columns.items():
            column[here] = np.asarray(table[name])[row[here]]
        op[here] = np.array(table["op"], dtype=object)[row[here]]
    operation = np.array(matches.collective, dtype=np.int64)
    first = np.searchsorted(operation, np.arange(len(matches.groups)))
    size = np.array([len(group.ranks) for group in matches.groups], dtype=np.int64)
    return Meetings(operation, rank, row, op, **columns, first=first, size=size)


def match(
    tables: Mapping[int, Table], groups: Mapping[int, Sequence[ProcessGroup]], ends: EndTimes | None = None
) -> Matches:
    """Match the operations of all ranks: `tables` are their facts about collectives, rows in order of issue; `groups` what each says of groups;
    `ends`, once clocks are known, when operations ended, to decide between alike ones."""
    found = Matches()
    parts: dict[Group, dict[int, list[int]]] = {}
    known = {rank: _groups_of(rank, groups, tables) for rank in tables}
    for rank, table in tables.items():
        # A loop over operations, not events.
        for row, (op, name) in enumerate(zip(table["op"], table["group"], strict=True)):
            if op in TRANSFERS:
                continue
            group = known[rank].get(name)
            if group is None or len(group.ranks) > 1:
                parts.setdefault(group or _everybody(name, tables), {}).setdefault(rank, []).append(row)
    for group, rows in parts.items():
        # Of a group that nobody describes those ranks are members that use its name.
        used = Group(group.name, tuple(sorted(rows)), False) if group.name and not group.is_stated else group
        _match_group(found, used, rows, tables, ends)
    for transfer, pairs, left in pairs_of(tables):
        for pair in pairs:
            found.add(Group(transfer.group, (transfer.source, transfer.target), True), pair, numbered=True)
        found.unmatched += left
    return found


def _groups_of(
    rank: int, groups: Mapping[int, Sequence[ProcessGroup]], tables: Mapping[int, Table]
) -> dict[str, Group]:
    return {group.name: Group(group.name, tuple(group.ranks), True) for group in groups.get(rank, ()) if group.ranks}


def _everybody(name: str, tables: Mapping[int, Table]) -> Group:
    return Group(name, tuple(sorted(tables)), False)


def _match_group(
    found: Matches, group: Group, rows: Mapping[int, list[int]], tables: Mapping[int, Table], ends: EndTimes | None
) -> None:
    """Collectives of one group."""
    if len(rows) < 2:
        found.unmatched["their partners were not read"] += sum(map(len, rows.values()))
        return
    if all((np.asarray(tables[rank]["seq"])[of_rank] >= 0).all() for rank, of_rank in rows.items()):
        _by_number(found, group, rows, tables)
    else:
        alike = by_content(rows, tables, ends)
        found.unmatched += alike.left
        found.undecided += alike.undecided
        for members in alike.operations:
            _add_if_alike(found, group, members, tables)


def _by_number(found: Matches, group: Group, rows: Mapping[int, list[int]], tables: Mapping[int, Table]) -> None:
    """Join on the sequence number. Where a group was made anew under its old name numbers begin again, and their occurrence tells them apart."""
    members: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for rank, of_rank in rows.items():
        seen: Counter[int] = Counter()
        for number, row in zip(np.asarray(tables[rank]["seq"])[of_rank].tolist(), of_rank, strict=True):
            members.setdefault((seen[number], number), []).append((rank, row))
            seen[number] += 1
    for key in sorted(members):
        _add_if_alike(found, group, members[key], tables, numbered=True)


def _add_if_alike(
    found: Matches, group: Group, members: list[tuple[int, int]], tables: Mapping[int, Table], *, numbered: bool = False
) -> None:
    signatures = [signature(tables[rank], row) for rank, row in members]
    steps = [step for rank, row in members if (step := int(tables[rank]["step"][row])) >= 0]
    if len(members) < 2:
        found.unmatched[ONE_RANK] += len(members)
    elif not _alike(signatures):
        found.unmatched["operation, type or size differ under one number"] += len(members)
    elif steps and max(steps) - min(steps) > 1:
        found.unmatched["one number stands in different steps"] += len(members)
    else:
        found.add(group, members, numbered=numbered)


def _alike(signatures: Sequence[Signature]) -> bool:
    """Whether these may be one operation: what one rank does not know contradicts nothing."""
    for place in range(3):
        said = {signature[place] for signature in signatures} - {"", -1, "unknown"}
        if len(said) > 1:
            return False
    return True
