"""What changed between two configurations, each of one or several runs: whether their steps differ, and where the difference lies.

It works on what a report keeps of a run (`RunReport.by_step`), so that a saved report serves as well as the traces it was made from.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from scaleprof.align import LEAVES
from scaleprof.analyses.account.kernels import MOST_NAMES
from scaleprof.analyses.account.steps import RUNQ_LIMIT
from scaleprof.analyses.base import LEAF_COLORS, LEAF_LABELS, duration, many, percent
from scaleprof.analyses.changes.by_step import MOST_KINDS
from scaleprof.analyses.changes.cause import Cause, Tables, cause_of
from scaleprof.analyses.changes.comparable import Comparable
from scaleprof.analyses.changes.rows import (
    Measured,
    Row,
    busy_in,
    classes_in,
    idle_in,
    names_in,
    ranks_in,
    rows_of,
    step_times,
    told,
    transfers_in,
    waits_in,
)
from scaleprof.analyses.changes.tables import collectives_section, names_section, ranks_section, table_of
from scaleprof.models.contrast import LEAST_CHANGE, LEVEL, Contrast, Spread, Verdict, compared, verdict_of
from scaleprof.results import Axis, Chart, Layer, Metric, Result, RunReport, Table

MOST_DRAWN = 3
"""Repeats of a side whose steps are drawn."""
ACCOUNTED = 0.1
"""Part of the change by which that of the accounted steps may miss that of all steady steps without a word."""
NOTHING = 0.0005
"""A change that would be shown as zero."""


@dataclass(frozen=True)
class ChangeOptions:
    """How to judge."""

    least: float = LEAST_CHANGE
    """The smallest change of the step that counts as one, as a part of it."""


@dataclass(frozen=True)
class Pair:
    """One configuration as BASE and as NEW have it, each with its repeats."""

    base: tuple[RunReport, ...]
    new: tuple[RunReport, ...]
    comparable: Comparable


@dataclass(frozen=True)
class Change:
    """What became of one pair."""

    pair: Pair
    contrast: Contrast
    verdict: Verdict
    words: str
    """The verdict as a sentence without its full stop."""
    cause: Cause | None
    sections: tuple[Result, ...]
    disturbed: str = ""
    """Why no verdict is passed on these recordings, whatever their numbers say; empty where nothing forbids one."""


def change_of(pair: Pair, options: ChangeOptions, spread: Spread | None = None) -> Change:
    """The verdict on a pair, and the sections that explain it; `spread` is how much repeats differ, where some were made."""
    contrast = compared([step_times(run) for run in pair.base], [step_times(run) for run in pair.new], spread)
    disturbed = _disturbed(pair, contrast) if contrast.unit == "blocks" else ""
    verdict = verdict_of(contrast, least=options.least)
    verdict = "inconclusive" if disturbed and verdict != "same" else verdict
    least_ms = options.least * contrast.base

    def rows(measure: Callable[[RunReport], Measured]) -> list[Row]:
        return rows_of([measure(run) for run in pair.base], [measure(run) for run in pair.new], least_ms=least_ms)

    tables = Tables(*(rows(measure) for measure in (classes_in, idle_in, ranks_in, waits_in, transfers_in)))
    cause = cause_of(tables, pair.base, pair.new)
    words = verdict_words(contrast, verdict, options, disturbed)
    words += f": {cause.words}" if cause and _is_changed(verdict) else ""
    opening = Result(
        name="change",
        title="What changed",
        headline=words,
        metrics=tuple(_metrics(contrast, verdict, tables, cause)),
        tables=_tables(tables),
        charts=tuple(_charts(pair, contrast, tables, words)),
        caveats=tuple(_caveats(pair, contrast, spread, tables)),
    )
    found = (
        ranks_section(tables.ranks, contrast.new - contrast.base),
        collectives_section(told(rows(busy_in), MOST_KINDS), tables, pair.base, pair.new),
        names_section(told(rows(names_in), MOST_NAMES)),
    )
    return Change(
        pair, contrast, verdict, words, cause, (opening, *(one for one in found if one is not None)), disturbed
    )


def _disturbed(pair: Pair, contrast: Contrast) -> str:
    """How a machine without a core for its training forbids a verdict: runs of one and the same job differ by as much, which only repeats show."""
    for side, runs in (("BASE", pair.base), ("NEW", pair.new)):
        waits = [float(found.value) for run in runs if (found := run.metric("step.runq_share")) is not None]
        worst = max(waits, default=0.0)
        said = f"the training thread of {side} waited {percent(worst)} of a step for a core"
        if worst > RUNQ_LIMIT:
            return f"{said} (limit {percent(RUNQ_LIMIT)}): the machine was oversubscribed; repeat both sides, or find an idle one"
        if 0 < abs(contrast.ratio.value) <= worst and contrast.p <= LEVEL:
            return f"{said}: a change of no more than that may be the machine's; repeat both sides, or find an idle one"
    return ""


def verdict_words(contrast: Contrast, verdict: Verdict, options: ChangeOptions, disturbed: str = "") -> str:
    """`NEW is 12.1 % slower (95 %: 11.8 to 12.4 %)`, or why that cannot be said."""
    ratio, low, high = contrast.ratio, contrast.ratio.low, contrast.ratio.high
    if low is None or high is None:
        return (
            "Inconclusive: there are too few steady steps for an interval (6 are needed on each side); "
            f"the means are {duration(contrast.base)} and {duration(contrast.new)}"
        )
    if verdict == "same":
        return f"No change: NEW's step is that of BASE within {percent(options.least)} ({_interval(contrast)})"
    if abs(ratio.value) < NOTHING and not disturbed:
        return f"Inconclusive: the means are alike, but larger changes than {percent(options.least)} are not excluded ({_interval(contrast)})"
    word = "slower" if ratio.value > 0 else "faster"
    said = f"NEW is {percent(abs(ratio.value))} {word} ({_interval(contrast, signed=not _is_changed(verdict))})"
    if _is_changed(verdict):
        times = f"NEW takes {1 + ratio.value:.3g} times as long (95 %: {1 + low:.3g} to {1 + high:.3g})"
        return times if ratio.value >= 1 else said
    return f"Inconclusive: {said}, {f'but {disturbed}' if disturbed else _why_not(contrast, options)}"


def _is_changed(verdict: Verdict) -> bool:
    return verdict in ("slower", "faster")


def _why_not(contrast: Contrast, options: ChangeOptions) -> str:
    if contrast.least_p > LEVEL:
        return f"but {_evidence(contrast)} can never tell that from chance: neighbouring steps are correlated, so that many more are needed"
    if contrast.p > LEVEL:
        return f"but chance alone brings in as much in {percent(contrast.p)} of cases ({_evidence(contrast)})"
    return f"and the interval holds changes below {percent(options.least)}, which do not count, as well as larger ones"


def _evidence(contrast: Contrast) -> str:
    ours, theirs = contrast.samples
    if contrast.unit == "runs":
        return f"{many(ours, 'run')} against {theirs}"
    if not contrast.is_by_ranks:
        return f"steps worth {ours} independent ones against {theirs}"
    what = f"blocks of {contrast.block_steps} steps" if contrast.block_steps > 1 else "steps"
    return f"{ours} against {theirs} {what}"


def _interval(contrast: Contrast, *, signed: bool = True) -> str:
    low, high = contrast.ratio.low, contrast.ratio.high
    assert low is not None and high is not None
    if not signed:
        low, high = sorted((abs(low), abs(high)))
    return f"95 %: {percent(low).removesuffix(' %')} to {percent(high)}".replace("-", "\N{MINUS SIGN}")


def _metrics(contrast: Contrast, verdict: Verdict, tables: Tables, cause: Cause | None) -> list[Metric]:
    ratio, change, shift = contrast.ratio, contrast.change, contrast.shift
    unit = "runs" if contrast.unit == "runs" else "blocks of steps" if contrast.block_steps > 1 else "steps"
    chance = "Mann-Whitney, two-sided" if contrast.is_by_ranks else "Student's t"
    chance = chance if contrast.unit == "blocks" else "Student's t on the means of runs"
    chance += f", times {contrast.strictness:g} as steps are few" if contrast.strictness > 1 else ""
    metrics = [
        Metric("change.verdict", "Verdict", verdict, note=_evidence(contrast)),
        Metric("change.step_share", "Step time, NEW against BASE", ratio.value, "share", ratio.low, ratio.high, better="lower"),
        Metric("change.step_ms", "Step time, difference", change.value, "ms", change.low, change.high, better="lower"),
        Metric("change.base_ms", "Step of BASE", contrast.base, "ms", note="mean of the steady steps"),
        Metric("change.new_ms", "Step of NEW", contrast.new, "ms", note="mean of the steady steps"),
        Metric("change.p", "Chance of as much without a change", contrast.p, note=chance),
        Metric("change.shift_ms", "Shift of a typical step", shift.value, "ms", shift.low, shift.high, "Hodges-Lehmann"),
        Metric("change.cliffs_delta", "Cliff's delta", contrast.delta, note=f"-1 to 1: how often {unit} of NEW are longer, less how often shorter"),
    ]  # fmt: skip
    for row in tables.classes:
        leaf = str(row.key[0])
        label, value = f"{LEAF_LABELS[leaf]}, difference", row.change
        low, high = (None if end is None else round(end, 6) for end in (value.low, value.high))
        metrics.append(Metric(f"change.{leaf}_ms", label, round(value.value, 6), "ms", low, high))
    if cause is not None and cause.rank is not None and _is_changed(verdict):
        metrics.append(Metric("change.rank", "Rank behind it", cause.rank))
    return [metric for metric in metrics if not isinstance(metric.value, float) or np.isfinite(metric.value)]


def _tables(tables: Tables) -> dict[str, Table]:
    total = sum(row.change.value for row in tables.classes)
    found: dict[str, Table] = {}
    if tables.classes:
        rows = [replace(row, key=(LEAF_LABELS[str(row.key[0])],)) for row in tables.classes]
        found["change_by_class"] = table_of(rows, ("class",), total)
    if tables.idle:
        found["change_of_idle"] = table_of(tables.idle, ("cause",), total)
    return found


def _charts(pair: Pair, contrast: Contrast, tables: Tables, words: str) -> list[Chart]:
    charts = []
    if tables.classes:
        changes = {str(row.key[0]): row.change.value for row in tables.classes}
        shown = [leaf for leaf in LEAVES if leaf in changes]
        before, after = (sum(getattr(row, side) or 0.0 for row in tables.classes) for side in ("base_ms", "new_ms"))
        charts.append(
            Chart(
                id="change.waterfall",
                kind="waterfall",
                title=_waterfall_title(tables, after - before),
                subtitle="ms a step, mean over ranks and accounted steps: what each class adds or saves. It adds up exactly.",
                x=Axis("", scale="category"),
                y=Axis("time per step", "ms", from_zero=True),
                layers=(
                    Layer(
                        "ms per step",
                        ["BASE", *(LEAF_LABELS[leaf] for leaf in shown), "NEW"],
                        [before, *(changes[leaf] for leaf in shown), after],
                        text=["total", *(LEAF_COLORS[leaf] for leaf in shown), "total"],
                    ),
                ),
                how="The account of every rank and profiled steady step, in each run; a class changes by the difference of its means.",
            )
        )
    layers = []
    for color, side, runs in (("series-1", "BASE", pair.base), ("series-2", "NEW", pair.new)):
        for place, run in enumerate(runs[:MOST_DRAWN]):
            times = step_times(run)
            name = side if len(runs) == 1 else f"{side}, run {place + 1}"
            layers.append(Layer(name, list(range(len(times))), times.tolist(), color=color))
    charts.append(
        Chart(
            id="change.steps",
            kind="lines",
            title=f"A step takes {duration(contrast.base)} in BASE and {duration(contrast.new)} in NEW",
            subtitle="Step times, mean over ranks, of the steady steps in order.",
            x=Axis("steady step"),
            y=Axis("step time", "ms", from_zero=True),
            layers=tuple(layers),
            how=_how(contrast),
        )
    )
    return charts


def _waterfall_title(tables: Tables, total: float) -> str:
    worst = max(tables.classes, key=lambda row: row.change.value * (1 if total > 0 else -1))
    change = worst.change.value
    more = f"{duration(abs(change))} {'more' if change > 0 else 'less'}"
    return f"{LEAF_LABELS[str(worst.key[0])]} takes {more} a step, of {duration(abs(total))} {'more' if total > 0 else 'less'} in all"


def _how(contrast: Contrast) -> str:
    interval = "The interval of the change of means comes from a moving-block bootstrap of both series. "
    if contrast.unit == "runs":
        return (
            "Runs were repeated, so each run is one value: Student's t on their means, with the pooled variance between repeats, no smaller than "
            "what their steps imply; from four runs on each side on, the exact Mann-Whitney test must agree."
        )
    test = (
        f"The test is that of Mann and Whitney on blocks of {many(contrast.block_steps, 'step')}, so long that neighbouring ones are correlated by "
        "no more than 0.1; exact up to 50 blocks. "
        if contrast.is_by_ranks
        else "There are too few blocks of uncorrelated steps for a test by ranks: it is Welch's on what the correlated steps are worth. "
    )
    strict = (
        f"Its p counts {contrast.strictness:g} times, since so few steps show their correlation badly. "
        if contrast.strictness > 1
        else ""
    )
    counts = "A change counts where p is at most 0.05, the interval excludes none, and it is large enough."
    return interval + test + strict + counts


def _caveats(pair: Pair, contrast: Contrast, spread: Spread | None, tables: Tables) -> list[str]:
    caveats = [f"compared although {said} differs" for said in pair.comparable.changed]
    if any(np.array_equal(step_times(ours), step_times(theirs)) for ours in pair.base for theirs in pair.new):
        caveats.append("every step of BASE takes exactly as long as that of NEW: this is one recording, given twice")
    if contrast.unit == "blocks":
        caveats.append(
            "one run on each side: the verdict is about these two recordings. How much runs of one and the same job differ is not known here, and "
            "steps do not show it; repeat each run three times to know"
        )
    elif min(contrast.samples) == 1 and spread is not None:
        caveats.append(
            f"a single run stands on one side: runs are taken to differ by {percent(spread.sigma)} (one sigma), as those do that were repeated"
        )
    ratio, shift = contrast.ratio, contrast.shift
    if (
        ratio.low is not None
        and ratio.high is not None
        and ratio.low * ratio.high > 0
        and shift.value * ratio.value <= 0
    ):
        caveats.append("the mean changes, the typical step does not: a few long steps make the difference")
    if not tables.classes:
        caveats.append("what each step was is not known of both sides, so the change cannot be divided")
        return [*caveats, *pair.comparable.caveats]
    accounted = sum(row.change.value for row in tables.classes)
    change = contrast.new - contrast.base
    if abs(accounted - change) > max(ACCOUNTED * abs(change), 0.01 * contrast.base):
        caveats.append(
            f"the accounted steps change by {duration(accounted)}, all steady steps by {duration(change)}: "
            "the parts explain the former, in which a profiler ran"
        )
    return [*caveats, *pair.comparable.caveats]
