"""Which operations of different ranks are one: by process group and sequence number, else by order and content (`method` 2.1).

Never by bare position: a wrong pair would accuse an innocent rank. What cannot be told (`content`, `transfers`) is left unmatched and counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scaleprof.align.content import ONE_RANK, EndTimes, Said, Signature, by_content, said_by
from scaleprof.align.transfers import TRANSFERS, pairs_of
from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.run import ProcessGroup
from scaleprof.trace import UNKNOWN

SYNCHRONISING = ("all_reduce", "reduce_scatter", "all_gather", "all_to_all", "barrier")
"""Every rank's completion depends on the arrival of all others (`method` 2.2)."""
_OUT_OF_ORDER = 8
"""Numbers so far below the first one are no disorder: the count has begun anew."""
_PADDING = 0.001
_ANEW = "their group was made anew, and not all ranks say so"
_NO_NUMBER = "they have no number, and others of their group do"
_SEVERAL = "several of one number, some of which were lost"


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
    """Of each operation: whether a number says that it is one; of a transfer always, whatever told its two ends."""
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
        """Without the collectives that nothing but their order made one; what was sent from one rank to another stays."""
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
    """By operation: how many ranks its group has; UNKNOWN where nobody says and ranks were not read."""
    numbered: NDArray[np.bool_]
    """By operation: whether a number says that it is one."""

    @property
    def end_ns(self) -> Ints:
        """Of no meaning where `dur_ns` is UNKNOWN."""
        return self.start_ns + self.dur_ns

    @property
    def count(self) -> Ints:
        """By operation: how many ranks were seen to take part."""
        return np.diff(np.append(self.first, len(self.operation)))

    @cached_property
    def of_rank(self) -> Mapping[int, Ints]:
        """By rank that takes part in any: its parts, ascending."""
        return rows_by(self.rank)

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


def rows_by(values: Ints) -> dict[int, Ints]:
    """By value: where it stands, ascending."""
    order = np.argsort(values, kind="stable")
    distinct, first = np.unique(values[order], return_index=True)
    return dict(zip(distinct.tolist(), np.split(order, first[1:]), strict=True)) if len(values) else {}


def meetings_of(matches: Matches, tables: Mapping[int, Table], *, world_size: int = 0) -> Meetings:
    """The parts of all matched operations, side by side, of a job of so many ranks."""
    rank, row = np.array(matches.rank, dtype=np.int64), np.array(matches.row, dtype=np.int64)
    columns = {
        name: np.full(len(rank), UNKNOWN, dtype=np.int64)
        for name in ("step", "issued_ns", "start_ns", "dur_ns", "peer")
    }
    op = np.full(len(rank), "unknown", dtype=object)
    for number, here in rows_by(rank).items():
        table = tables[number]
        for name, column in columns.items():
            column[here] = np.asarray(table[name])[row[here]]
        op[here] = np.array(table["op"], dtype=object)[row[here]]
    operation = np.array(matches.collective, dtype=np.int64)
    first = np.searchsorted(operation, np.arange(len(matches.groups)))
    all_read = len(tables) >= world_size
    size = [len(group.ranks) if group.is_stated or all_read else UNKNOWN for group in matches.groups]
    return Meetings(
        operation,
        rank,
        row,
        op,
        **columns,
        first=first,
        size=np.array(size, dtype=np.int64),
        numbered=np.array(matches.numbered, dtype=np.bool_),
    )


def match(
    tables: Mapping[int, Table], groups: Mapping[int, Sequence[ProcessGroup]], ends: EndTimes | None = None
) -> Matches:
    """Match the operations of all ranks: `tables` are their facts about collectives, rows in order of issue; `groups` what each says of groups;
    `ends`, once clocks are known, when operations ended, to decide between alike ones."""
    found = Matches()
    said = {rank: said_by(table) for rank, table in tables.items()}
    for group, rows in _parts(found, tables, groups).items():
        # Of a group that nobody describes those ranks are members that use its name.
        used = Group(group.name, tuple(sorted(rows)), False) if group.name and not group.is_stated else group
        _match_group(found, used, rows, said, ends)
    for transfer, pairs, left in pairs_of(tables, said):
        for pair in pairs:
            found.add(Group(transfer.group, (transfer.source, transfer.target), True), pair, numbered=True)
        found.unmatched += left
    return found


def _parts(
    found: Matches, tables: Mapping[int, Table], groups: Mapping[int, Sequence[ProcessGroup]]
) -> dict[Group, dict[int, list[int]]]:
    """The rows of the collectives of each group, by rank."""
    parts: dict[Group, dict[int, list[int]]] = {}
    described = sorted(_described(groups, tables), key=lambda group: group.ranks)
    for rank, table in tables.items():
        known = {group.name: group for group in described if rank in group.ranks} | _said_by(rank, groups)
        unnamed = _unnamed(rank, described, tables)
        by_name: dict[str, list[int]] = {}
        # A loop over operations, not events.
        for row, (op, name) in enumerate(zip(table["op"], table["group"], strict=True)):
            if op not in TRANSFERS:
                by_name.setdefault(name, []).append(row)
        for name, rows in by_name.items():
            group = known.get(name) or (Group(name, tuple(sorted(tables)), False) if name else unnamed)
            if group is None:
                found.unmatched["the trace names no group, and they have several"] += len(rows)
            elif len(group.ranks) > 1:
                parts.setdefault(group, {})[rank] = rows
    return parts


