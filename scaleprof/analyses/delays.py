"""What a late rank did that the others did not, and whom it waited for itself: from an operation back to the one who is to blame for it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaleprof.align import RunView
from scaleprof.align.transfers import TRANSFERS
from scaleprof.analyses.arrivals import DOINGS
from scaleprof.intervals import Ints
from scaleprof.models.blame import Blame, Instances, split_by_excess
from scaleprof.trace import UNKNOWN

MOST_OTHERS = 8
"""Of the ranks that wait so many are compared with the late one."""
MOSTLY = 0.5
"""Where more than this share of a delay is communication, the rank was itself kept waiting."""


_Doings = dict[int, dict[str, float]]
"""By rank and doing, in ns."""


@dataclass(frozen=True)
class Seen:
    """All parts of collectives in the steps that count."""

    parts: Instances
    row: Ints
    """In the rank's table of operations."""
    step: Ints
    """By operation."""
    group: tuple[str, ...]
    size: Ints
    """By operation, of its group."""


class Delays:
    """What the ranks did before the collectives of a run, looked up as it is asked for. Operations are numbered as in `Seen`."""

    def __init__(self, view: RunView, seen: Seen, blame: Blame) -> None:
        self._view, self._seen, self._blame = view, seen, blame
        self._rows = _Rows(view)
        self._first = np.append(seen.parts.first, len(seen.parts.rank))
        self._last_of_row = _last_by_row(view, seen, blame)
        self._told: dict[int, tuple[_Doings, Mapping[int, int]] | None] = {}
        self._shares: dict[int, dict[str, float]] = {}

    def shares(self, number: int) -> dict[str, float]:
        """What the delay of the last rank of an operation consists of; empty where that is not known."""
        if number not in self._shares:
            late, told = int(self._blame.last[number]), self.told(number)
            waiting = [of for rank, of in told.items() if rank != late] if told is not None else []
            others = {name: sum(of[name] for of in waiting) / len(waiting) for name in DOINGS if waiting}
            self._shares[number] = split_by_excess(told[late], others) if told is not None else {}
        return self._shares[number]

    def told(self, number: int) -> "_Doings | None":
        """What the last rank of an operation, and some others, did from when they last set out together until they were ready, in ns by doing."""
        found = self._since(number)
        return found[0] if found is not None else None

    def _since(self, number: int) -> "tuple[_Doings, Mapping[int, int]] | None":
        """That, and by rank the row of the operation from whose end on they set out."""
        if number not in self._told:
            self._told[number] = _doings(self._view, self._rows, int(self._blame.last[number]), self.parts(number))
        return self._told[number]

    def parts(self, number: int) -> dict[int, int]:
        """By rank the row of an operation."""
        here = slice(int(self._first[number]), int(self._first[number + 1]))
        return dict(zip(self._seen.parts.rank[here].tolist(), self._seen.row[here].tolist(), strict=True))

    def root(self, number: int) -> int:
        """Who is to blame for an operation: its last rank, or if that one was itself kept waiting, in another group or by a neighbour, the one
        that it waited for, and so on."""
        visited: set[int] = set()
        while True:
            late = int(self._blame.last[number])
            visited.add(late)
            if self.shares(number).get("comm", 0.0) <= MOSTLY:
                return late
            other = self._waited_for(number, late)
            if other is None or other in visited:
                return late
            further = self._costliest(int(self._seen.step[number]), other)
            if further is None:
                return other
            number = further

    def _costliest(self, step: int, rank: int) -> int | None:
        """Of the operations of a step in which a rank came last the one that cost most."""
        mine = np.flatnonzero((self._seen.step == step) & (self._blame.last == rank))
        return int(mine[np.argmax(self._blame.cost_ns[mine])]) if len(mine) else None

    def _waited_for(self, number: int, late: int) -> int | None:
        """Whom a rank waited for more than the others of its group waited for those that stand to them as that one does to it; None for nobody."""
        found = self._since(number)
        if found is None:
            return None
        (told, together), parts = found, self.parts(number)
        mine = self._waits(late, parts[late], together[late])
        others = [self._waits(rank, parts[rank], together[rank]) for rank in told if rank != late]
        more = {away: waited - float(np.mean([of.get(away, 0.0) for of in others])) for away, waited in mine.items()}
        if not more or max(more.values()) <= 0:
            return None
        return late + max(more, key=lambda away: more[away])

    def _waits(self, rank: int, row: int, met: int) -> dict[int, float]:
        """How long a rank waited, between setting out from the operation it met others in and being ready, for each other rank, by how far that one
        stands from it."""
        arrivals, exchange = self._view.fact("arrivals")[rank], self._view.exchange
        operations = self._view.fact("collectives")[rank]
        since = int(arrivals["end_ns"][met])
        start, wait = np.asarray(operations["start_ns"]), exchange.wait_ns[rank]
        inside = np.flatnonzero((start >= since) & (start < int(arrivals["ready_ns"][row])) & (wait > 0))
        found: dict[int, float] = {}
        for place in inside.tolist():
            is_transfer = operations["op"][place] in TRANSFERS
            peer = int(operations["peer"][place]) if is_transfer else int(self._last_of_row[rank][place])
            if peer >= 0 and peer != rank:
                found[peer - rank] = found.get(peer - rank, 0.0) + float(wait[place])
        return found


