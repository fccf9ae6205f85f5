"""The transfers of a run by kind: operation, type and group of ranks, with what each kind costs by size (`method` 3.5).

One entry for each operation that all its ranks were seen in, not one for each rank. Its time is that of the transfer, without waiting for the last
rank; where ranks differ, as a root and the others may, the longest. Its size is the largest that a rank has of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import steady_steps
from scaleprof.columns import coded_of, distinct
from scaleprof.intervals import Ints, Spans, covered, union
from scaleprof.models.communication import CostModel, Floats, bus_factor, cost_model
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN

ALL = "all ranks"
"""What the group of the whole job is called."""
MOSTLY = 0.5
"""An operation runs under compute where more than this share of its transfer does."""
_FEWEST = 3
"""Operations of a size that must have run under compute, and as many that must not, to compare them."""
_PRIME = 1_000_003
_SAY_NOTHING = ("", "undefined", "default_pg")


@dataclass(frozen=True)
class Kind:
    """What operations have in common whose times can be compared."""

    op: str
    group: str
    """What its groups of ranks are called, or how their ranks lie."""
    ranks: int
    """In each group."""
    hosts: int | None
    """That such a group spans; None where it is not known."""
    dtype: str

    @property
    def words(self) -> str:
        """`all_reduce over tp (2 ranks)`."""
        return f"{self.op} over {self.place}"

    @property
    def place(self) -> str:
        """`all 4 ranks`, `both ranks`, `tp (2 ranks)`."""
        if self.group == ALL:
            return "both ranks" if self.ranks == 2 else f"all {self.ranks} ranks"
        return f"{self.group} ({self.ranks} ranks)"

    @property
    def factor(self) -> float:
        """Bytes on the bus for each byte of size."""
        return bus_factor(self.op, self.ranks)


@dataclass(frozen=True)
class Transfers:
    """All operations of one kind. Arrays have one entry for each whose transfer and size are known."""

    kind: Kind
    count: int
    """Operations of this kind that were matched, also those without a size or a transfer."""
    bytes: Floats
    times_ns: Floats
    hidden: Floats
    """The part of each transfer that ran under compute, 0..1, mean over the ranks; NaN where that is not known."""
    groups: tuple[tuple[int, ...], ...]
    """The ranks of each group."""
    group: Ints
    """Which of them each operation was in."""

    @cached_property
    def model(self) -> CostModel:
        """What this kind costs by size."""
        return cost_model(self.bytes, self.times_ns)

    @property
    def busbw_gbps(self) -> Floats:
        """Bus bandwidth of each size of the model, from its median time."""
        return self.model.bytes * self.kind.factor / self.model.times_ns

    @property
    def bus_bytes(self) -> float:
        """Bytes on the bus, of all operations."""
        return float(self.bytes.sum()) * self.kind.factor

    def counts(self) -> list[int]:
        """How many operations are behind each size of the model: the sizes' neighbours count for the nearest."""
        middles = np.sqrt(self.model.bytes[1:] * self.model.bytes[:-1])
        nearest = np.searchsorted(middles, self.bytes)
        return [int(count) for count in np.bincount(nearest, minlength=len(self.model.bytes))]

    def hidden_share(self) -> float | None:
        """Of the operations whose overlap is known, the part that ran mostly under compute; None where it is known of none."""
        known = np.isfinite(self.hidden)
        return float((self.hidden[known] > MOSTLY).mean()) if known.any() else None

    def slowdown_under_compute(self) -> float | None:
        """How many times as long a transfer takes while compute runs, median over sizes; None where no size has three of each sort."""
        known = np.isfinite(self.hidden)
        under = known & (self.hidden > MOSTLY)
        beside = known & ~under
        ratios = []
        for size in np.unique(self.bytes[known]).tolist():
            here = self.bytes == size
            slow, fast = self.times_ns[here & under], self.times_ns[here & beside]
            if min(len(slow), len(fast)) >= _FEWEST:
                ratios.append(float(np.median(slow) / np.median(fast)))
        return float(np.median(ratios)) if ratios else None

    def slowest_group(self) -> tuple[tuple[int, ...], float] | None:
        """The ranks of the group with the least bandwidth, and its share of the fastest group's at the same size, median over sizes."""
        shares: dict[int, list[float]] = {}
        for size in np.unique(self.bytes).tolist():
            here = self.bytes == size
            present = np.unique(self.group[here]).tolist()
            times = {one: float(np.median(self.times_ns[here & (self.group == one)])) for one in present}
            for one, time in times.items() if len(times) > 1 else ():
                shares.setdefault(one, []).append(min(times.values()) / time)
        if not shares:
            return None
        middle = {one: float(np.median(of_group)) for one, of_group in shares.items()}
        slowest = min(middle, key=lambda one: (middle[one], one))
        return self.groups[slowest], middle[slowest]