def _described(groups: Mapping[int, Sequence[ProcessGroup]], tables: Mapping[int, Table]) -> set[Group]:
    """What any rank says of groups."""
    return {group for rank in tables for group in _said_by(rank, groups).values()}


def _said_by(rank: int, groups: Mapping[int, Sequence[ProcessGroup]]) -> dict[str, Group]:
    return {group.name: Group(group.name, tuple(group.ranks), True) for group in groups.get(rank, ()) if group.ranks}


def _unnamed(rank: int, described: Iterable[Group], tables: Mapping[int, Table]) -> Group | None:
    """The group of operations that name none: the only one that there is, else all ranks that were read; None where there are several."""
    several = {group.ranks for group in described if len(group.ranks) > 1}
    if not several:
        return Group("", tuple(sorted(tables)), False)
    [ranks, *others] = several
    return None if others or rank not in ranks else Group("", ranks, True)


def _match_group(
    found: Matches, group: Group, rows: Mapping[int, list[int]], said: Mapping[int, Said], ends: EndTimes | None
) -> None:
    """Collectives of one group."""
    if len(rows) < 2:
        found.unmatched["their partners were not read"] += sum(map(len, rows.values()))
        return
    with_number = {rank: [row for row in of_rank if said[rank].seq[row] >= 0] for rank, of_rank in rows.items()}
    # Groups without a name may be several, which begin to count anew each.
    if group.name and all(2 * len(with_number[rank]) > len(of_rank) for rank, of_rank in rows.items()):
        found.unmatched += Counter({_NO_NUMBER: sum(len(rows[rank]) - len(with_number[rank]) for rank in rows)})
        _by_number(found, group, with_number, said)
    else:
        alike = by_content(rows, said, ends)
        found.unmatched += alike.left
        found.undecided += alike.undecided
        for members in alike.operations:
            if group.name or group.is_stated or len(members) == len(group.ranks):
                _add_if_alike(found, group, members, said)
            else:
                found.unmatched["the trace names no group, and not all ranks took part"] += len(members)


def _by_number(
    found: Matches,
    group: Group,
    rows: Mapping[int, list[int]],
    said: Mapping[int, Said],
) -> None:
    """Join on the sequence number. Where a group was made anew under its old name numbers begin again on all ranks; several operations of one number
    (torch counts coalesced ones once) are told apart by their order, if none of them was lost."""
    numbers = {rank: [said[rank].seq[row] for row in of_rank] for rank, of_rank in rows.items()}
    lives = {rank: _lives(of_rank) for rank, of_rank in numbers.items()}
    if len({max(of_rank) for of_rank in lives.values()}) > 1:
        found.unmatched[_ANEW] += sum(map(len, rows.values()))
        return
    members: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for rank, of_rank in rows.items():
        for life, number, row in zip(lives[rank], numbers[rank], of_rank, strict=True):
            members.setdefault((life, number), []).append((rank, row))
    steps_apart = 0 if any(life for life, _ in members) else 1
    for key in sorted(members):
        count = Counter(rank for rank, _ in members[key])
        if min(count.values()) != max(count.values()):
            found.unmatched[_SEVERAL] += len(members[key])
            continue
        for nth in range(count[members[key][0][0]]):
            one_each = members[key][nth :: len(members[key]) // len(count)]
            _add_if_alike(found, group, one_each, said, numbered=True, steps_apart=steps_apart)


def _lives(numbers: Sequence[int]) -> list[int]:
    """For each number, how often the count had begun anew: with one that was there before, or far below the first one. Numbers of several streams may
    be a little out of order."""
    lives, life, seen, first, before = [], 0, set[int](), numbers[0], numbers[0]
    for number in numbers:
        if (number in seen and number < before) or number < first - _OUT_OF_ORDER:
            life, seen, first = life + 1, set(), number
        seen.add(number)
        before = number
        lives.append(life)
    return lives


def _add_if_alike(
    found: Matches,
    group: Group,
    members: list[tuple[int, int]],
    said: Mapping[int, Said],
    *,
    numbered: bool = False,
    steps_apart: int = 1,
) -> None:
    if len(members) < 2:
        found.unmatched[ONE_RANK] += len(members)
        return
    signatures = {said[rank].signature[row] for rank, row in members}
    steps = {said[rank].step[row] for rank, row in members} - {UNKNOWN}
    numbers = {said[rank].seq[row] for rank, row in members} - {UNKNOWN}
    if len(signatures) > 1 and not _alike(signatures, padded=numbered):
        found.unmatched["operation, type or size differ under one number"] += len(members)
    elif steps and max(steps) - min(steps) > steps_apart:
        found.unmatched["one number stands in different steps"] += len(members)
    elif group.name and len(numbers) > 1:
        found.unmatched["their numbers differ"] += len(members)
    else:
        found.add(group, members, numbered=numbered)


def _alike(signatures: Iterable[Signature], *, padded: bool) -> bool:
    """Whether these may be one operation: what one rank does not know contradicts nothing. Under one number sizes may differ by what a ring adds to
    its parts, which is all that some files say of them."""
    known = [set(column) - {"", UNKNOWN, "unknown"} for column in zip(*signatures, strict=True)]
    sizes = {size for size in known[-1] if isinstance(size, int)}
    nearly = padded and bool(sizes) and max(sizes) - min(sizes) <= _PADDING * max(sizes)
    return all(len(said) <= 1 for said in known[:-1]) and (len(known[-1]) <= 1 or nearly)
