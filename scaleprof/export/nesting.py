"""Which track each slice of a lane goes to, so that on one track every slice either lies inside another or beside it.

Viewers drop a slice that begins inside another one and ends outside. Sources have such: kernels that a stream runs side by side, threads that a
runtime shares, times that were rounded. Where a lane nests already, which is the rule, it stays one track and no loop runs.
"""

import heapq

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints

MOST_TRIED = 256
"""Tracks on which a slice is tried one after the other. Without an end to that, time would grow with the square of the slices."""


def in_order(start: Ints, end: Ints, level: Ints) -> Ints:
    """The order in which slices of one track are written: by start, the one that holds the other first; of equal ones by level, then as they came."""
    order: Ints = np.lexsort((level, start - end, start))
    return order


def nests(start: Ints, end: Ints) -> bool:
    """Whether slices, in order, form a tree. They do exactly if each closes at the depth at which it opened.

    Of those that do not, take the one that closes first while a later one is open: no earlier one closed inside it, so that it closes deeper.
    """
    some = end > start  # an empty slice lies inside whatever is open
    start, end = start[some], end[some]
    count = len(start)
    if count < 2:
        return True
    place = np.arange(count)
    # At one time all closing comes first, what opened last before the others; then all opening, in order.
    when, opens = np.concatenate((end, start)), np.repeat([0, 1], count)
    order = np.lexsort((np.concatenate((-place, place)), opens, when))
    change = np.where(opens[order] == 1, 1, -1)
    depth = np.cumsum(change)
    at = np.empty(2 * count, dtype=np.int64)
    at[order] = depth
    return bool((at[:count] == at[count:] - 1).all())


def tracks_of(start: Ints, end: Ints, split: Ints) -> Ints:
    """For each slice, in order, the number of the first track on which it nests.

    `split`: where a slice is divided into two that fill it, so that nothing may lie across; its start where it is not.
    """
    track = np.zeros(len(start), dtype=np.int64)
    if nests(start, end) and not _cuts(start, end, split):
        return track
    open_on: list[list[tuple[int, int]]] = []
    alone: list[tuple[int, int]] = []  # on each further track one slice at a time: when that ends, and the track
    # Each slice depends on those that were placed before it.
    for place, (begins, ends, cut) in enumerate(zip(start.tolist(), end.tolist(), split.tolist(), strict=True)):
        for number in range(MOST_TRIED + 1):
            if number == MOST_TRIED:
                track[place] = heapq.heappop(alone)[1] if alone and alone[0][0] <= begins else number + len(alone)
                heapq.heappush(alone, (ends, int(track[place])))
                break
            if number == len(open_on):
                open_on.append([])
            stack = open_on[number]
            while stack and stack[-1][0] <= begins:
                stack.pop()
            if not stack or (ends <= stack[-1][0] and not begins < stack[-1][1] < ends):
                stack.append((ends, cut))
                track[place] = number
                break
    return track


def _cuts(start: Ints, end: Ints, split: Ints) -> bool:
    """Whether any slice may lie across the division of another; nearly never, and then the loop decides."""
    divided = np.flatnonzero((split > start) & (split < end))
    if not len(divided) or len(start) == len(divided) == 1:
        return False
    # Slices inside divided ones that follow directly are found without a loop: none begins before the divided one's end.
    following = np.minimum(divided + 1, len(start) - 1)
    inside: NDArray[np.bool_] = (following > divided) & (start[following] < end[divided])
    return bool(inside.any())
