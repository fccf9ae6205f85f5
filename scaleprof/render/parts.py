"""The parts of a report that a short summary shows, chosen alike for the terminal and for Markdown."""

from collections.abc import Sequence

from scaleprof.render.palette import PARTS
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
