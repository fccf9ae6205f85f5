"""Facts that do not fit in memory, on disk: the facts of the first ranks stay where they are, those of all others go to one temporary file.

The file has no name, so nothing is left of it when the process ends, however it ends. Small tables stay in memory: they are looked into often.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from scaleprof.align.view import RankFacts
from scaleprof.columns import Column, Source, Spill, SpillSource, StoredTable, packed, tables_of
from scaleprof.results import Table
from scaleprof.run import ProcessGroup, spill_folder

log = logging.getLogger(__name__)

MOST_BYTES_IN_MEMORY = 1 << 28
"""Of the tables of all ranks of all runs."""
SMALL_ROWS = 1 << 10
"""Tables of no more rows stay in memory."""
_BYTES_A_TEXT = 8
_HERE = Path("temporary file")


class StoredTables(Mapping[str, Table]):
    """The tables of a rank by the name of their fact: small ones as they are, others anew from the disk each time, so that nothing keeps them."""

    def __init__(self, source: Source, where: Mapping[str, tuple[int, Mapping[str, Column]]]) -> None:
        self._source, self._where = source, where
        self._small = {
            name: Table({column: of.read(source, 0, rows) for column, of in columns.items()})
            for name, (rows, columns) in where.items()
            if rows <= SMALL_ROWS
        }

    def __getitem__(self, name: str) -> Table:
        return self._small[name] if name in self._small else StoredTable(self._source, *self._where[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


class Shelf:
    """Where the facts of ranks are put while those of others are still measured."""

    def __init__(self, most_bytes: int | None = None) -> None:
        self._left = MOST_BYTES_IN_MEMORY if most_bytes is None else most_bytes
        self._file: Spill | None = None
        self._groups: dict[ProcessGroup, ProcessGroup] = {}

    def put(self, facts: RankFacts) -> RankFacts:
        """The same facts, on disk if there are many already. Where the disk is full they stay in memory."""
        facts = self._with_shared_groups(facts)
        if isinstance(facts.tables, StoredTables):
            return facts
        size = sum(_bytes_of(table) for table in facts.tables.values())
        if size <= self._left:
            self._left -= size
            return facts
        try:
            return dataclasses.replace(facts, tables=self._stored(facts.tables))
        except (OSError, TypeError, ValueError):
            log.debug("facts of rank %s stay in memory", facts.info.rank, exc_info=True)
            return facts

    def _stored(self, tables: Mapping[str, Table]) -> StoredTables:
        if self._file is None:
            self._file = Spill(spill_folder())
        said, parts, at = {}, list[bytes](), 0
        for name, table in tables.items():
            said[name], of_table = packed(table, at)
            parts += of_table
            at += sum(map(len, of_table))
        source = SpillSource(self._file, self._file.append(parts))
        return StoredTables(source, tables_of({"tables": said}, _HERE))

    def _with_shared_groups(self, facts: RankFacts) -> RankFacts:
        """All ranks of a group name all its members: that is the square of the world size, unless they share one list."""
        shared = tuple(self._groups.setdefault(group, group) for group in facts.info.process_groups)
        return dataclasses.replace(facts, info=dataclasses.replace(facts.info, process_groups=shared))


def _bytes_of(table: Table) -> int:
    return sum(
        values.nbytes if isinstance(values, np.ndarray) else _BYTES_A_TEXT * len(values)
        for values in table.columns.values()
    )
