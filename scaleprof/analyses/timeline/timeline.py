"""Steps of some ranks on one clock, drawn: what the host did, what was computed, what was sent, and how long each operation only waited."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scaleprof.align import LEAVES, RunView
from scaleprof.analyses.account.time import NEEDS as TIME_NEEDS
from scaleprof.analyses.account.time import SAME, spoken
from scaleprof.analyses.account.work import work
from scaleprof.analyses.base import Analysis, duration, leaf_labels, listed, many, percent
from scaleprof.analyses.replay.chains import chains
from scaleprof.analyses.stragglers.arrivals import arrivals
from scaleprof.analyses.timeline.choice import ALIKE, ShownStep, comparable, ranks_shown, shares_of, steps_shown
from scaleprof.analyses.timeline.path import with_path
from scaleprof.analyses.timeline.slices import COLORS, Row, slices
from scaleprof.analyses.timeline.thinning import Drawn, shared_out
from scaleprof.intervals import Ints
from scaleprof.results import Result, Table
from scaleprof.trace import UNKNOWN

Windows = Mapping[int, Mapping[int, tuple[int, int]]]
"""By rank and step, where the step begins and ends on the rank's own clock."""


def conclude(view: RunView, options: None) -> Result | None:
    """The picture of the typical step, the slowest and the fastest; None where no profiler saw a whole step."""
    tables = view.fact("slices")
    windows = {rank: _windows(table) for rank, table in sorted(tables.items()) if len(table)}
    if not windows:
        return None
    times: dict[int, dict[int, float]] = {}
    for rank, steps in windows.items():
        for step, (start, end) in steps.items():
            times.setdefault(step, {})[rank] = (end - start) / 1e6
    known = comparable(view, times)
    shown = steps_shown(known, {step: len(windows) - len(of) for step, of in times.items()})
    ranks, stragglers = ranks_shown(view, [rank for rank in windows if any(one.step in windows[rank] for one in shown)])
    drawn, untold, origins = _on_one_clock(view, tables, {rank: windows[rank] for rank in ranks}, shown)
    if not untold:
        drawn = with_path(view, drawn, shown, origins)
    return Result(
        "timeline",
        "Timeline",
        _headline(view, shown, len(known), len(times[shown[0].step])),
        tables={"timeline_steps": _steps_table(view, shown, times)},
        caveats=(*_of_clocks(untold, len(ranks)), *_of_ranks(view, ranks, stragglers, windows, shown)),
        timeline=drawn,
    )


def _windows(table: Table) -> dict[int, tuple[int, int]]:
    numbers, first = np.unique(table["step"], return_index=True)
    start, end = (np.asarray(table[f"window_{side}_ns"])[first].tolist() for side in ("start", "end"))
    return dict(zip(numbers.tolist(), zip(start, end, strict=True), strict=True))


def _on_one_clock(
    view: RunView, tables: Mapping[int, Table], windows: Windows, shown: Sequence[ShownStep]
) -> tuple[Table, list[int], dict[int, int]]:
    """All slices, each in ms from the first beginning of its step, the ranks whose clock cannot be compared, and by step that beginning."""
    parts = []
    origins: dict[int, int] = {}
    untold: set[int] = set()
    operations = {rank: _operations(view, rank) for rank in windows}
    kept = {rank: {one.step: np.flatnonzero(np.asarray(tables[rank]["step"]) == one.step) for one in shown} for rank in windows}  # fmt: skip
    budgets = {
        rank: dict(zip(of, shares_of([len(rows) for rows in of.values()], len(windows)), strict=True))
        for rank, of in kept.items()
    }
    for one in shown:
        here = {rank: windows[rank][one.step] for rank in windows if one.step in windows[rank]}
        starts = {rank: _on_clock_of_run(view, rank, start) for rank, (start, _) in here.items()}
        untold |= {rank for rank, start in starts.items() if start is None}
        origin = origins[one.step] = min((start for start in starts.values() if start is not None), default=0)
        for rank, (at, end) in here.items():
            own = starts[rank]
            shift = (own - origin if own is not None else 0) - at
            part = _thin(tables[rank], kept[rank][one.step], budgets[rank][one.step])
            parts.append(_columns(one, rank, (at + shift, end + shift), shift, tables[rank], part, operations[rank]))
    return (
        Table({name: [value for part in parts for value in part[name]] for name in parts[0]}),
        sorted(untold),
        origins,
    )


