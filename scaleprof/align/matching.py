"""Which operations of different ranks are one: by process group and sequence number, else by order and content (`method` 2.1).

Never by bare position: a wrong pair would accuse an innocent rank. What cannot be told (`content`, `transfers`) is left unmatched and counted.

What is kept is one number for each row of each rank; everything else is by operation. So the work is linear in the rows, and what is in memory at
once is four bytes a row and the table of one rank.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaleprof.align.content import ONE_RANK, EndTimes, by_content
from scaleprof.align.numbers import NumbersDiffer, by_number
from scaleprof.align.said import Numbers, Said, distinct_in_order
from scaleprof.align.transfers import TRANSFERS, pairs_of
from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.run import ProcessGroup
from scaleprof.trace import UNKNOWN

SYNCHRONISING = ("all_reduce", "reduce_scatter", "all_gather", "all_to_all", "barrier")
"""Every rank's completion depends on the arrival of all others (`method` 2.2)."""
_PADDING = 0.001
_ANEW = "their group was made anew, and not all ranks say so"
_NO_NUMBER = "they have no number, and others of their group do"
_SEVERAL = "several of one number, some of which were lost"
_MOST = np.iinfo(np.int64).max


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

    of_row: dict[int, Numbers]
    """By rank, for each row of its table of operations: the number of the operation, the same on every rank that took part; UNKNOWN for none."""
    groups: list[Group] = field(default_factory=list)
    """Of each operation."""
    numbered: list[bool] = field(default_factory=list)
    """Of each operation: whether a number says that it is one; of a transfer always, whatever told its two ends."""
    unmatched: Counter[str] = field(default_factory=Counter)
    """Rows left alone, by reason."""
    undecided: int = 0
    """How many of these the ends of operations might decide, once clocks are known."""

    def add(self, group: Group, operations: int, *, numbered: bool) -> int:
        """So many more operations of a group; the number of the first."""
        first = len(self.groups)
        self.groups += [group] * operations
        self.numbered += [numbered] * operations
        return first

    @property
    def parts(self) -> int:
        """Rows that were matched."""
        return sum(int((number >= 0).sum()) for number in self.of_row.values())

    @property
    def matched_share(self) -> float | None:
        """Matched rows among those that have a partner somewhere; None where there are none."""
        parts = self.parts
        total = parts + self.unmatched.total()
        return parts / total if total else None

    def only_numbered(self, reason: str) -> "Matches":
        """Without the collectives that nothing but their order made one; what was sent from one rank to another stays."""
        kept = np.array(self.numbered, dtype=np.bool_)
        new = np.where(kept, np.cumsum(kept) - 1, UNKNOWN).astype(np.int32)
        new = np.append(new, np.int32(UNKNOWN))  # where UNKNOWN itself leads to
        found = Matches(
            {rank: new[number] for rank, number in self.of_row.items()},
            [group for group, keep in zip(self.groups, self.numbered, strict=True) if keep],
            [True] * int(kept.sum()),
            self.unmatched.copy(),
            self.undecided,
        )
        lost = self.parts - found.parts
        if lost:
            found.unmatched[reason] += lost
        return found

    def members(self) -> tuple[Ints, Ints, Ints]:
        """Number, rank and row of each row that was matched, in the order of the operations."""
        number = np.concatenate([_NOTHING, *self.of_row.values()]).astype(np.int64)
        rank = np.concatenate([_NOTHING, *(np.full(len(of), rank) for rank, of in self.of_row.items())])
        row = np.concatenate([_NOTHING, *(np.arange(len(of)) for of in self.of_row.values())])
        order = np.argsort(number, kind="stable")[int((number < 0).sum()) :]
        return number[order], rank[order], row[order]

    def table(self) -> Table:
        """One row for each rank that took part in an operation: as many as there are operations on all ranks."""
        number, rank, row = self.members()
        names = np.array([group.name for group in self.groups], dtype=object)
        size = np.array([len(group.ranks) for group in self.groups], dtype=np.int64)
        columns = {"collective": number, "rank": rank, "row": row, "group": names[number].tolist(), "ranks": size[number]}  # fmt: skip
        return Table(columns)


_NOTHING = np.zeros(0, dtype=np.int64)


