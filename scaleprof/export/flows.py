"""Which slices of different ranks are one operation: arrows from rank to rank in the order in which they came, and from sender to receiver."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.export.placing import Placing
from scaleprof.intervals import Ints
from scaleprof.trace import UNKNOWN

SEND, RECEIVE = "send", "recv"
Window = tuple[int, int]


@dataclass(frozen=True)
class Links:
    """The ends of arrows at one rank, one row each."""

    row: Ints
    """In the rank's table of operations."""
    operation: Ints
    """Its number, the same on all ranks."""
    comes: NDArray[np.bool_]
    """An arrow ends here."""
    goes: NDArray[np.bool_]
    """An arrow begins here."""
    at_ns: Ints
    """Where a mark on the slice has the arrow, in ns of the file; UNKNOWN where the slice itself has it."""

    def __len__(self) -> int:
        return len(self.row)


def links_of(view: RunView, placing: Placing, windows: Mapping[int, Window]) -> tuple[dict[int, Links], int]:
    """By rank, what ties its operations to those of others; and how many transfers have no arrow because by the clocks they ended before they began.

    `windows`: the ranks that are exported, and from when to when of the file. Operations that begin outside have no arrows.
    """
    ends = _ends_of(view, placing, windows)
    between_two, together = ends.is_send | ends.is_receive, ends.carried_together()
    chained = _chains(ends.picked(~between_two))
    sent, lost = _transfers(ends.picked(between_two), together[between_two])
    found = {}
    for rank in windows:
        parts = [(of, of.ends.rank == rank) for of in (chained, sent)]
        found[rank] = Links(
            *(np.concatenate([getattr(of.ends, name)[mine] for of, mine in parts]) for name in ("row", "operation")),
            *(np.concatenate([getattr(of, name)[mine] for of, mine in parts]) for name in ("comes", "goes", "at")),
        )
    return found, lost


@dataclass(frozen=True)
class _Ends:
    """Every rank's part in every matched operation that is exported; times in ns of the file."""

    operation: Ints
    rank: Ints
    row: Ints
    start: Ints
    end: Ints
    event: Ints
    """That carried it out; UNKNOWN for one that was only issued."""
    is_send: NDArray[np.bool_]
    is_receive: NDArray[np.bool_]

    def picked(self, rows: Ints | NDArray[np.bool_]) -> "_Ends":
        return _Ends(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def carried_together(self) -> Ints:
        """How many of these operations each one's event carried out; 1 for those without an event."""
        _, group, count = np.unique(np.stack((self.rank, self.event)), axis=1, return_inverse=True, return_counts=True)
        together: Ints = np.where(self.event != UNKNOWN, count[group.ravel()], 1)
        return together


@dataclass(frozen=True)
class _Tied:
    """Ends with their arrows, as `Links` has them."""

    ends: _Ends
    comes: NDArray[np.bool_]
    goes: NDArray[np.bool_]
    at: Ints


def _ends_of(view: RunView, placing: Placing, windows: Mapping[int, Window]) -> _Ends:
    number, rank, row = (np.asarray(view.matches[name], dtype=np.int64) for name in ("collective", "rank", "row"))
    count = len(number)
    start, end, event = (np.full(count, UNKNOWN, dtype=np.int64) for _ in range(3))
    known, is_send, is_receive = (np.zeros(count, dtype=np.bool_) for _ in range(3))
    carried = view.fact("carried")
    for of, table in view.fact("collectives").items():
        here = np.flatnonzero(rank == of)
        if of not in windows or of not in carried or not len(here):
            continue
        rows = row[here]
        event[here], over = (np.asarray(carried[of][name])[rows] for name in ("event", "end_ns"))
        began, issued = (np.asarray(table[name])[rows] for name in ("start_ns", "issued_ns"))
        ran = event[here] != UNKNOWN
        when = np.where(ran, began, issued)
        start[here] = placing.placed(of, when)
        end[here] = placing.placed(of, np.where(ran, over, when))
        since, until = windows[of]
        op = np.array(table["op"], dtype=object)[rows]
        is_send[here], is_receive[here] = op == SEND, op == RECEIVE
        # An arrow between two needs to know when the data were on their way.
        known[here] = (when != UNKNOWN) & (start[here] >= since) & (start[here] < until)
        known[here] &= ran | ~(is_send[here] | is_receive[here])
    return _Ends(number, rank, row, start, end, event, is_send, is_receive).picked(known)


def _chains(ends: _Ends) -> _Tied:
    """From rank to rank in the order in which they came; of ranks that came at once from the lower one. Of operations that one activity carried out
    together only the first has a chain: a slice has one place in it."""
    order = np.lexsort((ends.operation, ends.event, ends.rank))
    rank, event = ends.rank[order], ends.event[order]
    again = (rank[1:] == rank[:-1]) & (event[1:] == event[:-1]) & (event[1:] != UNKNOWN)
    ends = ends.picked(order[np.append(True, ~again)[: len(order)]])
    ends = ends.picked(np.lexsort((ends.rank, ends.start, ends.operation)))
    same = ends.operation[1:] == ends.operation[:-1]
    comes, goes = np.append(False, same)[: len(ends.row)], np.append(same, False)[: len(ends.row)]
    some = comes | goes
    return _Tied(ends.picked(some), comes[some], goes[some], np.full(int(some.sum()), UNKNOWN, dtype=np.int64))


def _transfers(ends: _Ends, together: Ints) -> tuple[_Tied, int]:
    """Arrows of transfers of which both ends are exported, and how many have none. `together`: how many operations an end's activity carried out.

    Viewers follow an arrow in order of time, and a slice has one place in it. Where the receiver came before the sender, a mark has the arrow, at the
    time when the data were sent; where an activity did several things at once, a mark on each side.
    """
    order = np.lexsort((ends.is_receive, ends.operation))
    ends, together = ends.picked(order), together[order]
    two = np.flatnonzero((ends.operation[1:] == ends.operation[:-1]) & ends.is_send[:-1] & ends.is_receive[1:])
    sent, received = ends.start[two], ends.start[two + 1]
    in_order = (received > sent) | ((received == sent) & (ends.rank[two + 1] > ends.rank[two]))
    arrives = np.maximum(received, sent + 1)
    from_slice, to_slice = together[two] == 1, in_order & (together[two + 1] == 1)
    possible = to_slice | (arrives < ends.end[two + 1])
    at = np.concatenate((np.where(from_slice, UNKNOWN, sent)[possible], np.where(to_slice, UNKNOWN, arrives)[possible]))
    ends = ends.picked(np.concatenate((two[possible], two[possible] + 1)))
    return _Tied(ends, ends.is_receive, ends.is_send, at), int((~possible).sum())
