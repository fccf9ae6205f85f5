"""Whether a demand on a number holds: a limit is held against the whole 95 % interval, so that noise alone passes no verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

import numpy as np

from scaleprof.align.waiting import PARTS
from scaleprof.analyses.base import duration, percent
from scaleprof.analyses.changes.changes import NOTHING, Change
from scaleprof.analyses.changes.rows import step_times
from scaleprof.errors import OptionError
from scaleprof.models.statistics import FEWEST_FOR_INTERVAL, Interval, mean_interval
from scaleprof.results import Metric, Outcome, Report, Result, RunReport

Answer = Literal["holds", "fails", "inconclusive", "unusable"]
_OF_STEPS = ("step.", "time.", "idle.")
"""Ids of numbers that rest on steady steps."""
MOST_SHARE = 1.5
"""A share above this is written in percent, or is meant to be."""
_WITHOUT_UNIT = ("share", "x", "")
"""Units whose numbers may be written in percent."""
MOST_ALIKE = 8
AGAINST_BASELINE = "step time against the baseline"
"""The demand of `--max-regression`, in words."""


@dataclass(frozen=True)
class Demand:
    """A number must not be below, or not above, a limit."""

    id: str
    limit: float
    is_least: bool
    """The limit is the smallest value allowed, else the largest."""
    is_percent: bool = False
    """It was written in percent."""

    def words(self, unit: str = "") -> str:
        """`step.time_ms <= 120 ms`."""
        return f"{self.id} {'>=' if self.is_least else '<='} {shown(self.limit, unit)}"


def demand_of(text: str, *, is_least: bool) -> Demand:
    """`ID=VALUE`; a value may be given in percent. OptionError where it is no number."""
    id, _, value = text.partition("=")
    if not id.strip() or not value.strip():
        raise OptionError(f"{text!r} is not of the form METRIC=VALUE")
    return Demand(id.strip(), number_of(value), is_least, value.strip().endswith("%"))


def share_of(text: str) -> float:
    """A share; OptionError for `5`, by which hardly anybody means 500 %."""
    value = number_of(text)
    if value > MOST_SHARE and not text.strip().endswith("%"):
        raise OptionError(_meant(value))
    return value


def _meant(value: float) -> str:
    return f"{value:g} as a share is {100 * value:g} %: write {value:g}% or {value / 100:g}, or {100 * value:g}% if that is meant"


def number_of(text: str) -> float:
    """`0.8`, `80%` and `80 %` as numbers; OptionError for anything else."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError as error:
        raise OptionError(f"{text!r} is no number, and no number of percent") from error
    if not np.isfinite(value):
        raise OptionError(f"{text!r} is no limit: only finite numbers are")
    return value / 100 if text.strip().endswith("%") else value


def efficiencies(report: Report, least: float) -> list[Outcome]:
    """`--min-efficiency`: of every series its largest size; `unusable` for a series that is not judged, and where nothing scales."""
    scaling = [section for section in report.comparison if section.name == "scaling"]
    caveats = [caveat for section in scaling for caveat in section.caveats]
    found = {metric.id: metric for section in scaling for metric in section.metrics}
    wanted = {f"scaling.{one.id}.efficiency": one.label for one in report.series}
    if not wanted:
        text = "there is no scaling efficiency: it needs the same job at two world sizes or more, with steady steps and known samples"
        return [Outcome(f"efficiency >= {percent(least)}", report.title, "unusable", text)]
    outcomes = []
    for id, label in wanted.items():
        if id in found:
            outcomes.append(_held(Demand(id, least, True), found[id], label, can_have_interval=True))
        else:
            why = [caveat for caveat in caveats if label in caveat] or caveats or ["it was not judged"]
            outcomes.append(
                Outcome(Demand(id, least, True).words("share"), label, "unusable", f"no efficiency: {why[0]}")
            )
    return outcomes


def demanded(report: Report, demand: Demand) -> list[Outcome]:
    """A number of the comparison, else of every run that has it; `unusable` where none has. OptionError for a limit in another unit than it."""
    for section in report.comparison:
        for metric in section.metrics:
            if metric.id == demand.id and section.name != "overview":
                return [_held(demand, metric, "all runs", can_have_interval=False)]
    outcomes = []
    for run in report.runs:
        found = run.metric(demand.id)
        if found is None:
            continue
        few = len(step_times(run))
        if demand.id.startswith(_OF_STEPS) and few < FEWEST_FOR_INTERVAL:
            text = f"{few} steady steps are too few to judge ({FEWEST_FOR_INTERVAL} are needed)"
            outcomes.append(Outcome(demand.words(found.unit), run.label, "unusable", text))
        else:
            outcomes.append(_held(demand, _with_interval(found, run), run.label, can_have_interval=False))
    if not outcomes:
        text = f"no run has the number {demand.id}{_similar(report, demand.id)}"
        return [Outcome(demand.words(), report.title, "unusable", text)]
    return outcomes


