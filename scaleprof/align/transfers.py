"""Which send belongs to which receive: by a number that both ends count alike, by their places in a step, else by complete counts of a step.

torch numbers transfers by process group on each rank alone, sends and receives to all peers in one count: such numbers say the same on no two ranks,
but they say which place in its rank's step a transfer has, also where others were lost. This project's recorder counts by pair and direction, alike
on both ends. Otherwise the transfers of a step are paired in order, if there are as many on both ends as in other steps, and no number is missing.
Outside of all steps only numbers can say that none was lost.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.align.content import FEWEST, NO_CHANCE
from scaleprof.align.said import Rows, Said, distinct_in_order
from scaleprof.intervals import Ints

TRANSFERS = ("send", "recv")
_GAPS = 1.25
"""Numbers that count one direction only are nearly without gaps, but for what was lost."""
Pairs = tuple[Ints, Ints]
"""Of a sender and of a receiver the rows that belong together."""


@dataclass(frozen=True)
class Transfer:
    """One direction between two ranks of a group."""

    group: str
    source: int
    target: int

    @property
    def is_known(self) -> bool:
        """Whether both ends are."""
        return self.source >= 0 and self.target >= 0


@dataclass(frozen=True)
class _Side:
    """The sends, or the receives, of one direction: one entry a row."""

    row: Ints
    step: Ints
    seq: Ints
    dtype: Ints
    bytes: Ints
    is_numbered: bool
    """Whether all transfers of the rank in the group have a number."""
    counts_all: bool
    """Whether these numbers count transfers of several kinds together: they say the same on no other rank."""
    place: Ints
    """Among those to or from the same peer in its step; empty where the numbers do not say it."""
    has_gaps: NDArray[np.bool_]
    """Whether a number is missing in its step."""

    def __len__(self) -> int:
        return len(self.row)


def pairs_of(said: Said) -> Iterator[tuple[Transfer, Pairs, Counter[str]]]:
    """By direction: sends with their receives, and how many rows are left alone by reason."""
    sides: dict[Transfer, dict[str, _Side]] = {}
    for rank in said.tables:
        rows = said.of(rank)
        here = np.flatnonzero(said.is_one_of(rows.op, TRANSFERS))
        by_kind = (rows.group[here].astype(np.int64) << 33) + ((rows.peer[here] + 1) << 1) + (rows.op[here] == said.number("send"))  # fmt: skip
        counts = {group: _Counts(rows, here[rows.group[here] == group]) for group in np.unique(rows.group[here]).tolist()}  # fmt: skip
        for kind in distinct_in_order(by_kind):
            mine = here[by_kind == kind]
            group, peer, is_send = int(rows.group[mine[0]]), int(rows.peer[mine[0]]), bool(kind & 1)
            transfer = Transfer(said.text(group), *((rank, peer) if is_send else (peer, rank)))
            sides.setdefault(transfer, {})["send" if is_send else "recv"] = counts[group].side(mine)
    for transfer, both in sides.items():
        if not transfer.is_known or len(both) < 2:
            reason = "their partners were not read" if transfer.is_known else "they do not say to whom"
            yield transfer, (_NONE, _NONE), Counter({reason: sum(map(len, both.values()))})
            continue
        yield transfer, *_judged(both["send"], both["recv"])


_NONE = np.zeros(0, dtype=np.int64)


class _Counts:
    """What the numbers of a rank's transfers in a group say beyond themselves."""

    def __init__(self, rows: Rows, mine: Ints) -> None:
        self.rows, self.mine = rows, mine
        number, step = rows.seq[mine], rows.step[mine]
        kind = (rows.peer[mine] << 32) + rows.op[mine]
        self.is_numbered = bool(number.min() >= 0)
        self.counts_all, self.place = False, _NONE
        self.has_gaps = np.zeros(len(mine), dtype=np.bool_)
        if not self.is_numbered:
            return
        if len(np.unique(number)) == len(number) and len(np.unique(kind)) > 1:
            self.counts_all = True
            self.place = _places(number, step, kind)
            kind = np.zeros_like(kind)
        _, together = np.unique(np.stack((step, kind)), axis=1, return_inverse=True)
        together = together.ravel()
        order = np.argsort(together, kind="stable")
        first = np.flatnonzero(np.diff(together[order], prepend=-1))
        count = np.diff(np.append(first, len(order)))
        reach = np.maximum.reduceat(number[order], first) - np.minimum.reduceat(number[order], first)
        self.has_gaps = (reach >= count)[together]

    def side(self, rows: Ints) -> _Side:
        """What they say of some of the transfers."""
        here, of = np.searchsorted(self.mine, rows), self.rows
        return _Side(
            rows,
            of.step[rows],
            of.seq[rows],
            of.dtype[rows].astype(np.int64),
            of.bytes[rows],
            self.is_numbered,
            self.counts_all,
            self.place[here] if len(self.place) else _NONE,
            self.has_gaps[here],
        )


