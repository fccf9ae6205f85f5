"""Which operations of different ranks are one: by process group and sequence number, else by order and content (`method` 2.1).

Never by bare position. Where sequence numbers are missing, the operations of one step of one group are compared as sequences of (operation, type,
size); events that were lost leave a shorter sequence, which is laid into the whole one. Where it can be laid in two ways, what differs between them
is left unmatched and counted: a wrong pair would accuse an innocent rank.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.run import ProcessGroup
from scaleprof.trace import UNKNOWN

TRANSFERS = ("send", "recv")
SYNCHRONISING = ("all_reduce", "reduce_scatter", "all_gather", "all_to_all", "barrier")
"""Every rank's completion depends on the arrival of all others (`method` 2.2)."""
ANY_SIZE = ("all_to_all", "scatter", "gather")
"""Operations whose ranks may send differently much: one has it all, or each its own share."""
Signature = tuple[str, str, int]


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
    unmatched: Counter[str] = field(default_factory=Counter)
    """Rows left alone, by reason."""

    def add(self, group: Group, members: Iterable[tuple[int, int]]) -> None:
        """One operation: the rank and row of each that took part."""
        number = len(self.groups)
        self.groups.append(group)
        for rank, row in members:
            self.collective.append(number)
            self.rank.append(rank)
            self.row.append(row)

    @property
    def matched_share(self) -> float | None:
        """Matched rows among those that have a partner somewhere; None where there are none."""
        total = len(self.rank) + self.unmatched.total()
        return len(self.rank) / total if total else None

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
    stated: NDArray[np.bool_]
    """By operation: whether the trace says which ranks those are."""

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
    stated = np.array([group.is_stated for group in matches.groups], dtype=np.bool_)
    return Meetings(operation, rank, row, op, **columns, first=first, size=size, stated=stated)


def match(tables: Mapping[int, Table], groups: Mapping[int, Sequence[ProcessGroup]]) -> Matches:
    """Match the operations of all ranks: `tables` are their facts about collectives, rows in order of issue; `groups` what each says of groups."""
    found = Matches()
    parts: dict[Group, dict[int, list[int]]] = {}
    transfers: dict[tuple[str, int, int], dict[str, list[tuple[int, int]]]] = {}
    known = {rank: _groups_of(rank, groups, tables) for rank in tables}
    for rank, table in tables.items():
        # A loop over operations, not events.
        for row, (op, name, peer) in enumerate(zip(table["op"], table["group"], table["peer"], strict=True)):
            if op in TRANSFERS:
                ends = (rank, int(peer)) if op == "send" else (int(peer), rank)
                transfers.setdefault((name, *ends), {}).setdefault(op, []).append((rank, row))
                continue
            group = known[rank].get(name)
            if group is None or len(group.ranks) > 1:
                parts.setdefault(group or _everybody(name, tables), {}).setdefault(rank, []).append(row)
    for group, rows in parts.items():
        # Of a group that nobody describes those ranks are members that use its name.
        used = Group(group.name, tuple(sorted(rows)), False) if group.name and not group.is_stated else group
        _match_group(found, used, rows, tables)
    for (name, source, target), sides in transfers.items():
        _match_transfers(found, Group(name, (source, target), source >= 0 and target >= 0), sides, tables)
    return found


def _groups_of(
    rank: int, groups: Mapping[int, Sequence[ProcessGroup]], tables: Mapping[int, Table]
) -> dict[str, Group]:
    return {group.name: Group(group.name, tuple(group.ranks), True) for group in groups.get(rank, ()) if group.ranks}


def _everybody(name: str, tables: Mapping[int, Table]) -> Group:
    return Group(name, tuple(sorted(tables)), False)


def _match_group(found: Matches, group: Group, rows: Mapping[int, list[int]], tables: Mapping[int, Table]) -> None:
    """Collectives of one group."""
    if len(rows) < 2:
        found.unmatched["their partners were not read"] += sum(map(len, rows.values()))
        return
    if all((np.asarray(tables[rank]["seq"])[of_rank] >= 0).all() for rank, of_rank in rows.items()):
        _by_number(found, group, rows, tables)
    else:
        _by_content(found, group, rows, tables)


def _by_number(found: Matches, group: Group, rows: Mapping[int, list[int]], tables: Mapping[int, Table]) -> None:
    """Join on the sequence number. Where a group was made anew under its old name numbers begin again, and their occurrence tells them apart."""
    members: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for rank, of_rank in rows.items():
        seen: Counter[int] = Counter()
        for number, row in zip(np.asarray(tables[rank]["seq"])[of_rank].tolist(), of_rank, strict=True):
            members.setdefault((seen[number], number), []).append((rank, row))
            seen[number] += 1
    for key in sorted(members):
        _add_if_alike(found, group, members[key], tables)


def _add_if_alike(found: Matches, group: Group, members: list[tuple[int, int]], tables: Mapping[int, Table]) -> None:
    signatures = [_signature(tables[rank], row) for rank, row in members]
    steps = [step for rank, row in members if (step := int(tables[rank]["step"][row])) >= 0]
    if len(members) < 2:
        found.unmatched["they stand on one rank only"] += len(members)
    elif not _alike(signatures):
        found.unmatched["operation, type or size differ under one number"] += len(members)
    elif steps and max(steps) - min(steps) > 1:
        found.unmatched["one number stands in different steps"] += len(members)
    else:
        found.add(group, members)


