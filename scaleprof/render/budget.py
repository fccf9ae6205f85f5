"""How a report is made to weigh what a file may weigh: what the page leaves out, in which order, and the sentence that says so.

Given up are, in this order: timelines of runs beyond the most telling ones, rows of long tables, charts of very many points, charts of runs beyond
the most telling ones, everything of those but headlines and findings, and their sections. Only a report that is still above the hard cap is cut to
its verdict and its first numbers. Which runs tell most: the one shown first, those with the most urgent findings, the ends of each series, the
largest.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from scaleprof.render.page import selected_run
from scaleprof.render.parts import sections_of_all, urgency, with_variants
from scaleprof.render.timelines import MOST_SLICES
from scaleprof.render.words import many, shortened
from scaleprof.results import Chart, Metric, Report, Result, RunReport

BUDGET_BYTES = 5_000_000
MOST_BYTES = 20_000_000
_LIBRARY_BYTES = 600_000  # plotly and the page's own script and style
_SKIPPED = 1.5  # a summary is not even rendered where its estimate is so many times the budget
_LONGEST_TEXT, _MOST_CAVEATS = 300, 50  # in the shortest form


@dataclass(frozen=True)
class Limits:
    """What of a report is on its page, None for all of it."""

    timelines: int | None = None
    """Runs with a timeline."""
    rows: int | None = None
    """Rows of a table."""
    points: int | None = None
    """Points of a chart; one that has more is left out."""
    drawn: int | None = None
    """Runs with charts."""
    told: int | None = None
    """Runs with numbers and tables; others keep headlines and findings."""
    named: int | None = None
    """Runs with sections."""


ORDER = (
    Limits(),
    Limits(8),
    Limits(1),
    Limits(1, 1_000),
    Limits(1, 200),
    Limits(1, 200, 20_000),
    Limits(1, 50, 20_000, 16),
    Limits(1, 50, 20_000, 4),
    Limits(1, 50, 20_000, 1),
    Limits(1, 20, 5_000, 1, 16),
    Limits(0, 20, 5_000, 1, 1),
    Limits(0, 20, 5_000, 1, 1, 1),
)
"""From everything to next to nothing."""


@dataclass(frozen=True)
class Summary:
    """A report with less in it."""

    report: Report
    most_rows: int | None
    """Of each table; None for all."""
    sentence: str
    """What was left out; empty where nothing was."""
    estimate: int
    """What its page may weigh, in bytes. On recordings it was right within a tenth; made numbers that repeat were packed to 60 % of it, and
    charts of millions of points that do not weighed nearly twice as much."""


def summaries(report: Report, *, budget_bytes: int = BUDGET_BYTES) -> Iterator[Summary]:
    """The report, then the same with less and less; what is much too large is passed over."""
    order = most_telling(report)
    for place, limits in enumerate(ORDER):
        summary = summary_of(report, limits, order, budget_bytes)
        if summary.estimate <= _SKIPPED * budget_bytes or place == len(ORDER) - 1:
            yield summary


def most_telling(report: Report) -> list[int]:
    """Places of the runs, the most telling first."""
    if not report.runs:
        return []
    with_findings = [
        (min(urgency(finding) for section in run.sections for finding in section.findings), place)
        for place, run in enumerate(report.runs)
        if any(section.findings for section in run.sections)
    ]
    ends = [place for one in report.series if one.runs for place in (one.runs[-1], one.runs[0])]
    by_size = sorted(range(len(report.runs)), key=lambda place: -report.runs[place].info.world_size)
    urgent = [place for _, place in sorted(with_findings)]
    return list(dict.fromkeys([selected_run(report), *urgent, *ends, *by_size]))


def summary_of(report: Report, limits: Limits, order: Sequence[int], budget_bytes: int) -> Summary:
    """The report within these limits."""
    left_out: Counter[str] = Counter()
    standing = {place: standing for standing, place in enumerate(order)}
    runs = tuple(_run_within(run, limits, standing[place], left_out) for place, run in enumerate(report.runs))
    kept = {place for place in standing if _within(standing[place], limits.drawn)}
    comparison = tuple(_of_comparison(section, limits, kept, left_out) for section in report.comparison)
    summary = replace(report, runs=runs, comparison=comparison)
    if limits.rows is not None:
        for section in sections_of_all(summary):
            for table in section.tables.values():
                left_out["rows"] += max(len(table) - limits.rows, 0)
                left_out["tables"] += len(table) > limits.rows
    return Summary(summary, limits.rows, _sentence(left_out, budget_bytes), _estimate(summary, limits.rows))


def _within(standing: int, most: int | None) -> bool:
    return most is None or standing < most


def _run_within(run: RunReport, limits: Limits, standing: int, left_out: Counter[str]) -> RunReport:
    if not _within(standing, limits.named):
        left_out["named"] += bool(run.sections)
        return replace(run, sections=())
    sections = run.sections
    if not _within(standing, limits.timelines) and any(section.timeline is not None for section in sections):
        left_out["timelines"] += 1
        sections = tuple(replace(section, timeline=None) for section in sections)
    if not _within(standing, limits.told):
        left_out["told"] += bool(sections)
        return replace(run, sections=tuple(replace(one, metrics=(), tables={}, charts=()) for one in sections))
    if not _within(standing, limits.drawn):
        left_out["drawn"] += any(section.charts for section in sections)
        return replace(run, sections=tuple(replace(section, charts=()) for section in sections))
    return replace(run, sections=tuple(_without_dense(section, limits, left_out) for section in sections))


def _of_comparison(section: Result, limits: Limits, kept: set[int], left_out: Counter[str]) -> Result:
    variants = tuple(
        replace(one, result=_without_dense(one.result, limits, left_out))
        for one in section.variants
        if one.run is None or one.run in kept
    )
    return replace(_without_dense(section, limits, left_out), variants=variants)


def _without_dense(section: Result, limits: Limits, left_out: Counter[str]) -> Result:
    charts = tuple(chart for chart in section.charts if limits.points is None or _points(chart) <= limits.points)
    left_out["dense"] += len(section.charts) - len(charts)
    return replace(section, charts=charts)


def _points(chart: Chart) -> int:
    return sum(len(layer.x) * (len(layer.z) if layer.z else 1) for layer in chart.layers)


def _sentence(left_out: Counter[str], budget_bytes: int) -> str:
    """`To stay within 5 MB, this page leaves out the timelines of 25 runs and 300 rows of 2 tables. ...`."""
    parts = [
        f"the {'timeline' if left_out['timelines'] == 1 else 'timelines'} of {many(left_out['timelines'], 'run')}"
        if left_out["timelines"]
        else "",
        f"{many(left_out['rows'], 'row')} of {many(left_out['tables'], 'table')}" if left_out["rows"] else "",
        f"{many(left_out['dense'], 'chart')} of very many points" if left_out["dense"] else "",
        f"the charts of {many(left_out['drawn'], 'run')}" if left_out["drawn"] else "",
        f"all but headlines and findings of {many(left_out['told'], 'run')}" if left_out["told"] else "",
        f"the sections of {many(left_out['named'], 'run')}" if left_out["named"] else "",
    ]
    parts = [part for part in parts if part]
    if not parts:
        return ""
    alone = " A timeline is in no JSON: analyze its run alone to see it." if left_out["timelines"] else ""
    return (
        f"To stay within {budget_bytes / 1e6:.3g} MB, this page leaves out {_listed(parts)}: "
        f"the JSON has every number (scaleprof analyze with --json).{alone}"
    )


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([*([", ".join(parts[:-1])] if parts[1:] else []), parts[-1]])


def _estimate(report: Report, most_rows: int | None) -> int:
    """Bytes of the page, by what its parts weighed in reports that were rendered."""
    sections = with_variants(report)
    weight = _LIBRARY_BYTES + 2_500 * len(report.runs)
    for section in sections:
        weight += 400 + 300 * len(section.metrics) + 700 * len(section.findings)
        weight += sum(1_700 + 7 * _points(chart) for chart in section.charts)
        for table in section.tables.values():
            rows = len(table) if most_rows is None else min(len(table), most_rows)
            weight += len(table.columns) * (30 * min(rows, 200) + 4 * rows)
    slices = sum(len(section.timeline) for section in sections if section.timeline is not None)
    return weight + 8 * min(slices, MOST_SLICES)


def shortest(report: Report) -> Summary:
    """The verdict, the first numbers and the first caveats: what fits under the hard cap whatever the report."""
    overview = next((section for section in report.comparison if section.name == "overview"), None)
    opening = (
        Result("overview", "Overview", "", tuple(_cut_metric(one) for one in overview.metrics[:20]))
        if overview
        else None
    )
    summary = Report(
        _cut(report.title),
        _cut(report.verdict),
        (),
        (opening,) if opening else (),
        caveats=tuple(_cut(caveat) for caveat in report.caveats[:_MOST_CAVEATS]),
        made_with={name: _cut(text) for name, text in report.made_with.items()},
    )
    sentence = (
        f"To stay within {MOST_BYTES / 1e6:.3g} MB, this page has the first numbers of {many(len(report.runs), 'run')} and no more: "
        "the JSON has every number (scaleprof analyze with --json)."
    )
    return Summary(summary, 20, sentence, _LIBRARY_BYTES)


def _cut(text: str) -> str:
    return shortened(text, _LONGEST_TEXT)


def _cut_metric(metric: Metric) -> Metric:
    value = _cut(metric.value) if isinstance(metric.value, str) else metric.value
    return replace(metric, label=_cut(metric.label), value=value, note=_cut(metric.note), trend=metric.trend[:50])
