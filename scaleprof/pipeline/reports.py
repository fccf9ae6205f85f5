"""The page to read first: paths -> runs -> facts of every rank -> one view of each run -> conclusions -> the report.

The half that works rank by rank is in `facts.py`; this one combines. What fails costs its section and leaves a caveat.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from scaleprof.align import RunView
from scaleprof.analyses import ANALYSES, COMPARISONS, Analysis, Comparison
from scaleprof.analyses.account.steps import RUNQ_LIMIT, runq_share, steady_steps
from scaleprof.analyses.base import listed, many, percent
from scaleprof.analyses.changes.by_step import by_step_of
from scaleprof.analyses.communication.links import LinkOptions
from scaleprof.analyses.findings.gains import with_replayed_gains
from scaleprof.analyses.scaling.series import find_series
from scaleprof.analyses.thresholds import thresholds_of
from scaleprof.errors import InputError, ScaleprofError
from scaleprof.pipeline.facts import facts_of_all, fenced, view_of
from scaleprof.pipeline.options import Options, Progress
from scaleprof.pipeline.redacted import redacted_facts, redaction_of
from scaleprof.readers import find_runs
from scaleprof.readers.finding.archive import shown_name
from scaleprof.readers.tables.nccl_tests import read_link_reference
from scaleprof.remote import AnyPath, path_of
from scaleprof.results import Chip, Report, Result, RunReport, SeriesOfRuns, Table, made_now
from scaleprof.run import RankFiles, Run, RunInfo

log = logging.getLogger(__name__)


def analyze(
    paths: Sequence[AnyPath | str], *, options: Options | None = None, progress: Progress | None = None
) -> Report:
    """Read every run below the paths and report on them.

    Raises NothingToRead where there is no trace, InputError where none could be read, OptionError for a setting nobody knows.
    """
    options = options or Options()
    thresholds = thresholds_of(options.settings)
    if options.link_reference:
        known = read_link_reference(options.link_reference)
        links = dataclasses.replace(
            thresholds[LinkOptions], reference=known, reference_name=options.link_reference.name
        )
        thresholds[LinkOptions] = links
    progress = progress or (lambda stage, done, total: None)
    progress("looking for traces", 0, 1)
    runs = find_runs([path_of(path) for path in paths], options.run_globs)
    progress("looking for traces", 1, 1)
    redaction = redaction_of(paths, runs, options)
    runs = redaction.runs(runs) if redaction else runs
    facts, lost = facts_of_all(runs, options, progress)
    if redaction:
        facts = [redacted_facts(of_run, redaction) for of_run in facts]
    views = []
    for number, run in enumerate(runs):
        if facts[number]:
            views.append((run, view_of(run, facts[number]), tuple(lost[number])))
    if not views:
        raise InputError("nothing could be read: " + "; ".join(reason for reasons in lost for reason in reasons[:3]))
    progress("concluding", 0, 1)
    reports = tuple(_run_report(run, view, reasons, thresholds) for run, view, reasons in views)
    comparison, caveats = _comparison([view for _, view, _ in views], thresholds)
    unread = [reason for number, reasons in enumerate(lost) if not facts[number] for reason in reasons]
    progress("concluding", 1, 1)
    report = Report(
        title=title_of([view.info for _, view, _ in views]),
        verdict=comparison[0].headline if comparison else "",
        runs=reports,
        comparison=comparison,
        chips=tuple(_chips([view for _, view, _ in views])),
        caveats=(*caveats, *unread, *_of_patterns(options.communication)),
        grouping=_grouping(runs),
        made_with={
            **made_now(options.command),
            **({"communication": "  ".join(options.communication)} if options.communication else {}),
        },
        series=_series([view for _, view, _ in views]),
    )
    return redaction.report(report) if redaction else report


def _series(views: Sequence[RunView]) -> tuple[SeriesOfRuns, ...]:
    """The series of these runs, with their places."""
    place = {id(view): number for number, view in enumerate(views)}
    found = find_series(views)[0] if len(views) > 1 else []
    return tuple(
        SeriesOfRuns(one.id, one.label, tuple(place[id(view)] for at_size in one.sizes.values() for view in at_size))
        for one in found
    )


def _of_patterns(patterns: Sequence[str]) -> list[str]:
    said = ", ".join(f"`{pattern}`" for pattern in patterns)
    return (
        [f"what is called {said} was taken as communication, as --communication or pyproject.toml asks"] if said else []
    )


def _run_report(run: Run, view: RunView, lost: Sequence[str], thresholds: Mapping[type, Any]) -> RunReport:
    caveats = [*run.caveats, *lost, *_merged(view)]
    sections = []
    for analysis in ANALYSES:
        result, failure = _concluded(analysis, view, thresholds)
        if failure:
            caveats.append(f"section {analysis.name} is missing: {failure}")
        if result is not None:
            sections.append(result)
    replayed, failure = fenced(lambda: with_replayed_gains(view, sections))
    if replayed is None:
        caveats.append(f"findings have ceilings in place of replayed gains: {failure}")
    by_step, failure = fenced(lambda: by_step_of(view))
    if by_step is None:
        caveats.append(f"what each step was is not kept, so that comparisons see the step times alone: {failure}")
    texts = tuple(dict.fromkeys(caveats))
    return RunReport(view.info, tuple(view.ranks), tuple(replayed or sections), texts, by_step or {})


def _comparison(views: Sequence[RunView], thresholds: Mapping[type, Any]) -> tuple[tuple[Result, ...], list[str]]:
    sections, caveats = [], []
    for comparison in COMPARISONS:
        result, failure = _concluded(comparison, views, thresholds)
        if failure:
            caveats.append(f"section {comparison.name} is missing: {failure}")
        if result is not None:
            sections.append(result)
    return tuple(sections), caveats


def _concluded(question: Analysis | Comparison, seen: Any, thresholds: Mapping[type, Any]) -> tuple[Result | None, str]:
    try:
        return question.conclude(seen, thresholds[question.options] if question.options else None), ""
    except ScaleprofError as error:
        return None, str(error)
    except Exception as error:
        log.debug("conclusion %s failed", question.name, exc_info=True)
        return None, f"{type(error).__name__}: {error}"


def _merged(view: RunView) -> list[str]:
    """Caveats of ranks, those that all ranks share said once."""
    by_text: dict[str, list[int]] = {}
    for caveat in view.caveats:
        rank, _, text = caveat.removeprefix("rank ").partition(": ")
        by_text.setdefault(text, []).append(int(rank))
    merged = []
    for text, ranks in by_text.items():
        everyone = len(ranks) == len(view.ranks) > 1
        merged.append(f"every rank: {text}" if everyone else f"rank {listed(ranks)}: {text}")
    return merged


def title_of(infos: Sequence[RunInfo]) -> str:
    """What a report on these runs is called."""
    series = list(dict.fromkeys(info.series for info in infos if info.series))
    if len(series) == 1:
        return series[0]
    models = list(dict.fromkeys(info.model for info in infos if info.model))
    if len(infos) > 1 and len(models) == 1:
        return models[0]
    return infos[0].name if len(infos) == 1 else f"{infos[0].name} and {many(len(infos) - 1, 'other run')}"


def _chips(views: Sequence[RunView]) -> list[Chip]:
    """How far the data can be trusted, in a few words each."""
    expected, read = sum(view.info.world_size for view in views), sum(len(view.ranks) for view in views)
    steady = [len(steady_steps(view)) for view in views]
    chips = [
        Chip(f"{read} of {many(expected, 'rank')}", read == expected, "ranks that were read, over all runs"),
        Chip(
            f"{'at least ' if len(views) > 1 else ''}{many(min(steady), 'steady step')}",
            min(steady) >= 6,
        ),
    ]
    waits = [share for view in views if (share := runq_share(view)) is not None]
    if waits:
        chips.append(
            Chip(f"up to {percent(max(waits))} waiting for a core", max(waits) <= RUNQ_LIMIT, "run-queue wait")
        )
    if any(view.info.emulated for view in views):
        chips.append(Chip("compute emulated, communication real", True))
    if any(view.info.synthetic for view in views):
        chips.append(Chip("synthetic data", False))
    return chips


def _read_of(files: RankFiles) -> tuple[AnyPath, ...]:
    return files.traces if files.timeline is None else (*files.traces, files.timeline)


def _grouping(runs: Sequence[Run]) -> Table:
    rows = [
        [run.info.name, run.info.world_size, files.rank, files.reader, ", ".join(map(shown_name, _read_of(files)))]
        for run in runs
        for files in run.ranks.values()
    ]
    return Table.of_rows(("run", "world_size", "rank", "reader", "files"), rows)
