"""What changed between two runs, row by row: classes of time, causes of idle time, ranks, collectives, names; each with its chance of being none.

The p of a table's rows are corrected together (Holm), and a row is called changed only where what it changes is worth a word, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scaleprof.align import LEAVES
from scaleprof.analyses.account.idle import GROUPS
from scaleprof.models.contrast import LEVEL, Contrast, compared
from scaleprof.models.statistics import FEWEST_FOR_INTERVAL, Interval, Values
from scaleprof.models.two_samples import holm
from scaleprof.results import RunReport, Table

MOST_TESTED = 60
"""Rows of a table that are tested: those that change most. Every further one would only make the correction stricter."""
Key = tuple[Any, ...]
Answer = Literal[
    "changed", "no change shown", "too small to matter", "too few steps", "only in BASE", "only in NEW", ""
]
Measured = Mapping[Key, Values]
"""What one run says: by key one value a step, in ms."""


@dataclass(frozen=True)
class Row:
    """One thing that both runs, or one of them, spent time on."""

    key: Key
    base_ms: float | None
    """ms a step; None where the run has no such thing."""
    new_ms: float | None
    change: Interval
    p: float | None
    """Corrected for the other rows of its table; None where it was not tested."""
    answer: Answer


def rows_of(base: Sequence[Measured], new: Sequence[Measured], *, least_ms: float) -> list[Row]:
    """Every key of these runs, those that change most first; `least_ms` is the least change worth a word."""
    keys = list(dict.fromkeys(key for run in (*base, *new) for key, values in run.items() if values.any()))
    found: list[tuple[Key, Contrast | None, float | None, float | None]] = []
    for key in keys:
        ours, theirs = ([run[key] for run in runs if len(run.get(key, ()))] for runs in (base, new))
        before, after = (float(np.mean([run.mean() for run in runs])) if runs else None for runs in (ours, theirs))
        found.append((key, compared(ours, theirs) if ours and theirs else None, before, after))
    found.sort(key=lambda one: -abs((one[3] or 0.0) - (one[2] or 0.0)))
    tested = [one[1] for one in found if one[1] is not None][:MOST_TESTED]
    corrected = dict(zip(map(id, tested), holm([one.p for one in tested]), strict=True))
    return [
        Row(
            key,
            before,
            after,
            contrast.change if contrast else Interval((after or 0.0) - (before or 0.0), None, None),
            corrected.get(id(contrast)) if contrast else None,
            _answer(contrast, corrected.get(id(contrast)), len(tested), least_ms)
            if contrast
            else "only in BASE"
            if after is None
            else "only in NEW",
        )
        for key, contrast, before, after in found
    ]


def told(rows: Sequence[Row], most: int) -> list[Row]:
    """Those of which both sides say enough: where a side kept so many rows, it may have left out what takes less than the least of them."""
    kept = [[ms for row in rows if (ms := getattr(row, side)) is not None] for side in ("base_ms", "new_ms")]
    least = [min(times) if len(times) >= most else 0.0 for times in kept]
    return [
        row
        for row in rows
        if (row.base_ms is not None or (row.new_ms or 0.0) > least[0])
        and (row.new_ms is not None or (row.base_ms or 0.0) > least[1])
    ]


def _answer(contrast: Contrast, p: float | None, asked: int, least_ms: float) -> Answer:
    low, high = contrast.change.low, contrast.change.high
    if p is None:
        return ""
    if contrast.least_p * asked > LEVEL or low is None or high is None:
        return "too few steps"
    if p > LEVEL or low <= 0 <= high:
        return "no change shown"
    return "changed" if abs(contrast.change.value) >= least_ms else "too small to matter"


def classes_in(run: RunReport) -> Measured:
    """Classes of time, which add up to the step."""
    return _columns(run, "classes", [(f"{leaf}_ms", (leaf,)) for leaf in LEAVES])


def idle_in(run: RunReport) -> Measured:
    """Idle time by cause."""
    found = _columns(run, "idle", [(f"{group}_ms", (group,)) for group in GROUPS])
    return {key: values for key, values in found.items() if values.any()}


def ranks_in(run: RunReport) -> Measured:
    """What each rank did besides communicating and waiting for it."""
    table = run.by_step.get("ranks", Table({}))
    return _columns(run, "ranks", [(name, (int(name),)) for name in table.columns if name != "step"])


def waits_in(run: RunReport) -> Measured:
    """How long a rank waited for the last one, by operation, bytes and group."""
    return _long(run, "collectives", ("op", "bytes", "group"), "wait_ms")


def transfers_in(run: RunReport) -> Measured:
    """How long a rank's transfers took, by operation, bytes and group."""
    return _long(run, "collectives", ("op", "bytes", "group"), "transfer_ms")


def busy_in(run: RunReport) -> Measured:
    """How long operations were in progress, by operation, bytes and group: waiting and transfer, hidden or not."""
    return _long(run, "collectives", ("op", "bytes", "group"), "busy_ms")


def counts_in(run: RunReport) -> dict[Key, float]:
    """How often a rank takes part in an operation in a step."""
    return {
        key: float(values.mean())
        for key, values in _long(run, "collectives", ("op", "bytes", "group"), "count").items()
    }


def names_in(run: RunReport) -> Measured:
    """The names that took most time, by name and class."""
    return _long(run, "names", ("name", "kind"), "ms")


def step_times(run: RunReport) -> Values:
    """Times of the steady steps in ms, mean over ranks, in order; empty where the report has none."""
    for section in run.sections:
        table = section.tables.get("steps")
        if section.name == "steps" and table is not None and {"time_ms", "steady"} <= set(table.columns):
            times = np.array([np.nan if one is None else one for one in table["time_ms"]], dtype=np.float64)
            steady = np.asarray(table["steady"], dtype=bool)
            chosen: Values = times[steady & np.isfinite(times)]
            return chosen
    return np.zeros(0)


def is_enough(times: Values) -> bool:
    """Whether so many steps can have an interval."""
    return len(times) >= FEWEST_FOR_INTERVAL


def _columns(run: RunReport, name: str, wanted: Sequence[tuple[str, Key]]) -> dict[Key, Values]:
    table = run.by_step.get(name)
    if table is None:
        return {}
    return {key: np.asarray(table[column], dtype=np.float64) for column, key in wanted if column in table.columns}


def _long(run: RunReport, name: str, keys: Sequence[str], value: str) -> dict[Key, Values]:
    """A table with a row for each key and step."""
    table = run.by_step.get(name)
    if table is None:
        return {}
    found: dict[Key, list[float]] = {}
    for key, ms in zip(zip(*(list(table[one]) for one in keys), strict=True), list(table[value]), strict=True):
        found.setdefault(tuple(key), []).append(float(ms))
    return {key: np.array(values) for key, values in found.items()}
