"""What the ranks say of their operations, as numbers: texts are numbered alike on all ranks, and what an operation is has one number.

A rank whose table lies on disk is read anew whenever it is asked for: the operations of all ranks together are many.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scaleprof.columns import StoredTable, coded_of, distinct
from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN

ANY_SIZE = ("all_to_all", "scatter", "gather")
"""Operations whose ranks may send differently much: one has it all, or each its own share."""
Numbers = NDArray[np.int32]


class Rows:
    """The operations of one rank in the order of issue; columns are read when they are asked for."""

    def __init__(self, table: Table, number: Callable[[str], int]) -> None:
        self._table, self._number = table, number

    def __len__(self) -> int:
        return len(self._table)

    @cached_property
    def op(self) -> Numbers:
        """Numbers of texts, likewise the next two."""
        return self._coded("op")

    @cached_property
    def dtype(self) -> Numbers:
        """What the elements are."""
        return self._coded("dtype")

    @cached_property
    def group(self) -> Numbers:
        """The name of the process group."""
        return self._coded("group")

    @cached_property
    def bytes(self) -> Ints:
        """UNKNOWN where ranks may differ in it."""
        may_differ = np.isin(self.op, [self._number(op) for op in ANY_SIZE])
        return np.where(may_differ, UNKNOWN, self._ints("bytes"))

    @cached_property
    def step(self) -> Ints:
        """UNKNOWN outside of all steps, likewise the next two where nothing is said of them."""
        return self._ints("step")

    @cached_property
    def seq(self) -> Ints:
        """The number within the group."""
        return self._ints("seq")

    @cached_property
    def peer(self) -> Ints:
        """The other rank of a transfer."""
        return self._ints("peer")

    def _ints(self, name: str) -> Ints:
        return np.asarray(self._table[name], dtype=np.int64)

    def _coded(self, name: str) -> Numbers:
        texts, codes = coded_of(self._table, name)
        found: Numbers = np.array([self._number(str(text)) for text in texts], dtype=np.int32)[codes]
        return found


class Said:
    """The operations of all ranks."""

    def __init__(self, tables: Mapping[int, Table]) -> None:
        self.tables = tables
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []
        self._kinds: dict[tuple[int, int, int], int] = {}
        self._known: dict[int, Rows] = {}

    def number(self, text: str) -> int:
        """Of a text."""
        if text not in self._numbers:
            self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return self._numbers[text]

    def text(self, number: int) -> str:
        """The text of a number."""
        return self._texts[number]

    def is_one_of(self, numbers: Numbers, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which of these numbers stand for one of these texts."""
        return np.isin(numbers, [self.number(text) for text in texts])

    def of(self, rank: int) -> Rows:
        """The operations of a rank."""
        if rank in self._known:
            return self._known[rank]
        rows = Rows(self.tables[rank], self.number)
        if not isinstance(self.tables[rank], StoredTable):
            self._known[rank] = rows
        return rows

    def signatures(self, rank: int) -> Numbers:
        """What each operation of a rank is: a number for operation, type and size."""
        rows = self.of(rank)
        sizes, size = np.unique(rows.bytes, return_inverse=True)
        kinds, place = distinct(rows.op, rows.dtype, size)
        found = np.array(
            [
                self._kinds.setdefault((op, dtype, int(sizes[of_size])), len(self._kinds))
                for op, dtype, of_size in kinds
            ],
            dtype=np.int32,
        )
        signatures: Numbers = found[place]
        return signatures


def distinct_in_order(values: NDArray[np.int32] | Ints) -> list[int]:
    """Each value once, in the order in which they first come."""
    distinct, first = np.unique(values, return_index=True)
    return [int(value) for value in distinct[np.argsort(first, kind="stable")]]
