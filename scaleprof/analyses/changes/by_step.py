"""What each steady step of a run was, small enough to be saved: what a comparison of two runs tests on, since totals say nothing of chance.

Tables by name, each with a column `step`; times in ms. `classes`, `idle` and `collectives` are means over the ranks that were read. More than
`MOST_ROWS` steps are averaged over neighbours, so that a row may stand for several, the first of which it names.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from scaleprof.align import LEAVES, RunView
from scaleprof.align.waiting import PARTS
from scaleprof.analyses.account.idle import GROUPS, idle_of
from scaleprof.analyses.account.steps import steady_steps
from scaleprof.analyses.account.time import leaves_of
from scaleprof.analyses.communication.collectives import group_labels
from scaleprof.intervals import Ints
from scaleprof.models.statistics import Values
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN

MOST_ROWS = 400
MOST_CELLS = 100_000
"""Of the table by rank; with more ranks fewer steps are told apart."""
FEWEST_ROWS = 20
"""With so many ranks that not even this many steps are left, ranks are not compared."""
MOST_KINDS = 40
"""Of collectives: those in progress longest."""
_DIGITS = 6  # of a ms: that is a ns


def by_step_of(view: RunView) -> dict[str, Table]:
    """The tables that can be made of this run; none where no steady step was accounted."""
    leaves = leaves_of(view)
    if leaves is None or not leaves.steady:
        return {}
    rank, step = np.asarray(leaves.rows["rank"]), np.asarray(leaves.rows["step"])
    steps, counts = np.unique(step, return_counts=True)
    steps = steps[counts == len(np.unique(rank))]
    if not len(steps):
        return {}
    keep = np.isin(step, steps)
    order = np.flatnonzero(keep)[np.lexsort((rank[keep], step[keep]))]
    rows = Table({name: np.asarray(column)[order] for name, column in leaves.rows.columns.items()})
    found = {
        "classes": _classes(steps, rows),
        "ranks": _ranks(steps, rows),
        "idle": _idle(view),
        "collectives": _collectives(view, steps),
        "names": _names(view),
    }
    return {name: table for name, table in found.items() if table is not None}


def _cells(steps: Ints, rows: Table, name: str) -> Values:
    """A column in ms, by step and rank."""
    grid: Values = np.asarray(rows[f"{name}_ns"]).reshape(len(steps), -1) / 1e6
    return grid


def _classes(steps: Ints, rows: Table) -> Table:
    """Classes of time, means over ranks."""
    columns = {f"{name}_ms": _cells(steps, rows, name).mean(axis=1) for name in ("window", *LEAVES)}
    return _table(steps, columns, MOST_ROWS)


def _ranks(steps: Ints, rows: Table) -> Table | None:
    """What each rank did besides communicating and waiting for it, a column each."""
    ranks = np.unique(rows["rank"]).tolist()
    most = MOST_CELLS // len(ranks)
    if len(ranks) < 2 or most < FEWEST_ROWS:
        return None
    own = _cells(steps, rows, "window") - np.sum([_cells(steps, rows, part) for part in PARTS], axis=0)
    return _table(steps, {str(rank): own[:, place] for place, rank in enumerate(ranks)}, min(most, MOST_ROWS))


def _idle(view: RunView) -> Table | None:
    """Idle time by cause, as `idle.<cause>_share` has them."""
    found = idle_of(view)
    if found is None:
        return None
    common = _common(list(found.steps.values()))
    cells = np.zeros((len(common), len(GROUPS)))
    for rank, causes in found.by_rank.items():
        here = causes[np.searchsorted(found.steps[rank], common)]
        cells += np.array([list(found.groups(row).values()) for row in here]).reshape(cells.shape) / 1e6
    cells /= len(found.by_rank)
    columns = {f"{name}_ms": cells[:, place] for place, name in enumerate(GROUPS)}
    return _table(common, columns, MOST_ROWS) if len(common) else None


_Key = tuple[str, int, str]


def _collectives(view: RunView, steps: Ints) -> Table | None:
    """By operation, bytes and group: how often in a step, and for how long it was in progress, waited and was transferred, a step and rank.

    Accounted steps only: of others the recorder may know that operations took place, and not how long they took.
    """
    facts = view.fact("collectives")
    if not facts:
        return None
    found: dict[_Key, Values] = {}
    for rank, table in facts.items():
        row = np.searchsorted(steps, table["step"])
        inside = (row < len(steps)) & (steps[np.minimum(row, len(steps) - 1)] == np.asarray(table["step"]))
        labels = group_labels(view, rank)
        kinds: dict[_Key, int] = {}
        # A loop over collectives, not events: there are hundreds a step, and their keys are text.
        keys = [
            kinds.setdefault((op, size, labels.get(group, group)), len(kinds))
            for op, size, group in zip(table["op"], np.asarray(table["bytes"]).tolist(), table["group"], strict=True)
        ]
        kind = np.array(keys, dtype=np.int64)
        of_rank = np.zeros((len(kinds), len(steps), 4))
        parts = (table["dur_ns"], view.exchange.wait_ns[rank], view.exchange.transfer_ns[rank])
        np.add.at(of_rank, (kind[inside], row[inside], 0), 1)
        for place, part in enumerate(parts, 1):
            known = inside & (np.asarray(part) != UNKNOWN)
            np.add.at(of_rank, (kind[known], row[known], place), np.asarray(part)[known] / 1e6)
        for key, place in kinds.items():
            found[key] = found.get(key, 0) + of_rank[place]
    ordered = sorted(found.items(), key=lambda item: (-float(item[1][:, 1].sum()), item[0]))
    ordered = [(key, cells / len(facts)) for key, cells in ordered if cells[:, 0].any()][:MOST_KINDS]
    names = ("count", "busy_ms", "wait_ms", "transfer_ms")
    parts_of = [
        (key, _table(steps, {name: cells[:, place] for place, name in enumerate(names)}, MOST_ROWS))
        for key, cells in ordered
    ]
    rows = [[*key, *row] for key, table in parts_of for row in table.rows()]
    return Table.of_rows(("op", "bytes", "group", "step", *names), rows) if rows else None


def _names(view: RunView) -> Table | None:
    """ms a step and rank by name, those that every rank has among its longest; steps as far as they are steady."""
    tables = list(view.fact("name_steps").values())
    if not tables:
        return None
    steady = set(steady_steps(view).tolist())
    columns = [
        (name, first, last)
        for name, first, last in _spans(tables[0])
        if set(range(first, last + 1)) & steady >= set(_seen(view, first, last))
        and all(name in table.columns for table in tables)
    ]
    sums: dict[tuple[str, str], Values] = {}
    seen: dict[tuple[str, str], int] = {}
    for table in tables:
        # A loop over the longest names of a rank, not events.
        for place, key in enumerate(zip(table["name"], table["kind"], strict=True)):
            values = np.array([float(table[name][place]) for name, _, _ in columns])
            sums[key] = sums.get(key, 0) + values
            seen[key] = seen.get(key, 0) + 1
    counts = np.array([len(_seen(view, first, last)) for _, first, last in columns])
    rows = [
        [*key, first, round(float(ms), _DIGITS)]
        for key, values in sums.items()
        if seen[key] == len(tables)
        for (_, first, _), ms in zip(columns, values / counts / len(tables) / 1e6, strict=True)
    ]
    return Table.of_rows(("name", "kind", "step", "ms"), rows) if rows else None


def _spans(table: Table) -> list[tuple[str, int, int]]:
    """The columns of `kernels.name_steps`, with their first and last step."""
    names = [name for name in table.columns if name not in ("name", "kind")]
    ends = [(name, name.partition("-")) for name in names]
    return [(name, int(first), int(last or first)) for name, (first, _, last) in ends]


def _seen(view: RunView, first: int, last: int) -> list[int]:
    """The steps from the first to the last that all ranks have."""
    steps = np.asarray(view.steps["step"])
    chosen: list[int] = steps[(steps >= first) & (steps <= last)].tolist()
    return chosen


def _common(of_ranks: list[Ints]) -> Ints:
    common = of_ranks[0]
    for steps in of_ranks[1:]:
        common = np.intersect1d(common, steps)
    return common


def _table(steps: Ints, columns: Mapping[str, Values], most: int) -> Table:
    """The columns by step, neighbours averaged where there are too many."""
    edges = np.linspace(0, len(steps), min(most, len(steps)) + 1).astype(np.int64)
    first = edges[:-1]
    counts = np.array([end - begin for begin, end in pairwise(edges.tolist())])
    means = {name: np.add.reduceat(values, first) / counts for name, values in columns.items()}
    return Table({"step": steps[first], **{name: np.round(values, _DIGITS) for name, values in means.items()}})
