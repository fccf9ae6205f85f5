"""The parts of a report that a short summary shows, chosen alike for the terminal and for Markdown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scaleprof.render.palette import PARTS
from scaleprof.render.tables import Readable, readable
from scaleprof.render.words import many
from scaleprof.results import Finding, Metric, Report, Result, RunReport, Table

SEVERITIES = ("critical", "high", "medium", "low", "healthy")
NARROW_COLUMNS = ("series", "ranks", "step_ms", "throughput", "efficiency", "efficiency_low", "efficiency_high")
SCALING_COLUMNS = (
    "series",
    "ranks",
    "step_ms",
    "throughput",
    "speedup",
    "efficiency",
    "efficiency_low",
    "efficiency_high",
    "karp_flatt",
    "runq_share",
)

LEAF_HEADS = {
    "compute": "compute",
    "exposed_transfer": "transfer",
    "exposed_wait": "waiting",
    "bubble": "bubble",
    "exposed_untold": "not told apart",
    "exposed_memory": "copies",
    "idle": "idle",
}
"""Classes of time in the order of the charts, with heads short enough for a terminal; between compute and copies lies exposed communication."""

FACTORS = (
    ("efficiency", 0, "Scaling efficiency"),
    ("compute_scalability", 1, "Compute scalability"),
    ("mix", 2, "Same kernels"),
    ("speed", 2, "Their speed"),
    ("concurrency", 2, "Side by side"),
    ("parallel", 1, "Parallel efficiency"),
    ("wait", 2, "Wait efficiency"),
    ("load_balance", 3, "Load balance"),
    ("pipeline", 2, "Pipeline efficiency"),
    ("transfer", 2, "Transfer efficiency"),
    ("untold", 2, "Communication not told apart"),
    ("memory", 2, "Memory efficiency"),
    ("orchestration", 2, "Orchestration efficiency"),
)
"""Columns of the efficiency tree of a series, how deep each stands below the first, and its words."""
ALWAYS_SHOWN = ("efficiency", "compute_scalability", "parallel", "wait", "transfer", "orchestration")
MOST_SIZES = 8


@dataclass(frozen=True)
class Tree:
    """An efficiency tree, children below what they multiply to."""

    subject: str
    """The series or the run."""
    heads: tuple[str, ...]
    """`4 ranks`, one for each column of numbers."""
    rows: tuple[tuple[str, int, tuple[float | None, ...]], ...]
    """Words, depth and a number for each head."""


def tree_of(report: Report) -> Tree | None:
    """The tree of the series that the verdict is about, over its sizes; else that of the largest run that has one."""
    for section in report.comparison:
        table = section.tables.get("hierarchy")
        if table is not None and len(table):
            return _tree_of_series(table)
    trees = [
        (run, table)
        for run in report.runs
        for section in run.sections
        if (table := section.tables.get("efficiency")) is not None and len(table)
    ]
    if not trees:
        return None
    run, table = max(trees, key=lambda one: one[0].info.world_size)
    rows = tuple((str(name), int(depth), (_known(value),)) for name, depth, value in table.rows())
    return Tree(run.label, (many(run.info.world_size, "rank"),), rows)


def _tree_of_series(table: Table) -> Tree:
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows()]
    series = _most_telling(rows)
    sizes = [row for row in rows if row["series"] == series]
    sizes = sizes if len(sizes) <= MOST_SIZES else [sizes[0], *sizes[1 - MOST_SIZES :]]
    shown = []
    for name, depth, words in FACTORS:
        values = tuple(_known(row.get(name)) for row in sizes)
        says_something = any(value is not None and abs(value - 1) > 0.0005 for value in values)
        if says_something or (name in ALWAYS_SHOWN and any(value is not None for value in values)):
            shown.append((words, depth, values))
    return Tree(str(series), tuple(many(row["ranks"], "rank") for row in sizes), tuple(shown))


def _most_telling(rows: Sequence[dict[str, Any]]) -> str:
    """Of the series with the largest size the one that keeps least, as the verdict chooses."""
    lasts = {row["series"]: row for row in rows if _known(row.get("efficiency")) is not None}
    last = max(lasts.values(), key=lambda row: (row["ranks"], -row["efficiency"])) if lasts else rows[0]
    return str(last["series"])


def _known(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def largest_sizes_of(report: Report, *, most: int, without: str = "", columns: Sequence[str]) -> Readable | None:
    """A row for each series of the table of efficiencies: its largest size; `without` is shown elsewhere."""
    for section in report.comparison:
        source = section.tables.get("scaling")
        if source is not None and len(source):
            names = [name for name in columns if name in source.columns]
            rows = [dict(zip(source.columns, row, strict=True)) for row in source.rows()]
            lasts = {row["series"]: row for row in rows if row["series"] != without}
            if lasts:
                return readable(
                    Table.of_rows(names, [[row[name] for name in names] for row in lasts.values()]), most=most
                )
    return None


def tiles_of(report: Report) -> tuple[Metric, ...]:
    """The numbers of the first page; of a report that compares nothing, those of the only run's first section."""
    opening = next((section for section in report.comparison if section.name == "overview"), None)
    if not report.comparison and len(report.runs) == 1:
        opening = next(iter(report.runs[0].sections), None)
    return opening.metrics if opening is not None else ()


