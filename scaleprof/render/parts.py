"""The parts of a report that a short summary shows, chosen alike for the terminal and for Markdown."""

from collections.abc import Sequence

from scaleprof.render.tables import Readable, readable
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

_NO_CLASSES = {f"time.{name}_share" for name in ("comm", "exposed_transfer", "exposed_wait", "bubble")}
"""Shares of the step that lie inside the class of exposed communication, or inside several: the classes alone add up to the step."""


def tiles_of(report: Report) -> tuple[Metric, ...]:
    """The numbers of the first page."""
    return next((section.metrics for section in report.comparison if section.name == "overview"), ())


def findings_in_order(report: Report) -> list[Finding]:
    """Every finding, the most severe and then the most rewarding first."""
    return sorted((finding for section in sections_of_all(report) for finding in section.findings), key=urgency)


def urgency(finding: Finding) -> tuple[int, float]:
    """What findings are sorted by."""
    return SEVERITIES.index(finding.severity), -(finding.gain_share or 0)


def sections_of_all(report: Report) -> list[Result]:
    """Sections of the comparison, then those of the runs."""
    return [*report.comparison, *(section for run in report.runs for section in run.sections)]


def scaling_of(report: Report, *, most: int, columns: Sequence[str] = SCALING_COLUMNS) -> Readable | None:
    """The table of efficiencies, its most telling columns."""
    for section in report.comparison:
        source = section.tables.get("scaling")
        if source is not None and len(source):
            chosen = {name: source[name] for name in columns if name in source.columns}
            return readable(Table(chosen), most=most)
    return None


def leaf_shares(runs: Sequence[RunReport]) -> tuple[list[Metric], dict[str, dict[str, float]]]:
    """The classes of time that occur, as one metric each, and by run the share of each class's id."""
    leaves: dict[str, Metric] = {}
    shares: dict[str, dict[str, float]] = {}
    for run in runs:
        for section in run.sections:
            for metric in section.metrics if section.name == "time" else ():
                is_leaf = (
                    metric.id.startswith("time.") and metric.id.endswith("_share") and metric.id not in _NO_CLASSES
                )
                if is_leaf and not isinstance(metric.value, str):
                    leaves.setdefault(metric.id, metric)
                    shares.setdefault(run.label, {})[metric.id] = float(metric.value)
    return list(leaves.values()), shares