def _last_by_row(view: RunView, seen: Seen, blame: Blame) -> Mapping[int, Ints]:
    """For each operation of a rank who came last in it; UNKNOWN where that is not known."""
    found = {rank: np.full(len(table), UNKNOWN, dtype=np.int64) for rank, table in view.fact("collectives").items()}
    for rank, rows in found.items():
        here = seen.parts.rank == rank
        rows[seen.row[here]] = blame.last[seen.parts.operation[here]]
    return found


class _Rows:
    """Which operation each row of a rank is, and on which row it stands on another rank."""

    def __init__(self, view: RunView) -> None:
        table = view.matches
        self._rank, self._row, self._number = (np.asarray(table[name]) for name in ("rank", "row", "collective"))
        self._of_rank: dict[int, Ints] = {}
        self._lengths = {rank: len(of) for rank, of in view.fact("collectives").items()}

    def number(self, rank: int, row: int) -> int:
        """The number of the operation; UNKNOWN where it was not matched."""
        if rank not in self._of_rank:
            here = self._rank == rank
            numbers = np.full(self._lengths[rank], UNKNOWN, dtype=np.int64)
            numbers[self._row[here]] = self._number[here]
            self._of_rank[rank] = numbers
        return int(self._of_rank[rank][row])

    def rows(self, number: int) -> dict[int, int]:
        """By rank the row of an operation."""
        low, high = np.searchsorted(self._number, (number, number + 1))
        return dict(zip(self._rank[low:high].tolist(), self._row[low:high].tolist(), strict=True))


def _doings(
    view: RunView, rows: _Rows, late: int, parts: Mapping[int, int]
) -> tuple[_Doings, Mapping[int, int]] | None:
    """What the late rank and some of the others did from when they last set out together until they were ready, and the rows of the operation from
    which they set out; None where that is not known."""
    waiting = [rank for rank in parts if rank != late]
    chosen = [late, *waiting[:: max(len(waiting) // MOST_OTHERS, 1)]]
    tables = {rank: view.fact("arrivals").get(rank) for rank in chosen}
    met = {}
    for rank, table in tables.items():
        row = int(table["met_row"][parts[rank]]) if table is not None else UNKNOWN
        of = rows.rows(rows.number(rank, row)) if row != UNKNOWN else {}
        if {late, rank} <= set(of):  # files may lack it
            met[rank] = of
    mine = tables[late]
    if late not in met or mine is None:
        return None
    together = min(met.values(), key=lambda of: int(mine["end_ns"][of[late]]))
    found = {}
    for rank in met:
        table = tables[rank]
        if table is not None and rank in together:
            found[rank] = {
                name: float(table[f"{name}_ready_ns"][parts[rank]] - table[f"{name}_end_ns"][together[rank]])
                for name in DOINGS
            }
    return (found, together) if late in found and len(found) > 1 else None