def findings_with_runs(report: Report) -> list[tuple[Finding, str]]:
    """Every finding, the most severe and then the most rewarding first, with its run where there are several."""
    found = [(finding, "") for section in report.comparison for finding in section.findings]
    for run in report.runs:
        label = run.label if len(report.runs) > 1 else ""
        found += [(finding, label) for section in run.sections for finding in section.findings]
    return sorted(found, key=lambda one: urgency(one[0]))


def urgency(finding: Finding) -> tuple[int, float]:
    """What findings are sorted by."""
    return SEVERITIES.index(finding.severity), -(finding.gain_share or 0)


def sections_of_all(report: Report) -> list[Result]:
    """Sections of the comparison, then those of the runs."""
    return [*report.comparison, *(section for run in report.runs for section in run.sections)]


def with_variants(report: Report) -> list[Result]:
    """The same, and what stands in place of sections of the comparison where something is selected."""
    variants = [one.result for section in report.comparison for one in section.variants]
    return [*sections_of_all(report), *variants]


def scaling_of(report: Report, *, most: int, columns: Sequence[str] = SCALING_COLUMNS) -> Readable | None:
    """The table of efficiencies, its most telling columns."""
    for section in report.comparison:
        source = section.tables.get("scaling")
        if source is not None and len(source):
            chosen = {name: source[name] for name in columns if name in source.columns}
            return readable(Table(chosen), most=most)
    return None


CHANGE_COLUMNS = {
    "change_by_pair": ("pair", "verdict", "base_ms", "new_ms", "change_share", "change_low_share", "change_high_share"),
    "change_by_class": ("class", "base_ms", "new_ms", "change_ms", "change_low_ms", "change_high_ms", "answer"),
}
"""Tables of a comparison of runs that a summary shows, the first that there is, and their most telling columns."""


def changes_of(report: Report, *, most: int) -> Readable | None:
    """What changed, where runs were compared with one another."""
    tables = {
        name: table for section in sections_of_all(report) for name, table in section.tables.items() if len(table)
    }
    for name, columns in CHANGE_COLUMNS.items():
        if name in tables:
            return readable(Table({column: tables[name][column] for column in columns}), most=most)
    return None


def leaf_shares(runs: Sequence[RunReport]) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    """The classes of time that occur in any run, with their heads, and by run the share of each class: together they are the step.

    Where exposed communication has no parts in a run, all of it is not told apart; where it has none in any run, it is called what it is.
    """
    shares: dict[str, dict[str, float]] = {}
    told = False
    for run in runs:
        here = {
            leaf: float(found.value) for leaf in LEAF_HEADS if (found := run.metric(f"time.{leaf}_share")) is not None
        }
        whole = run.metric("time.exposed_comm_share")
        if any(part in here for part in PARTS):
            told = True
            here.setdefault("exposed_untold", 0.0)
        elif whole is not None:
            here["exposed_untold"] = float(whole.value)
        if here:
            shares[run.label] = here
    heads = LEAF_HEADS if told else LEAF_HEADS | {"exposed_untold": "exposed comm."}
    always = {"compute", "idle"} if told else {"compute", "exposed_untold", "idle"}
    return {
        leaf: head for leaf, head in heads.items() if leaf in always or any(row.get(leaf) for row in shares.values())
    }, shares
