"""What a late rank did that the others did not, and whom it waited for itself: from an operation back to the one who is to blame for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.align.transfers import TRANSFERS
from scaleprof.analyses.stragglers.arrivals import DOINGS
from scaleprof.intervals import Ints
from scaleprof.models.blame import Blame, split_by_excess
from scaleprof.trace import UNKNOWN

MOST_OTHERS = 8
"""Of the ranks that wait so many are compared with the late one."""
MOSTLY = 0.5
"""Where more than this share of a delay is communication, the rank was itself kept waiting."""


_Doings = dict[int, dict[str, float]]
"""By rank and doing, in ns."""


@dataclass(frozen=True)
class Seen:
    """The collectives in the steps that count."""

    of_row: Mapping[int, NDArray[np.int32]]
    """By rank, for each row of its table of operations: its number here; UNKNOWN for others."""
    step: Ints
    """By operation, likewise the others."""
    group: tuple[str, ...]
    size: Ints
    """Of its group."""
    ranks: tuple[tuple[int, ...], ...]
    """Of its group, ascending."""
    count: Ints
    """How many of these were seen in it."""
    steps: Ints
    """The steps that count, ascending."""
    put_off_ns: Mapping[int, Ints]
    """By rank, for each of the steps: by how much waiting in all its operations put off the rank."""

    def ranks_in(self, number: int) -> Sequence[int]:
        """The ranks that were seen in an operation."""
        ranks = self.ranks[number]
        if len(ranks) == self.count[number]:
            return ranks
        return [rank for rank in ranks if rank in self.of_row and (self.of_row[rank] == number).any()]

    def row(self, rank: int, number: int) -> int:
        """On which row of a rank an operation stands; UNKNOWN where it does not."""
        found = np.flatnonzero(self.of_row[rank] == number)
        return int(found[0]) if len(found) else UNKNOWN


class Delays:
    """What the ranks did before the collectives of a run, looked up as it is asked for. Operations are numbered as in `Seen`."""

    def __init__(self, view: RunView, seen: Seen, blame: Blame) -> None:
        self._view, self._seen, self._blame = view, seen, blame
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
            self._told[number] = _doings(self._view, self._seen, int(self._blame.last[number]), number)
        return self._told[number]

    def ranks_in(self, number: int) -> Sequence[int]:
        """The ranks that were seen in an operation."""
        return self._seen.ranks_in(number)

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
        told, together = found
        waits = {rank: self._waits(rank, self._seen.row(rank, number), together[rank]) for rank in told}
        mine, others = waits[late], [of for rank, of in waits.items() if rank != late]
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
        here = self._seen.of_row[rank]
        for place in inside.tolist():
            is_transfer = operations["op"][place] in TRANSFERS
            last = int(self._blame.last[here[place]]) if here[place] != UNKNOWN else UNKNOWN
            peer = int(operations["peer"][place]) if is_transfer else last
            if peer >= 0 and peer != rank:
                found[peer - rank] = found.get(peer - rank, 0.0) + float(wait[place])
        return found


def _doings(view: RunView, seen: Seen, late: int, number: int) -> tuple[_Doings, Mapping[int, int]] | None:
    """What the late rank and some of the others did from when they last set out together until they were ready, and the rows of the operation from
    which they set out; None where that is not known."""
    waiting = [rank for rank in seen.ranks_in(number) if rank != late]
    chosen = [late, *waiting[:: max(len(waiting) // MOST_OTHERS, 1)]]
    parts = {rank: seen.row(rank, number) for rank in chosen if rank != UNKNOWN}
    tables = {rank: view.fact("arrivals").get(rank) for rank in parts}
    met, rows = {}, dict[int, dict[int, int]]()
    for rank, table in tables.items():
        row = int(table["met_row"][parts[rank]]) if table is not None else UNKNOWN
        before = int(view.matching.of_row[rank][row]) if row != UNKNOWN else UNKNOWN
        if before not in rows:
            rows[before] = _rows_of(view, before, parts)
        of = rows[before]
        if {late, rank} <= set(of):  # files may lack it
            met[rank] = of
    mine = tables.get(late)
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


def _rows_of(view: RunView, number: int, ranks: Iterable[int]) -> dict[int, int]:
    """By rank among these the row of a matched operation of the run; nothing of one that was not matched."""
    if number == UNKNOWN:
        return {}
    places = {rank: np.flatnonzero(view.matching.of_row[rank] == number) for rank in ranks}
    return {rank: int(place[0]) for rank, place in places.items() if len(place)}
