"""Where most of a change lies, in words: the class of time, the rank that brings it about, and the collective or cause behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.analyses.account.time import spoken
from scaleprof.analyses.base import LEAF_LABELS, duration, percent
from scaleprof.analyses.changes.rows import Key, Row
from scaleprof.analyses.communication.links_chart import size_words
from scaleprof.results import RunReport

STANDS_OUT = 0.5
"""Of the change of the step: a rank is named whose own time changes by more, and that by so much more than the median of the ranks'."""
NEARLY = 0.05
_OWN = {"compute": "compute", "exposed_memory": "memory copying", "idle": "idle time"}
"""Classes of a rank's own time, in words."""
_IDLE_WORDS = {
    "input": "waiting for input",
    "sync": "hosts that wait for their device",
    "launch": "launching work",
    "alloc": "allocating memory",
    "compile": "loading and compiling",
    "gc": "garbage collection",
    "checkpoint": "checkpoints",
}


@dataclass(frozen=True)
class Tables:
    """The rows of one pair, by what they are about; times in ms a step."""

    classes: Sequence[Row]
    idle: Sequence[Row]
    ranks: Sequence[Row]
    waits: Sequence[Row]
    transfers: Sequence[Row]


@dataclass(frozen=True)
class Cause:
    """What most of the change is."""

    words: str
    """`80 % of it is exposed transfer in all_reduce (26.2 MB, all ranks)`."""
    leaf: str
    """The class of time: of the rank's own, where it is one rank's doing."""
    share: float
    """Of the change of the step; above 1 where other things make up for it."""
    rank: int | None
    """The rank that brings it about, where it is one."""


def cause_of(tables: Tables, base: Sequence[RunReport], new: Sequence[RunReport]) -> Cause | None:
    """The rank behind the change, else the class that changed most in its direction; None where there is no account, or nothing changed.

    What one rank does longer is waiting on the others, and transfer that nothing hides any more: the classes alone do not show that it is one thing.
    """
    total = sum(row.change.value for row in tables.classes)
    if not tables.classes or not total:
        return None
    sign = 1.0 if total > 0 else -1.0
    by_rank = _standing_out(tables, base, new, total)
    if by_rank is not None:
        return by_rank
    parts = {str(row.key[0]): sign * row.change.value for row in tables.classes}
    worst = max(parts, key=lambda leaf: parts[leaf])
    share = parts[worst] / abs(total)
    less = "" if sign > 0 else "less "
    named = spoken(LEAF_LABELS[worst]).removeprefix("the ")
    more = ", for which other things make up in part" if share > 1 + NEARLY else ""
    return Cause(f"{_part(share)} {less}{named}{_behind(worst, tables, sign)}{more}", worst, share, None)


def _part(share: float) -> str:
    if share > 1 + NEARLY:
        return "more than all of it is"
    return "nearly all of it is" if share >= 1 - NEARLY else f"{percent(share)} of it is"


def _standing_out(tables: Tables, base: Sequence[RunReport], new: Sequence[RunReport], total: float) -> Cause | None:
    """The rank whose own time changes so much more than the others' that the change is its doing."""
    sign = 1.0 if total > 0 else -1.0
    changes = {
        int(row.key[0]): sign * row.change.value
        for row in tables.ranks
        if row.base_ms is not None and row.new_ms is not None
    }
    if len(changes) < 2:
        return None
    rank = max(changes, key=lambda one: changes[one])
    others = float(np.median([change for one, change in changes.items() if one != rank]))
    share = (changes[rank] - others) / abs(total)
    if share <= STANDS_OUT:
        return None
    leaf, ms = _most_changed(_leaves_of_rank(base, rank), _leaves_of_rank(new, rank), sign)
    longer = "longer" if sign > 0 else "less"
    behind = _behind("idle", tables, sign) if leaf == "idle" else ""
    why = f": its {_OWN[leaf]}{behind}{',' if behind else ''} takes {duration(ms)} {longer} a step" if leaf else ""
    where = _behind("exposed_wait", tables, sign)
    waits = f", and the others wait {'' if sign > 0 else 'less '}for it{where}" if where else ""
    part = "nearly all of it" if share >= 1 - NEARLY else f"{percent(share)} of it"
    return Cause(f"{part} is the doing of rank {rank}{why}{waits}", leaf or "exposed_wait", share, rank)


def _most_changed(before: Mapping[str, float], after: Mapping[str, float], sign: float) -> tuple[str, float]:
    """The class of a rank's own time that changed most in this direction, and by how much; empty where none did."""
    changes = {leaf: sign * (after[leaf] - before[leaf]) for leaf in _OWN if leaf in before and leaf in after}
    leaf = max(changes, key=lambda one: changes[one], default="")
    return (leaf, changes[leaf]) if leaf and changes[leaf] > 0 else ("", 0.0)


def _behind(leaf: str, tables: Tables, sign: float) -> str:
    """The collective, or the cause of idle time, that most of it belongs to."""
    rows = {"exposed_wait": tables.waits, "exposed_transfer": tables.transfers, "idle": tables.idle}.get(leaf, ())
    if not rows:
        return ""
    worst = max(rows, key=lambda row: sign * row.change.value)
    if sign * worst.change.value <= 0:
        return ""
    if leaf == "idle":
        words = _IDLE_WORDS.get(str(worst.key[0]))
        return f", mostly {words}" if words else ""
    return f" in {kind_words(worst.key)}"


def kind_words(key: Key) -> str:
    """`all_reduce (26.2 MB, all ranks)`."""
    op, size, group = key
    about = [part for part in (size_words(size) if size is not None and size > 0 else "", str(group)) if part]
    return f"{op} ({', '.join(about)})" if about else str(op)


def _leaves_of_rank(runs: Sequence[RunReport], rank: int) -> Mapping[str, float]:
    """Classes of time of one rank in ms a step, mean over the runs that have them."""
    found: dict[str, list[float]] = {}
    for run in runs:
        table = next((section.tables.get("time") for section in run.sections if section.name == "time"), None)
        rows = [] if table is None else [dict(zip(table.columns, row, strict=True)) for row in table.rows()]
        for row in rows:
            for leaf in _OWN if row.get("rank") == rank else ():
                if row.get(f"{leaf}_ms") is not None:
                    found.setdefault(leaf, []).append(float(row[f"{leaf}_ms"]))
    return {leaf: float(np.mean(values)) for leaf, values in found.items()}
