"""Every rank's part in matched operations, side by side: of all of them where these are few, else block by block, and of some evenly chosen ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scaleprof.align.matching import Matches
from scaleprof.align.said import Numbers
from scaleprof.columns import coded_of, part_of
from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN

MOST_PARTS = 1 << 20
"""In memory at once, some 200 bytes each; likewise of all operations so many parts say how clocks stand to one another."""
LEAST_CHOSEN = 64
"""Operations of each group that are among the chosen ones, however many there are."""
_COLUMNS = ("step", "issued_ns", "start_ns", "dur_ns", "peer")
_UNKNOWN_OP = "unknown"


@dataclass(frozen=True)
class Meetings:
    """Every rank's part in some matched operations, as columns in the order of the operations; times in ns on each rank's own clock."""

    operation: Ints
    """Ascending; every number from 0 on stands here."""
    rank: Ints
    row: Ints
    """In the rank's table of operations."""
    op: Numbers
    """What this rank says that it is: a row of `ops`."""
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
    ops: tuple[str, ...]

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

    def says(self, *ops: str) -> NDArray[np.bool_]:
        """By part: whether the rank calls it one of these."""
        return np.array([op in ops for op in self.ops], dtype=np.bool_)[self.op] if len(self.op) else self.op > 0

    def is_one_of(self, ops: Sequence[str]) -> NDArray[np.bool_]:
        """By operation: whether those ranks that know what it is call it one of these."""
        return self.of_all(self.says(*ops, _UNKNOWN_OP)) & ~self.of_all(self.says(_UNKNOWN_OP))


def rows_by(values: Ints) -> dict[int, Ints]:
    """By value: where it stands, ascending."""
    order = np.argsort(values, kind="stable")
    distinct, first = np.unique(values[order], return_index=True)
    return dict(zip(distinct.tolist(), np.split(order, first[1:]), strict=True)) if len(values) else {}


@dataclass(frozen=True)
class _Parts:
    """The matched rows of one rank in the order of their operations."""

    number: Numbers
    """Of the operation."""
    row: Numbers | None
    """None where that is every row, one behind the other: so it is in a run of one group that lost nothing."""

    @classmethod
    def of(cls, number: Numbers) -> "_Parts":
        rows = np.flatnonzero(number >= 0).astype(np.int32)
        in_order = bool((np.diff(number[rows]) > 0).all())
        if in_order and len(rows) == len(number):
            return cls(number, None)
        rows = rows if in_order else rows[np.argsort(number[rows], kind="stable")]
        return cls(number[rows], rows)

    def rows(self, here: slice | Ints) -> Ints:
        if self.row is not None:
            return self.row[here].astype(np.int64)
        return np.arange(here.start, here.stop) if isinstance(here, slice) else here


class Book:
    """The matched operations of a run, and where each rank's part in them stands."""

    def __init__(self, matches: Matches, tables: Mapping[int, Table], *, world_size: int = 0) -> None:
        self._matches, self._tables = matches, tables
        all_read = len(tables) >= world_size
        sizes = [len(group.ranks) if group.is_stated or all_read else UNKNOWN for group in matches.groups]
        self._size = np.array(sizes, dtype=np.int64)
        self._numbered = np.array(matches.numbered, dtype=np.bool_)
        self._count = np.zeros(len(sizes), dtype=np.int64)
        self._parts: dict[int, _Parts] = {}
        for rank, number in matches.of_row.items():
            parts = _Parts.of(number)
            self._count[parts.number] += 1
            if len(parts.number):
                self._parts[rank] = parts

    def __len__(self) -> int:
        """How many operations there are."""
        return len(self._count)

    def blocks(self, most: int = MOST_PARTS) -> Iterator[tuple[int, Meetings]]:
        """Of so many operations at a time that their parts are no more than `most`; the first operation of each block, which is its number 0."""
        reached, begin = np.cumsum(self._count), 0
        if begin < len(self) and reached[-1] <= most:
            yield 0, self.sample
            return
        while begin < len(self):
            before = int(reached[begin - 1]) if begin else 0
            end = max(int(np.searchsorted(reached, before + most, side="right")), begin + 1)
            yield begin, self._between(begin, end)
            begin = end

    @cached_property
    def sample(self) -> Meetings:
        """Of some operations, evenly over each group's, so that they have about `MOST_PARTS`; of all where there are no more."""
        parts = int(self._count.sum())
        if parts <= MOST_PARTS:
            return self._between(0, len(self))
        every = -(-parts // MOST_PARTS)
        chosen = np.zeros(len(self), dtype=np.bool_)
        for numbers in _by_group(self._matches):
            chosen[numbers[:: max(min(every, len(numbers) // LEAST_CHOSEN), 1)]] = True
        return self._chosen(np.flatnonzero(chosen))

    def _between(self, begin: int, end: int) -> Meetings:
        found = []
        for rank, parts in self._parts.items():
            here = slice(*np.searchsorted(parts.number, (begin, end)).tolist())
            if here.start < here.stop:
                found.append((rank, parts.rows(here), parts.number[here] - np.int32(begin)))
        return self._made(found, np.arange(begin, end))

    def _chosen(self, operations: Ints) -> Meetings:
        place = np.full(len(self), UNKNOWN, dtype=np.int32)
        place[operations] = np.arange(len(operations))
        found = []
        for rank, parts in self._parts.items():
            number = place[parts.number]
            here = np.flatnonzero(number >= 0)
            if len(here):
                found.append((rank, parts.rows(here), number[here]))
        return self._made(found, operations)

    def _made(self, parts: Sequence[tuple[int, Ints, Numbers]], operations: Ints) -> Meetings:
        """Of ranks the rows, and the places of their operations among these, which are ascending."""
        total = sum(len(rows) for _, rows, _ in parts)
        columns = {name: np.empty(total, dtype=np.int64) for name in ("operation", "rank", "row", *_COLUMNS)}
        op, ops, at = np.empty(total, dtype=np.int32), dict[str, int](), 0
        for rank, rows, number in parts:
            here = slice(at, at + len(rows))
            at += len(rows)
            columns["operation"][here], columns["rank"][here], columns["row"][here] = number, rank, rows
            op[here] = self._read(rank, rows, {name: columns[name][here] for name in _COLUMNS}, ops)
        order = np.argsort(columns["operation"], kind="stable")
        for name in columns:
            columns[name] = columns[name][order]
        return Meetings(
            **columns,
            op=op[order],
            first=np.searchsorted(columns["operation"], np.arange(len(operations))),
            size=self._size[operations],
            numbered=self._numbered[operations],
            ops=tuple(ops),
        )

    def _read(self, rank: int, rows: Ints, columns: Mapping[str, Ints], ops: dict[str, int]) -> Numbers:
        """Fill in some rows of a rank's table; what these are, as numbers in `ops`."""
        table = self._tables[rank]
        begin, end = int(rows.min()), int(rows.max()) + 1
        for name, column in columns.items():
            column[:] = np.asarray(part_of(table, name, begin, end))[rows - begin]
        texts, codes = coded_of(table, "op")
        numbers = np.array([ops.setdefault(str(text), len(ops)) for text in texts], dtype=np.int32)
        found: Numbers = numbers[codes[rows]]
        return found


def _by_group(matches: Matches) -> Iterator[Ints]:
    """The numbers of the operations of each group: they stand one behind the other."""
    first = [0] if matches.groups else []
    first += [at for at in range(1, len(matches.groups)) if matches.groups[at] is not matches.groups[at - 1]]
    yield from np.split(np.arange(len(matches.groups)), first[1:]) if first else ()