def match(
    tables: Mapping[int, Table], groups: Mapping[int, Sequence[ProcessGroup]], ends: EndTimes | None = None
) -> Matches:
    """Match the operations of all ranks: `tables` are their facts about collectives, rows in order of issue; `groups` what each says of groups;
    `ends`, once clocks are known, when operations ended, to decide between alike ones."""
    found = Matches({rank: np.full(len(table), UNKNOWN, dtype=np.int32) for rank, table in tables.items()})
    said = Said(tables)
    for group, rows in _parts(found, said, groups).items():
        # Of a group that nobody describes those ranks are members that use its name.
        used = Group(group.name, tuple(sorted(rows)), False) if group.name and not group.is_stated else group
        _match_group(found, used, rows, said, ends)
    for transfer, (sent, received), left in pairs_of(said):
        first = found.add(Group(transfer.group, (transfer.source, transfer.target), True), len(sent), numbered=True)
        for rank, rows_of_rank in ((transfer.source, sent), (transfer.target, received)):
            if len(rows_of_rank):
                found.of_row[rank][rows_of_rank] = np.arange(first, first + len(sent))
        found.unmatched += left
    return found


def _parts(found: Matches, said: Said, groups: Mapping[int, Sequence[ProcessGroup]]) -> dict[Group, dict[int, Numbers]]:
    """The rows of the collectives of each group, by rank."""
    parts: dict[Group, dict[int, Numbers]] = {}
    stated = {rank: _said_by(groups.get(rank, ())) for rank in said.tables}
    described = sorted(
        {group for of_rank in stated.values() for group in of_rank.values()}, key=lambda group: group.ranks
    )
    known: dict[int, dict[str, Group]] = {rank: {} for rank in said.tables}
    for group in described:
        for rank in known.keys() & set(group.ranks):
            known[rank][group.name] = group
    everyone = tuple(sorted(said.tables))
    several = {group.ranks for group in described if len(group.ranks) > 1}
    for rank in said.tables:
        rows = said.of(rank)
        collective = np.flatnonzero(~said.is_one_of(rows.op, TRANSFERS)).astype(np.int32)
        for number in distinct_in_order(rows.group[collective]):
            name, mine = said.text(number), collective[rows.group[collective] == number]
            of_name = (known[rank] | stated[rank]).get(name)
            used = of_name or (Group(name, everyone, False) if name else _unnamed(rank, several, everyone))
            if used is None:
                found.unmatched["the trace names no group, and they have several"] += len(mine)
            elif len(used.ranks) > 1:
                parts.setdefault(used, {})[rank] = mine
    return parts


def _said_by(groups: Iterable[ProcessGroup]) -> dict[str, Group]:
    return {group.name: Group(group.name, tuple(group.ranks), True) for group in groups if group.ranks}


def _unnamed(rank: int, several: set[tuple[int, ...]], everyone: tuple[int, ...]) -> Group | None:
    """The group of operations that name none: the only one that there is, else all ranks that were read; None where there are several."""
    if not several:
        return Group("", everyone, False)
    [ranks, *others] = several
    return None if others or rank not in ranks else Group("", ranks, True)


def _match_group(found: Matches, group: Group, rows: Mapping[int, Numbers], said: Said, ends: EndTimes | None) -> None:
    """Collectives of one group."""
    if len(rows) < 2:
        found.unmatched["their partners were not read"] += sum(map(len, rows.values()))
        return
    with_number = {rank: _with_number(of_rank, said.of(rank).seq) for rank, of_rank in rows.items()}
    # Groups without a name may be several, which begin to count anew each.
    if group.name and all(2 * len(with_number[rank]) > len(of_rank) for rank, of_rank in rows.items()):
        found.unmatched += Counter({_NO_NUMBER: sum(len(rows[rank]) - len(with_number[rank]) for rank in rows)})
        try:
            number, operations, lives = by_number(with_number, said)
        except NumbersDiffer:
            found.unmatched[_ANEW] += sum(map(len, with_number.values()))
            return
        _left_out(found, number, _SEVERAL)
        _add(
            found,
            group,
            with_number,
            number,
            _seen(with_number, number, operations, said),
            _Rule(True, 1 if lives < 2 else 0),
        )
    else:
        alike = by_content(rows, said, ends)
        found.unmatched += alike.left
        found.undecided += alike.undecided
        _add(found, group, rows, alike.number, _seen(rows, alike.number, alike.operations, said), _Rule(False, 1))