def _similar(report: Report, id: str) -> str:
    """Numbers with the same first word, to put a slip of the pen right."""
    sections: list[Result] = [*report.comparison, *(section for run in report.runs for section in run.sections)]
    known = sorted({metric.id for section in sections for metric in section.metrics})
    alike = [one for one in known if one.split(".")[0] == id.split(".")[0]] or known
    alike.sort(key=lambda one: -SequenceMatcher(None, one, id).ratio())
    more = f" and {len(alike) - MOST_ALIKE} more" if len(alike) > MOST_ALIKE else ""
    return f"; there are: {', '.join(alike[:MOST_ALIKE])}{more}" if alike else ""


def _with_interval(metric: Metric, run: RunReport) -> Metric:
    """A class of time as a share of the step, with the interval that its steps imply; other numbers as they are."""
    table, windows = run.by_step.get("classes" if metric.id.startswith("time.") else "idle"), run.by_step.get("classes")
    what = metric.id.partition(".")[2].removesuffix("_share")
    columns = [f"{part}_ms" for part in (PARTS if what == "exposed_comm" else (what,))]
    if metric.low is not None or table is None or windows is None or not set(columns) <= set(table.columns):
        return metric
    part = np.sum([np.asarray(table[column], dtype=np.float64) for column in columns], axis=0)
    window = np.asarray(windows["window_ms"], dtype=np.float64)
    if len(part) != len(window) or len(part) < FEWEST_FOR_INTERVAL or window.mean() <= 0:
        return metric
    # The share is a quotient of means: by how much each step misses it, over the mean step, is what varies.
    share = float(metric.value)
    missed = mean_interval(part - share * window)
    if missed.low is None or missed.high is None:
        return metric
    half = (missed.high - missed.low) / 2 / float(window.mean())
    return Metric(metric.id, metric.label, share, metric.unit, max(share - half, 0.0), min(share + half, 1.0))


def regressed(change: Change, label: str, most: float) -> Outcome:
    """`--max-regression`: how much longer a step may take than in the baseline."""
    ratio = change.contrast.ratio
    demand = Demand(AGAINST_BASELINE, most, False)
    said = change.words
    if ratio.low is None or ratio.high is None:
        return Outcome(demand.words("share"), label, "unusable", said)
    answer: Answer = "inconclusive" if change.disturbed else answer_of(ratio, demand)
    if answer == "fails" and change.verdict != "slower":
        answer = "inconclusive"  # the interval is too narrow where even the test says that chance brings in as much
    elif change.verdict == "inconclusive" and not change.disturbed:
        said = f"NEW {_longer(ratio.value)} (95 %: {_from_to(ratio.low, ratio.high, 'share')})"
    return Outcome(demand.words("share"), label, answer, said, ratio.value, ratio.low, ratio.high, most)


def _longer(share: float) -> str:
    if abs(share) < NOTHING:
        return "takes as long as BASE"
    return f"is {percent(abs(share))} {'slower' if share > 0 else 'faster'}"


def answer_of(found: Interval, demand: Demand) -> Answer:
    """Of a number without an interval the value alone decides."""
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    if demand.is_least:
        return "holds" if low >= demand.limit else "fails" if high < demand.limit else "inconclusive"
    return "holds" if high <= demand.limit else "fails" if low > demand.limit else "inconclusive"


def _held(demand: Demand, metric: Metric, subject: str, *, can_have_interval: bool) -> Outcome:
    words = demand.words(metric.unit)
    if metric.unit == "share" and demand.limit > MOST_SHARE and not demand.is_percent:
        raise OptionError(f"{demand.id} is a share: {_meant(demand.limit)}")
    if demand.is_percent and metric.unit not in _WITHOUT_UNIT:
        raise OptionError(f"{demand.id} is a number of {metric.unit}: a limit in percent says nothing of it")
    if isinstance(metric.value, str):
        return Outcome(words, subject, "unusable", f"{metric.id} is no number: {metric.value}")
    if can_have_interval and metric.low is None:
        found = f"{metric.label} is {shown(metric.value, metric.unit)}"
        text = f"{found}, but too few steady steps give no interval ({FEWEST_FOR_INTERVAL} are needed at each size)"
        return Outcome(words, subject, "unusable", text, float(metric.value), limit=demand.limit)
    answer = answer_of(Interval(float(metric.value), metric.low, metric.high), demand)
    return Outcome(words, subject, answer, _found(metric), float(metric.value), metric.low, metric.high, demand.limit)


def _found(metric: Metric) -> str:
    said = f"{metric.label} is {shown(metric.value, metric.unit)}"
    if metric.low is None or metric.high is None:
        return f"{said} (no interval: the value alone decides)"
    return f"{said} (95 %: {_from_to(metric.low, metric.high, metric.unit)})"


def _from_to(low: float, high: float, unit: str) -> str:
    first, last = shown(low, unit), shown(high, unit)
    return f"{first.removesuffix(' ' + last.rpartition(' ')[2])} to {last}".replace("-", "\N{MINUS SIGN}")


def shown(value: float | int | str, unit: str) -> str:
    """A number with its unit."""
    if isinstance(value, str):
        return value
    if unit == "share":
        return percent(value)
    return duration(value) if unit == "ms" else f"{value:.5g} {unit}".strip()


def worst_of(outcomes: Sequence[Outcome]) -> Answer:
    """The answer of a whole check: a failure that is certain first, then that something could not be asked, then doubt."""
    return next(
        (answer for answer in ("fails", "unusable", "inconclusive") if any(one.answer == answer for one in outcomes)),
        "holds",
    )
