"""One step of some ranks on one clock, drawn: what the host did, what was computed, what was sent, and how long each operation only waited."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from scaleprof.align import LEAVES, RunView
from scaleprof.analyses.base import LEAF_LABELS, Analysis, duration, many, percent
from scaleprof.analyses.slices import slices
from scaleprof.analyses.time import NEEDS as TIME_NEEDS
from scaleprof.intervals import Ints
from scaleprof.results import Result, Table
from scaleprof.trace import UNKNOWN

MOST_RANKS = 16
"""Ranks that are drawn."""


def conclude(view: RunView, options: None) -> Result | None:
    """The picture of the step that most ranks have drawn; None where no profiler saw a whole step."""
    tables = {rank: table for rank, table in view.fact("slices").items() if len(table)}
    if not tables:
        return None
    [(step, _)] = Counter(int(table["step"][0]) for table in tables.values()).most_common(1)
    tables = {rank: table for rank, table in tables.items() if int(table["step"][0]) == step}
    ranks = chosen_ranks(view, sorted(tables), step)
    drawn, untold = _on_one_clock(view, {rank: tables[rank] for rank in ranks})
    caveats = []
    if untold and len(ranks) > 1:
        which = many(len(untold), "rank")
        caveats.append(f"the clock of {which} cannot be compared: each is drawn from the beginning of its own step")
    if len(ranks) < len(view.ranks):
        caveats.append(
            f"{many(len(ranks), 'rank')} of {len(view.ranks)} are drawn: those that wait most and least, and some between"
        )
    return Result(
        "timeline", "Timeline of one step", _headline(view, step, ranks), caveats=tuple(caveats), timeline=drawn
    )


def chosen_ranks(view: RunView, ranks: Sequence[int], step: int) -> list[int]:
    """All of them if they are few; else those that wait longest and shortest in that step, and others evenly between."""
    if len(ranks) <= MOST_RANKS:
        return list(ranks)
    rows = view.leaves
    here = np.asarray(rows["step"]) == step
    of_rank = dict(
        zip(np.asarray(rows["rank"])[here].tolist(), np.asarray(rows["exposed_comm_ns"])[here].tolist(), strict=True)
    )
    by_wait = sorted((rank for rank in ranks if rank in of_rank), key=lambda rank: of_rank[rank])
    quarter = MOST_RANKS // 4
    found = {*by_wait[:quarter], *by_wait[-quarter:]}
    for place in np.linspace(0, len(ranks) - 1, MOST_RANKS).round().astype(int).tolist():
        if len(found) < MOST_RANKS:
            found.add(ranks[place])
    return sorted(found)


def _on_one_clock(view: RunView, tables: Mapping[int, Table]) -> tuple[Table, list[int]]:
    """All slices in ms from the first beginning of the step, and the ranks whose clock cannot be compared."""
    starts, untold = {}, []
    for rank, table in tables.items():
        at = int(table["window_start_ns"][0])
        clock = view.clocks.of_rank.get(rank)
        ahead = clock.offset_at(at) if clock is not None else None
        starts[rank] = None if ahead is None else at - ahead
        if ahead is None:
            untold.append(rank)
    known = [start for start in starts.values() if start is not None]
    origin = min(known, default=0)
    columns: dict[str, list[object]] = {}
    for rank, table in tables.items():
        at, on_clock = int(table["window_start_ns"][0]), starts[rank]
        shift = (on_clock - origin if on_clock is not None else 0) - at
        waits, numbers, sizes = _of_operations(view, rank, np.asarray(table["operation"]))
        for name, values in {
            "rank": [rank] * len(table),
            "row": table["row"].tolist(),
            "depth": table["depth"].tolist(),
            "start_ms": ((np.asarray(table["start_ns"]) + shift) / 1e6).round(6).tolist(),
            "dur_ms": (np.asarray(table["dur_ns"]) / 1e6).round(6).tolist(),
            "wait_ms": waits,
            "name": list(table["name"]),
            "color": list(table["color"]),
            "operation": numbers,
            "bytes": sizes,
            "step_from_ms": [round((at + shift) / 1e6, 6)] * len(table),
            "step_to_ms": [round((int(table["window_end_ns"][0]) + shift) / 1e6, 6)] * len(table),
        }.items():
            columns.setdefault(name, []).extend(values)
    return Table(dict(columns)), untold


def _of_operations(
    view: RunView, rank: int, rows: Ints
) -> tuple[list[float | None], list[int | None], list[int | None]]:
    """For each slice how long its operation waited (ms), its number across ranks and its bytes; None for what is none, or not known."""
    table, collectives = view.matches, view.fact("collectives").get(rank)
    here = np.flatnonzero(np.asarray(table["rank"]) == rank)
    number = dict(
        zip(np.asarray(table["row"])[here].tolist(), np.asarray(table["collective"])[here].tolist(), strict=True)
    )
    wait = view.exchange.wait_ns.get(rank)
    waits: list[float | None] = []
    numbers: list[int | None] = []
    sizes: list[int | None] = []
    for row in rows.tolist():
        known = row >= 0 and wait is not None and wait[row] != UNKNOWN
        waits.append(round(int(wait[row]) / 1e6, 6) if known and wait is not None else None)
        numbers.append(number.get(row) if row >= 0 else None)
        size = int(collectives["bytes"][row]) if row >= 0 and collectives is not None else UNKNOWN
        sizes.append(size if size >= 0 else None)
    return waits, numbers, sizes


def _headline(view: RunView, step: int, ranks: Sequence[int]) -> str:
    """How long the step was and where most of it went, over the ranks that are drawn."""
    rows = view.leaves
    here = (np.asarray(rows["step"]) == step) & np.isin(rows["rank"], ranks)
    window = int(np.asarray(rows["window_ns"])[here].sum())
    if not window:
        return f"Step {step} on {many(len(ranks), 'rank')}"
    sums = {leaf: int(np.asarray(rows[f"{leaf}_ns"])[here].sum()) for leaf in LEAVES}
    lost = max((leaf for leaf in LEAVES if leaf != "compute"), key=lambda leaf: sums[leaf])
    length = duration(window / int(here.sum()) / 1e6)
    return (
        f"Step {step} takes {length} on {many(len(ranks), 'rank')}: {percent(sums['compute'] / window)} compute, "
        f"{percent(sums[lost] / window)} {LEAF_LABELS[lost].lower()}"
    )


TIMELINE = Analysis("timeline", {**TIME_NEEDS, "slices": slices}, conclude)