def _on_clock_of_run(view: RunView, rank: int, at: int) -> int | None:
    clock = view.clocks.of_rank.get(rank)
    ahead = clock.offset_at(at) if clock is not None else None
    return None if ahead is None else at - ahead


def _thin(table: Table, rows: Ints, budget: int) -> list[tuple[Row, Drawn]]:
    """Slices of one step of one rank within a budget; their names are rows of the table."""
    start = np.asarray(table["start_ns"])
    whole = Drawn(
        depth=np.asarray(table["depth"], dtype=np.int64),
        start=start,
        end=start + np.asarray(table["dur_ns"]),
        name=np.arange(len(table)),
        color=np.asarray(table["color"], dtype=np.int64),
        operation=np.asarray(table["operation"]),
        count=np.asarray(table["count"]),
    )
    places = (Row.COMMUNICATION, Row.COMPUTE, Row.HOST)
    parts = [whole.picked(rows[np.asarray(table["row"])[rows] == place]) for place in places]
    length = int(whole.end[rows].max() - start[rows].min())
    thin = shared_out(parts, budget, length)
    return [
        (place, part.picked(np.lexsort((part.start, part.depth)))) for place, part in zip(places, thin, strict=True)
    ]


def _columns(
    one: ShownStep, rank: int, window: tuple[int, int], shift: int, table: Table, parts: Iterable[tuple[Row, Drawn]],
    operations: tuple[list[float | None], list[int | None], list[int | None]],
) -> dict[str, list[Any]]:  # fmt: skip
    """What is drawn of a rank in a step: `shift` leads from its clock to the picture's."""
    columns: dict[str, list[Any]] = {}
    waits, numbers, sizes = operations
    for place, part in parts:
        names = [table["name"][row] for row in part.name.tolist()]
        of = part.operation.tolist()
        for name, values in {
            "step": [one.step] * len(part),
            "step_label": [one.label] * len(part),
            "rank": [rank] * len(part),
            "row": [int(place)] * len(part),
            "depth": part.depth.tolist(),
            "start_ms": ((part.start + shift) / 1e6).round(6).tolist(),
            "dur_ms": ((part.end - part.start) / 1e6).round(6).tolist(),
            "wait_ms": [waits[row] if row >= 0 else None for row in of],
            "name": [name if count == 1 else f"{count:,} events" for name, count in zip(names, part.count.tolist(), strict=True)],
            "color": [COLORS[color] for color in part.color.tolist()],
            "operation": [numbers[row] if row >= 0 else None for row in of],
            "bytes": [sizes[row] if row >= 0 else None for row in of],
            "step_from_ms": [round(window[0] / 1e6, 6)] * len(part),
            "step_to_ms": [round(window[1] / 1e6, 6)] * len(part),
        }.items():  # fmt: skip
            columns.setdefault(name, []).extend(values)
    return columns


def _operations(view: RunView, rank: int) -> tuple[list[float | None], list[int | None], list[int | None]]:
    """For each operation of a rank how long it waited (ms), its number across ranks and its bytes; None for what is not known."""
    collectives, wait = view.fact("collectives").get(rank), view.exchange.wait_ns.get(rank)
    if collectives is None:
        return [], [], []
    numbers = view.matching.of_row[rank]
    waits = np.full(len(collectives), UNKNOWN, dtype=np.int64) if wait is None else wait
    return (
        [round(ns / 1e6, 6) if ns != UNKNOWN else None for ns in waits.tolist()],
        [number if number != UNKNOWN else None for number in numbers.tolist()],
        [int(size) if size >= 0 else None for size in collectives["bytes"]],
    )


def _headline(view: RunView, shown: Sequence[ShownStep], known: int, ranks: int) -> str:
    """How long the first step is and where most of it goes over all ranks; what the slowest does longer."""
    first, *others = shown
    role = f", the {first.role} one," if first.role else ""
    words = f"Step {first.step}{role} takes {duration(first.time_ms)} on {many(ranks, 'rank')}"
    means = _means_ms(view, [first.step])
    whole = sum(means.values())
    if whole:
        labels = leaf_labels(means)
        lost = max((leaf for leaf in labels if leaf != "compute"), key=lambda leaf: means[leaf])
        words += f": {percent(means['compute'] / whole)} compute, {percent(means[lost] / whole)} {spoken(labels[lost])}"
    return words + (f"; {_compared(view, first, others[0], known)}" if others else "")


