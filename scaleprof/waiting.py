"""Waiting told from transfer: in collectives without any clock, in transfers between two ranks by their clocks (`method` 2.4, 1.3).

A collective that synchronises cannot end on one rank before the last one has come, so the rank with the shortest duration came last and waited for
nobody: its duration is the transfer, what the others took longer is waiting. Where a rank was not read, the shortest duration may be none of the last
rank's; such operations are left out and counted. A send or a receive waits until the other side is issued as well.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from scaleprof.clock import RankClock
from scaleprof.intervals import Ints, Spans, covered, subtract, union
from scaleprof.matching import TRANSFERS, Matches
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN

SYNCHRONISING = ("all_reduce", "reduce_scatter", "all_gather", "all_to_all", "barrier")
"""Every rank's completion depends on the arrival of all others (`method` 2.2)."""
PARTS = ("exposed_transfer", "bubble", "exposed_wait", "exposed_untold")
"""What exposed communication consists of: data on the wire, waiting for a neighbour in a pipeline, for the last rank, and what cannot be told."""


@dataclass(frozen=True)
class Exchange:
    """The split of every collective, by rank for each row of its table of operations; UNKNOWN where there is none."""

    transfer_ns: Mapping[int, Ints]
    wait_ns: Mapping[int, Ints]
    ranks: Mapping[int, Ints]
    """How many ranks took part."""
    last: tuple[tuple[int, int], ...]
    """Of each split operation its step and the rank that came last."""
    incomplete: tuple[int, ...]
    """Steps of synchronising operations of which a rank was not read or not matched."""
    partner_ns: Mapping[int, Ints]
    """Of each matched send and receive, when the other side was issued, on this rank's clock; UNKNOWN where the clocks cannot be compared."""


def exchange_of(tables: Mapping[int, Table], matches: Matches, clocks: Mapping[int, RankClock]) -> Exchange:
    """Split every operation that all ranks of its group were seen to take part in."""
    transfer, wait, ranks, partner = (
        {rank: np.full(len(table), UNKNOWN, dtype=np.int64) for rank, table in tables.items()} for _ in range(4)
    )
    last: list[tuple[int, int]] = []
    incomplete: list[int] = []
    # A loop over operations, not events.
    for rows, size in _operations(matches):
        ops = {tables[rank]["op"][row] for rank, row in rows.items()} - {"unknown"}
        step = max(int(tables[rank]["step"][row]) for rank, row in rows.items())
        if ops and ops <= set(TRANSFERS):
            _issue_times(partner, rows, tables, clocks)
        if not ops <= set(SYNCHRONISING):
            continue
        lasted = {rank: int(tables[rank]["dur_ns"][row]) for rank, row in rows.items()}
        if set(lasted.values()) == {UNKNOWN}:
            continue  # outside of every profiler's window
        if len(rows) < size or UNKNOWN in lasted.values():
            incomplete.append(step)
            continue
        shortest = min(lasted.values())
        last.append((step, min(lasted, key=lambda rank: lasted[rank])))
        for rank, row in rows.items():
            transfer[rank][row], wait[rank][row], ranks[rank][row] = shortest, lasted[rank] - shortest, size
    return Exchange(transfer, wait, ranks, tuple(last), tuple(incomplete), partner)


def _operations(matches: Matches) -> Iterator[tuple[dict[int, int], int]]:
    """Of each matched operation the row on every rank that took part, and the size of its group."""
    found: dict[int, dict[int, int]] = {}
    for number, rank, row in zip(matches.collective, matches.rank, matches.row, strict=True):
        found.setdefault(number, {})[rank] = row
    for number, rows in found.items():
        yield rows, len(matches.groups[number].ranks)


def _issue_times(
    partner: Mapping[int, Ints], rows: Mapping[int, int], tables: Mapping[int, Table], clocks: Mapping[int, RankClock]
) -> None:
    both = list(rows.items())
    for (rank, row), (other, place) in zip(both, reversed(both), strict=True):
        issued = int(tables[other]["issued_ns"][place])
        mine, theirs = (clocks[one].offset_at(issued) for one in (rank, other))
        if issued != UNKNOWN and mine is not None and theirs is not None:
            partner[rank][row] = issued - theirs + mine


def exposed_parts(
    rank: int, account: Table, segments: Table | None, waits: Table | None, collectives: Table, exchange: Exchange
) -> dict[str, Ints]:
    """For each accounted step of a rank the parts of its exposed communication, in ns; they sum to it exactly."""
    total = np.asarray(account["exposed_comm_ns"])
    told = {part: np.zeros(len(total), dtype=np.int64) for part in PARTS}
    if segments is not None and len(segments):
        _, first = np.unique(np.asarray(segments["segment"]), return_index=True)
        steps = np.asarray(segments["step"])[first]
        stretches = Spans(np.asarray(segments["start_ns"])[first], np.asarray(segments["end_ns"])[first])
        transfer, bubble, waiting = _sets(rank, waits, collectives, exchange)
        bubble, waiting = subtract(bubble, transfer), subtract(waiting, union(transfer, bubble))
        place = np.searchsorted(np.asarray(account["step"]), steps)
        inside = (place < len(total)) & (
            np.asarray(account["step"])[np.minimum(place, max(len(total) - 1, 0))] == steps
        )
        lengths = np.zeros(len(total), dtype=np.int64)
        np.add.at(lengths, place[inside], (stretches.end - stretches.start)[inside])
        for part, of in zip(PARTS, (transfer, bubble, waiting), strict=False):
            np.add.at(told[part], place[inside], covered(of, stretches)[inside])
            # The account is the mean over the devices of a process, the stretches are of all of them.
            told[part] = np.where(
                lengths > total, (told[part] * (total / np.maximum(lengths, 1))).astype(np.int64), told[part]
            )
    told["exposed_untold"] = total - told["exposed_transfer"] - told["bubble"] - told["exposed_wait"]
    return told


def _sets(rank: int, waits: Table | None, collectives: Table, exchange: Exchange) -> tuple[Spans, Spans, Spans]:
    """When data were on the wire, when the rank waited for a neighbour, and when for the last rank of a collective."""
    start, dur = np.asarray(collectives["start_ns"]), np.asarray(collectives["dur_ns"])
    split = np.flatnonzero(exchange.transfer_ns[rank] != UNKNOWN)
    end, sent = start[split] + dur[split], exchange.transfer_ns[rank][split]
    transfer, waiting = union(Spans(end - sent, end)), union(Spans(start[split], end - sent))
    if waits is None or not len(waits):
        return transfer, union(), waiting
    row = np.asarray(waits["collective"])
    partner = np.where(
        row >= 0, exchange.partner_ns[rank][np.maximum(row, 0)] if len(exchange.partner_ns[rank]) else UNKNOWN, UNKNOWN
    )
    pairs = np.flatnonzero(partner != UNKNOWN)
    begun = np.asarray(waits["start_ns"])[pairs]
    over = begun + np.asarray(waits["dur_ns"])[pairs]
    met = np.clip(partner[pairs], begun, over)
    return union(transfer, Spans(met, over)), union(Spans(begun, met)), waiting
