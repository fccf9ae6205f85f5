"""A number for each row of each rank's table, filled in wherever it becomes known: in memory where that is little, else in a file without a name."""

import mmap
import tempfile
from collections.abc import Iterator, Mapping

import numpy as np

from scaleprof.align.meetings import Meetings
from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.run import spill_folder
from scaleprof.trace import UNKNOWN

MOST_IN_MEMORY = 1 << 21
"""Rows of all ranks."""


class PerRank(Mapping[int, Ints]):
    """By rank a column beside its table; UNKNOWN where nothing was put.

    In a file a number is kept one higher, so that what was never written, and so takes no room on the disk, reads as UNKNOWN.
    """

    def __init__(self, tables: Mapping[int, Table], most_in_memory: int | None = None) -> None:
        lengths = [len(tables[rank]) for rank in tables]
        ends = np.cumsum(lengths, dtype=np.int64).tolist()
        self._place = {rank: (end - length, end) for rank, length, end in zip(tables, lengths, ends, strict=True)}
        total = ends[-1] if ends else 0
        self._pages: mmap.mmap | None = None
        if total <= (MOST_IN_MEMORY if most_in_memory is None else most_in_memory) or not total:
            self._values = np.zeros(total, dtype=np.int64)
        else:
            self._pages = _pages(8 * total)
            self._values = np.frombuffer(self._pages, dtype=np.int64)

    def put(self, meetings: Meetings, values: Ints) -> None:
        """Fill in what is known of some operations."""
        for rank, here in meetings.of_rank.items():
            self._values[self._place[rank][0] + meetings.row[here]] = values[here] - UNKNOWN
        if self._pages is not None:  # what was written is the system's to keep; here it would be counted as ours
            self._pages.madvise(mmap.MADV_DONTNEED)

    def __getitem__(self, rank: int) -> Ints:
        begin, end = self._place[rank]
        values: Ints = self._values[begin:end] + UNKNOWN
        if self._pages is not None:
            self._pages.madvise(mmap.MADV_DONTNEED)
        return values

    def __iter__(self) -> Iterator[int]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


def _pages(size: int) -> mmap.mmap:
    with tempfile.TemporaryFile(dir=spill_folder()) as file:
        file.truncate(size)
        return mmap.mmap(file.fileno(), size)
