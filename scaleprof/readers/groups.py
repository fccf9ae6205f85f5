"""Process groups with all their ranks: from what a file says of its job (`pg_config`), and from what its collectives say of themselves.

torch cuts lists of more than 30 ranks short (`[0, 1, 2, ..., ...]`) where a collective says them: the job's own list has them all. Where that
is absent, a list goes on as it began if it has one stride, and the group of all ranks is known by its size. What is left has no ranks.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from scaleprof.readers.base import CommNote
from scaleprof.readers.schema import whole
from scaleprof.run import MOST_RANKS, ProcessGroup

_FEWEST_OF_A_STRIDE = 8
"""Ranks that must be listed before a stride is believed."""


def configured_groups(config: Any, world_size: int | None) -> tuple[ProcessGroup, ...]:
    """The process groups of `pg_config`; one that is listed twice counts once."""
    groups: dict[tuple[str, tuple[int, ...]], ProcessGroup] = {}
    for one in config if isinstance(config, list) else ():
        if not isinstance(one, dict):
            continue
        name, members = str(one.get("pg_name", "")), members_of(one.get("ranks"), whole(one.get("pg_size")), world_size)
        groups.setdefault(
            (name, members),
            ProcessGroup(name, members, str(one.get("pg_desc") or ""), str(one.get("backend_config") or "")),
        )
    return tuple(groups.values())


def with_groups_of(
    groups: Sequence[ProcessGroup], notes: Iterable[CommNote], world_size: int | None
) -> tuple[ProcessGroup, ...]:
    """The groups, and those that only collectives speak of."""
    known = {group.name for group in groups}
    found: dict[tuple[str, tuple[int, ...]], ProcessGroup] = {}
    for name, listed, size in dict.fromkeys((note.group, note.ranks, note.group_size) for note in notes):
        if name and listed and name not in known:
            members = members_of(listed, size, world_size)
            if members:
                found.setdefault((name, members), ProcessGroup(name, members))
    return (*groups, *found.values())


def members_of(listed: Any, size: int, world_size: int | None) -> tuple[int, ...]:
    """All ranks of a group, from a list or its text; empty where the list is cut short and nothing says how it goes on."""
    if isinstance(listed, str):
        shown = tuple(int(number) for number in re.findall(r"\b\d{1,7}\b", listed))
        is_cut = "..." in listed
    else:
        given = listed if isinstance(listed, list) else []
        shown = tuple(rank for rank in given if isinstance(rank, int) and not isinstance(rank, bool))
        is_cut = len(shown) < len(given)
    if len(shown) >= size and not is_cut:
        return shown
    if size > MOST_RANKS:
        return ()
    if size == world_size:
        return tuple(range(size))
    strides = {after - before for before, after in pairwise(shown)}
    if len(shown) < _FEWEST_OF_A_STRIDE or len(strides) != 1 or size <= len(shown):
        return ()
    members = tuple(shown[0] + place * (shown[1] - shown[0]) for place in range(size))
    fits = 0 <= members[-1] < (world_size or MOST_RANKS)
    return members if fits else ()