def transfers_of(view: RunView) -> list[Transfers]:
    """Every kind that has a known transfer, those first that put most bytes on the bus. Steady steps only, or all where no operation is in one."""
    columns = _columns(view)
    if columns is None:
        return []
    found: dict[Kind, _Found] = {}
    known: dict[_Key, tuple[Kind, tuple[int, ...]]] = {}
    members = _Members(view, columns)
    # A loop over operations, not over every rank's part in them.
    for place in columns.place:
        key = (*columns.said[int(columns.what[place])], members.of(place))
        if key not in known:
            known[key] = _kind(view, key)
        kind, group = known[key]
        of_kind = found.setdefault(kind, _Found())
        of_kind.count += 1
        if columns.bytes[place] > 0 and columns.times[place] > 0:
            of_kind.places.append(place)
            of_kind.group.append(of_kind.groups.setdefault(group, len(of_kind.groups)))
    made = [_made(kind, of_kind, columns) for kind, of_kind in found.items() if of_kind.places]
    return sorted(made, key=lambda one: (-one.bus_bytes, one.kind.words, one.kind.dtype))


_Key = tuple[int, str, str, str, tuple[int, ...]]
"""Rank, operation, type, group, and the ranks that were seen in it."""


@dataclass
class _Found:
    count: int = 0
    places: list[int] = field(default_factory=list)
    groups: dict[tuple[int, ...], int] = field(default_factory=dict)
    group: list[int] = field(default_factory=list)


_Said = tuple[int, str, str, str]
"""The first rank that took part, and what it says: operation, type and group."""


@dataclass(frozen=True)
class _Columns:
    """Of every matched operation; `place` of those in the wanted steps only."""

    bytes: Ints
    times: Ints
    hidden: Floats
    place: list[int]
    what: Ints
    """Row of `said`."""
    said: list[_Said]
    count: Ints
    """Ranks that took part."""
    which: NDArray[np.uint64]
    """A number that follows from which ranks took part, the same for the same ones."""


class _Members:
    """The ranks that took part in operations, each set of them looked for once."""

    def __init__(self, view: RunView, columns: _Columns) -> None:
        self._of_row, self._groups, self._columns = view.matching.of_row, view.matching.groups, columns
        self._known: dict[tuple[int, int], tuple[int, ...]] = {}

    def of(self, number: int) -> tuple[int, ...]:
        """Of one operation, ascending."""
        key = id(self._groups[number]), int(self._columns.which[number])
        if key not in self._known:
            ranks = tuple(sorted(self._groups[number].ranks))
            if len(ranks) != self._columns.count[number]:
                ranks = tuple(rank for rank in sorted(self._of_row) if (self._of_row[rank] == number).any())
            self._known[key] = ranks
        return self._known[key]


def _made(kind: Kind, of_kind: _Found, columns: _Columns) -> Transfers:
    return Transfers(
        kind,
        of_kind.count,
        columns.bytes[of_kind.places].astype(np.float64),
        columns.times[of_kind.places].astype(np.float64),
        columns.hidden[of_kind.places],
        tuple(of_kind.groups),
        np.array(of_kind.group, dtype=np.int64),
    )