def _compared(view: RunView, first: ShownStep, slow: ShownStep, known: int) -> str:
    """What the slow step does longer, by the same account, where it is longer at all."""
    which = f"step {slow.step}, the {slow.role}{f' of {known}' if known > 2 else ' one'},"
    longer = slow.time_ms - first.time_ms
    if longer < ALIKE * first.time_ms:
        share = longer / first.time_ms
        return f"{which} takes " + ("as long" if share < SAME else f"only {percent(share)} longer")
    both = _ranks_in(view, first.step) & _ranks_in(view, slow.step)
    before, after = (_means_ms(view, [one.step], both) for one in (first, slow))
    labels = leaf_labels(before, after) if both else {}
    words = f"{which} takes {duration(longer)} longer"
    if not labels:
        return words
    most = max(labels, key=lambda leaf: after[leaf] - before[leaf])
    return f"{words}, with {duration(after[most] - before[most])} more {spoken(labels[most])}"


def _ranks_in(view: RunView, step: int) -> set[int]:
    return set(np.asarray(view.leaves["rank"])[np.asarray(view.leaves["step"]) == step].tolist())


def _means_ms(view: RunView, steps: Sequence[int], ranks: Iterable[int] | None = None) -> dict[str, float]:
    """The account of these steps by leaf, mean over ranks; zeros where there is none."""
    rows = view.leaves
    here = np.isin(rows["step"], steps)
    if ranks is not None:
        here &= np.isin(rows["rank"], sorted(ranks))
    count = max(int(here.sum()), 1)
    return {leaf: float(np.asarray(rows[f"{leaf}_ns"])[here].sum()) / count / 1e6 for leaf in LEAVES}


def _steps_table(view: RunView, shown: Sequence[ShownStep], times: Mapping[int, Mapping[int, float]]) -> Table:
    """The steps that can be chosen: median time over ranks, and the account's parts, mean over ranks."""
    rows = []
    for one in shown:
        means = _means_ms(view, [one.step])
        rows.append(
            [one.step, one.role, len(times[one.step]), *(round(ms, 6) for ms in (one.time_ms, *means.values()))]
        )
    return Table.of_rows(("step", "shown_as", "ranks", "time_ms", *(f"{leaf}_ms" for leaf in LEAVES)), rows)


def _of_clocks(untold: Sequence[int], ranks: int) -> list[str]:
    if not untold or ranks < 2:
        return []
    which = many(len(untold), "rank")
    return [f"the clock of {which} cannot be compared: each is drawn from the beginning of its own step"]


def _of_ranks(
    view: RunView, ranks: Sequence[int], stragglers: Sequence[int], windows: Windows, shown: Sequence[ShownStep]
) -> list[str]:
    """Which ranks are not drawn, and where one of them is missing."""
    caveats = []
    none = [rank for rank in view.ranks if not any(one.step in windows.get(rank, {}) for one in shown)]
    if len(ranks) < len(view.ranks) - len(none):
        named = f"straggler{'' if len(stragglers) == 1 else 's'} {listed(stragglers)}, " if stragglers else ""
        caveats.append(
            f"{len(ranks)} of {many(len(view.ranks), 'rank')} shown: {named}those that wait least and most on average, and some evenly between"
        )
    if none:
        caveats.append(f"no profiler saw any of these steps whole on {_named(none)}: not drawn")
    for one in shown:
        lacking = [rank for rank in ranks if one.step not in windows[rank]]
        if lacking:
            caveats.append(f"no profiler saw step {one.step} whole on {_named(lacking)}")
    return caveats


def _named(ranks: Sequence[int]) -> str:
    return f"rank{'' if len(ranks) == 1 else 's'} {listed(ranks)}"


TIMELINE = Analysis(
    "timeline", {**TIME_NEEDS, "arrivals": arrivals, "work": work, "slices": slices, "chains": chains}, conclude
)