def _places(number: Ints, step: Ints, kind: Ints) -> Ints:
    """For each transfer of a rank in a group its place among those to or from the same peer in its step, from numbers that count them all; empty
    where the steps are not alike, or where a place was lost in every step."""
    if (step < 0).any() or (np.diff(number) <= 0).any():
        return _NONE
    steps, first = np.unique(step, return_index=True)
    follow = np.diff(steps) == 1
    if not follow.any():
        return _NONE
    [(length, _)] = Counter(np.diff(number[first])[follow].tolist()).most_common(1)
    shifted = number - length * step
    position = shifted - shifted.min()
    if length <= 0 or (position >= length).any():
        return _NONE
    known, at = np.unique(position, return_index=True)
    pattern = kind[at]
    if len(known) != length or (pattern[position] != kind).any():
        return _NONE
    nth, seen = np.zeros(length, dtype=np.int64), Counter[int]()
    for place, one in enumerate(pattern.tolist()):
        nth[place] = seen[one]
        seen[one] += 1
    places: Ints = nth[position]
    return places


def _paired(sent: _Side, received: _Side) -> Pairs:
    """Places in both sides of what belongs together, in the order of the sends."""
    if not (sent.counts_all or received.counts_all) and all(_counts_this_alone(side.seq) for side in (sent, received)):
        return _joined(sent.seq, received.seq)
    if len(sent.place) and len(received.place):
        wide = 1 + max(int(sent.place.max()), int(received.place.max()))
        return _joined(sent.step * wide + sent.place, received.step * wide + received.place)
    return _complete_steps(sent, received)


def _joined(one: Ints, other: Ints) -> Pairs:
    _, sent, received = np.intersect1d(one, other, return_indices=True)
    order = np.argsort(sent)
    return sent[order], received[order]


def _counts_this_alone(numbers: Ints) -> bool:
    low, high = int(numbers.min()), int(numbers.max())
    return low >= 0 and len(np.unique(numbers)) == len(numbers) and high - low + 1 <= _GAPS * len(numbers) + 2


def _complete_steps(sent: _Side, received: _Side) -> Pairs:
    """Steps in which nothing seems to be lost, in order: both ends have as many as there ever are, if that is the rule; where both ends agree in
    every step, as many as several other steps have, too."""
    steps = np.unique(np.concatenate((sent.step, received.step)))
    rows = [_rows_by(side.step, steps) for side in (sent, received)]
    counts = np.array([[len(of_step) for of_step in side] for side in rows])
    agree = bool((counts[0] == counts[1]).all())
    often = Counter(counts.ravel().tolist())
    usual = max(often)
    whole = {count for count, sides in often.items() if agree and sides >= NO_CHANCE}
    if agree or 2 * often[usual] >= often.total() or often.total() < FEWEST:
        whole.add(usual)
    numbered = sent.is_numbered and received.is_numbered
    pairs = [
        (one, other)
        for step, one, other in zip(steps.tolist(), *rows, strict=True)
        if len(one) == len(other) and len(one) in whole
        if not (sent.has_gaps[one].any() or received.has_gaps[other].any())
        if step >= 0 or numbered
    ]
    return tuple(np.concatenate([_NONE, *side]) for side in zip(*pairs, strict=True)) if pairs else (_NONE, _NONE)  # type: ignore[return-value]


def _rows_by(step: Ints, steps: Ints) -> list[Ints]:
    order = np.argsort(step, kind="stable")
    return np.split(order, np.searchsorted(step[order], steps[1:]))


def _judged(sent: _Side, received: _Side) -> tuple[Pairs, Counter[str]]:
    """Pairs of one size and type in one step, and the rest by reason."""
    left = Counter[str]()
    one, other = _paired(sent, received)
    differ = (sent.dtype[one] != received.dtype[other]) | (sent.bytes[one] != received.bytes[other])
    steps = sent.step[one], received.step[other]
    apart = ~differ & (steps[0] >= 0) & (steps[1] >= 0) & (np.abs(steps[0] - steps[1]) > 1)
    missing = len(sent) + len(received) - 2 * len(one)
    for reason, count in (
        ("both sides of a transfer differ in type or size", 2 * int(differ.sum())),
        ("one number stands in different steps", 2 * int(apart.sum())),
        ("one side of a transfer is missing, or which of several alike ones it was", missing),
    ):
        if count:
            left[reason] = count
    good = ~differ & ~apart
    return (sent.row[one[good]], received.row[other[good]]), left