def _with_number(rows: Numbers, seq: Ints) -> Numbers:
    has = seq[rows] >= 0
    return rows if has.all() else rows[has]


def _left_out(found: Matches, number: Mapping[int, Numbers], reason: str) -> None:
    left = sum(int((of_rank < 0).sum()) for of_rank in number.values())
    if left:
        found.unmatched[reason] += left


@dataclass(frozen=True)
class _Rule:
    """What ranks may say differently of one operation."""

    numbered: bool
    steps_apart: int


@dataclass(frozen=True)
class _Range:
    """The least and the largest of what is known of each operation; the least is the larger where nothing is."""

    least: Ints
    largest: Ints

    @classmethod
    def of_nothing(cls, operations: int) -> "_Range":
        return cls(np.full(operations, _MOST, dtype=np.int64), np.full(operations, -_MOST, dtype=np.int64))

    def see(self, operation: Numbers, values: Numbers | Ints, known: NDArray[np.bool_]) -> None:
        """What one rank says; it takes part in each operation once."""
        here, said = operation[known], values[known]
        self.least[here] = np.minimum(self.least[here], said)
        self.largest[here] = np.maximum(self.largest[here], said)

    @property
    def width(self) -> Ints:
        """0 where nothing is known, or one thing."""
        return np.where(self.least > self.largest, 0, self.largest - self.least)


@dataclass(frozen=True)
class _Seen:
    """What the ranks say of each operation of a group."""

    count: Ints
    op: _Range
    dtype: _Range
    bytes: _Range
    step: _Range
    seq: _Range


def _seen(rows: Mapping[int, Numbers], number: Mapping[int, Numbers], operations: int, said: Said) -> _Seen:
    seen = _Seen(np.zeros(operations, dtype=np.int64), *(_Range.of_nothing(operations) for _ in range(5)))
    unknown = ("", "unknown")
    for rank, own in rows.items():
        told = number[rank] >= 0
        operation, mine, of = number[rank][told], own[told], said.of(rank)
        seen.count[operation] += 1
        for of_all, values in ((seen.op, of.op), (seen.dtype, of.dtype)):
            of_all.see(operation, values[mine], ~said.is_one_of(values[mine], unknown))
        for of_all, numbers in ((seen.bytes, of.bytes), (seen.step, of.step), (seen.seq, of.seq)):
            of_all.see(operation, numbers[mine], numbers[mine] != UNKNOWN)
    return seen


def _add(
    found: Matches, group: Group, rows: Mapping[int, Numbers], number: Mapping[int, Numbers], seen: _Seen, rule: _Rule
) -> None:
    """Keep the operations that may be one, and count the rows of the others by reason."""
    size = seen.bytes
    # Under one number sizes may differ by what a ring adds to its parts, which is all that some files say of them.
    nearly = rule.numbered & (size.width <= _PADDING * np.maximum(size.largest, 0))
    alike = (seen.op.width == 0) & (seen.dtype.width == 0) & ((size.width == 0) | nearly)
    good = seen.count > 0
    reasons = [
        (ONE_RANK, seen.count < 2),
        ("operation, type or size differ under one number", ~alike),
        ("one number stands in different steps", seen.step.width > rule.steps_apart),
        ("their numbers differ", (seen.seq.width > 0) & bool(group.name)),
    ]
    if not (group.name or group.is_stated):
        reasons.insert(0, ("the trace names no group, and not all ranks took part", seen.count != len(group.ranks)))
    for reason, bad in reasons:
        lost = int(seen.count[good & bad].sum())
        if lost:
            found.unmatched[reason] += lost
        good &= ~bad
    first = found.add(group, int(good.sum()), numbered=rule.numbered)
    new = np.append(np.where(good, first + np.cumsum(good) - 1, UNKNOWN), UNKNOWN).astype(np.int32)
    for rank, own in rows.items():
        found.of_row[rank][own] = new[number[rank]]