def _columns(view: RunView) -> _Columns | None:
    """Rank by rank, so that what is known of operations is all that is kept."""
    matching, count = view.matching, len(view.matching.groups)
    if not count:
        return None
    step, size, time = (np.full(count, UNKNOWN, dtype=np.int64) for _ in range(3))
    what, seen, which = np.full(count, UNKNOWN), np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.uint64)
    told, hidden = np.zeros(count), np.zeros(count)
    said: dict[_Said, int] = {}
    for rank, table in view.fact("collectives").items():
        rows = np.flatnonzero(matching.of_row[rank] >= 0)
        mine, sent = matching.of_row[rank][rows], view.exchange.transfer_ns[rank][rows]
        steps, sizes = (np.asarray(table[name])[rows] for name in ("step", "bytes"))
        for column, values in ((step, steps), (size, sizes), (time, sent)):
            column[mine] = np.maximum(column[mine], values)
        part = _hidden(view, rank, rows, sent)
        told[mine] += np.isfinite(part)
        hidden[mine] += np.nan_to_num(part)
        which[mine] = which[mine] * np.uint64(_PRIME) + np.uint64(rank + 1)
        seen[mine] += 1
        fresh = what[mine] == UNKNOWN
        if fresh.any():
            what[mine[fresh]] = _said_of(rank, table, rows[fresh], said)
    mean = hidden / np.where(told > 0, told, np.nan)
    wanted = np.isin(step, steady_steps(view))
    places = np.flatnonzero(wanted if wanted.any() else np.ones_like(wanted))
    return _Columns(size, time, mean, places.tolist(), what, list(said), seen, which)


def _said_of(rank: int, table: Table, rows: Ints, said: dict[_Said, int]) -> Ints:
    """What a rank says of its operations, as numbers in `said`."""
    columns = [coded_of(table, name) for name in ("op", "dtype", "group")]
    kinds, place = distinct(*(code[rows] for _, code in columns))
    numbers = []
    for codes in kinds:
        op, dtype, group = (texts[code] for (texts, _), code in zip(columns, codes, strict=True))
        numbers.append(said.setdefault((rank, op, dtype, group), len(said)))
    found: Ints = np.array(numbers, dtype=np.int64)[place]
    return found


def _hidden(view: RunView, rank: int, rows: Ints, transfer: Ints) -> Floats:
    """The part of each transfer that ran under compute on this rank; NaN where it lies in no step that tells."""
    segments, account, steps = (view.fact(name).get(rank) for name in ("segments", "account", "steps"))
    table = view.fact("collectives")[rank]
    if segments is None or account is None or steps is None or not len(steps):
        return np.full(len(rows), np.nan)
    exposed = union(Spans(np.asarray(segments["start_ns"]), np.asarray(segments["end_ns"])))
    start, dur, step = (np.asarray(table[name])[rows] for name in ("start_ns", "dur_ns", "step"))
    sent = Spans(start + dur - transfer, start + dur)
    place = np.clip(np.searchsorted(steps["step"], step), 0, len(steps) - 1)
    begun = np.asarray(steps["start_ns"])[place]
    inside = (sent.start >= begun) & (sent.end <= begun + np.asarray(steps["time_ns"])[place])
    tells = (transfer > 0) & inside & np.isin(step, account["step"])
    part: Floats = np.where(tells, 1 - covered(exposed, sent) / np.maximum(transfer, 1), np.nan)
    return part


def _kind(view: RunView, key: _Key) -> tuple[Kind, tuple[int, ...]]:
    """The kind of an operation and the ranks of its group."""
    rank, op, dtype, name, seen = key
    stated = next((group for group in view.ranks[rank].process_groups if group.name == name), None)
    is_pair = op in ("send", "recv")
    ranks = seen if stated is None or not stated.ranks or is_pair else tuple(stated.ranks)
    description = stated.description if stated is not None and not is_pair else ""
    hosts = {view.ranks[one].host if one in view.ranks else None for one in ranks}
    spanned = len(hosts) if None not in hosts else (1 if view.info.nodes == 1 else None)
    label = _label(ranks, description, view.info.world_size)
    return Kind(op, label, len(ranks), spanned, dtype), ranks


def _label(ranks: Sequence[int], description: str, world_size: int) -> str:
    """The dimension of the mesh, the description, or how the ranks lie: so that all groups of one sort stand in one row."""
    if description.startswith("mesh_"):
        return description.removeprefix("mesh_")
    if len(ranks) == world_size:
        return ALL
    if description not in _SAY_NOTHING:
        return description
    strides = {after - before for before, after in pairwise(sorted(ranks))}
    if len(strides) != 1:
        return "some ranks"
    [stride] = strides
    return "neighbouring ranks" if stride == 1 else f"ranks {stride} apart"