def _signature(table: Table, row: int) -> Signature:
    op = str(table["op"][row])
    size = -1 if op in ANY_SIZE else int(table["bytes"][row])
    return op, str(table["dtype"][row]), size


def _alike(signatures: Sequence[Signature]) -> bool:
    """Whether these may be one operation: what one rank does not know contradicts nothing."""
    for place in range(3):
        said = {signature[place] for signature in signatures} - {"", -1, "unknown"}
        if len(said) > 1:
            return False
    return True


def _by_content(found: Matches, group: Group, rows: Mapping[int, list[int]], tables: Mapping[int, Table]) -> None:
    """Compare the sequences of each step; what lies outside of all steps as one more."""
    by_step: dict[int, dict[int, list[int]]] = {}
    for rank, of_rank in rows.items():
        for step, row in zip(np.asarray(tables[rank]["step"])[of_rank].tolist(), of_rank, strict=True):
            by_step.setdefault(step, {}).setdefault(rank, []).append(row)
    sequences: dict[tuple[int, int], tuple[Signature, ...]] = {
        (step, rank): tuple(_signature(tables[rank], row) for row in of_rank)
        for step, of_ranks in by_step.items()
        for rank, of_rank in of_ranks.items()
    }
    usual = Counter(sequence for (step, _), sequence in sequences.items() if step >= 0).most_common(1)
    for step, of_ranks in sorted(by_step.items()):
        here = {rank: sequences[step, rank] for rank in of_ranks}
        if len(here) < 2:
            found.unmatched["they stand on one rank only"] += sum(map(len, of_ranks.values()))
            continue
        whole = _whole(list(here.values()), usual[0][0] if usual and step >= 0 else ())
        if whole is None:
            found.unmatched["the ranks did different things, and nothing numbers them"] += sum(
                map(len, of_ranks.values())
            )
            continue
        members: dict[int, list[tuple[int, int]]] = {}
        for rank, of_rank in of_ranks.items():
            for place, row in zip(_laid_into(here[rank], whole), of_rank, strict=True):
                if place is None:
                    found.unmatched["events were lost, and which of several alike ones is not known"] += 1
                else:
                    members.setdefault(place, []).append((rank, row))
        for place in sorted(members):
            _add_if_alike(found, group, members[place], tables)


def _whole(sequences: Sequence[tuple[Signature, ...]], usual: tuple[Signature, ...]) -> tuple[Signature, ...] | None:
    """The sequence that all of these are parts of: what they have in common with the usual step, else the longest; None for neither."""
    longest = max(sequences, key=len)
    for whole in (usual, longest) if len(usual) > len(longest) else (longest,):
        if all(_first_way(sequence, whole) is not None for sequence in sequences):
            return whole
    return None


def _first_way(part: Sequence[Signature], whole: Sequence[Signature]) -> list[int] | None:
    """The places in the whole that the part takes as early as possible; None where it is no part of it."""
    places, place = [], 0
    for signature in part:
        while place < len(whole) and whole[place] != signature:
            place += 1
        if place == len(whole):
            return None
        places.append(place)
        place += 1
    return places


def _laid_into(part: Sequence[Signature], whole: Sequence[Signature]) -> list[int | None]:
    """For each of the part its place in the whole, None where there is more than one way: as early and as late as possible differ."""
    early = _first_way(part, whole)
    late = _first_way(part[::-1], whole[::-1])
    assert early is not None and late is not None, "the whole was chosen to hold every part"
    turned = [len(whole) - 1 - place for place in late[::-1]]
    return [first if first == last else None for first, last in zip(early, turned, strict=True)]


def _match_transfers(
    found: Matches, group: Group, sides: Mapping[str, list[tuple[int, int]]], tables: Mapping[int, Table]
) -> None:
    """Sends from one rank to another with its receives: by number where both count, else in order where both are as many and alike."""
    sent, received = sides.get("send", []), sides.get("recv", [])
    if not group.is_stated or not sent or not received:
        reason = "their partners were not read" if group.is_stated else "they do not say to whom"
        found.unmatched[reason] += len(sent) + len(received)
        return
    numbers = [[int(tables[rank]["seq"][row]) for rank, row in side] for side in (sent, received)]
    if all(number >= 0 for side in numbers for number in side) and all(len(set(side)) == len(side) for side in numbers):
        partner = dict(zip(numbers[1], received, strict=True))
        pairs = [(one, partner.pop(number, None)) for one, number in zip(sent, numbers[0], strict=True)]
        left = sum(other is None for _, other in pairs) + len(partner)
        pairs_known = [(one, other) for one, other in pairs if other is not None]
    else:
        alike = len(sent) == len(received)
        pairs_known = list(zip(sent, received, strict=True)) if alike else []
        left = 0 if alike else len(sent) + len(received)
    if left:
        found.unmatched["one side of a transfer is missing"] += left
    for one, other in pairs_known:
        sizes: set[Any] = {
            (str(tables[rank]["dtype"][row]), int(tables[rank]["bytes"][row])) for rank, row in (one, other)
        }
        if len(sizes) == 1:
            found.add(group, (one, other))
        else:
            found.unmatched["both sides of a transfer differ in type or size"] += 2
