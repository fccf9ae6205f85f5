"""The page to read first: paths -> runs -> facts of every rank -> one view of each run -> conclusions -> the report.

The per-rank half (read a trace, measure its facts) runs in worker processes and sends small tables back, so memory here does not grow with
the traces. The combining half runs here. A broken file costs its rank, a broken fact the sections that need it; each leaves a caveat.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from scaleprof.align import RankFacts, RunView, align
from scaleprof.analyses import ANALYSES, COMPARISONS, Analysis, Comparison, Fact
from scaleprof.analyses.base import listed, many, percent
from scaleprof.analyses.edits import PAUSES as PAUSES
from scaleprof.analyses.edits import Edit as Edit
from scaleprof.analyses.gains import with_replayed_gains
from scaleprof.analyses.links import LinkOptions
from scaleprof.analyses.operation_table import conclude as conclude_operation_table
from scaleprof.analyses.series import find_series
from scaleprof.analyses.steps import RUNQ_LIMIT, runq_share, steady_steps
from scaleprof.analyses.thresholds import thresholds_of
from scaleprof.analyses.whatif import answer_to
from scaleprof.cache import keep, recall
from scaleprof.engine import cores, map_processes, map_serial
from scaleprof.errors import InputError, OptionError, ScaleprofError
from scaleprof.readers import find_runs, read_rank
from scaleprof.readers.archive import shown_name
from scaleprof.readers.nccl_tests import read_link_reference
from scaleprof.readers.operation_table import read_operation_table
from scaleprof.redaction import Redaction
from scaleprof.results import Chip, Report, Result, RunReport, SeriesOfRuns, Table, made_now
from scaleprof.run import RankFiles, RankInfo, Run, RunInfo
from scaleprof.settings import check_patterns

log = logging.getLogger(__name__)

SMALL_BYTES = 40_000_000  # below this, starting processes costs more than reading side by side gains
Progress = Callable[[str, int, int], None]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Options:
    """How to analyse."""

    engine: Literal["processes", "serial"] = "processes"
    workers: int | None = None
    """Processes that read ranks; None for one per core."""
    run_globs: tuple[tuple[str, str], ...] = ()
    """(name, glob): these files are one run, whatever they say of themselves."""
    settings: tuple[tuple[str, str], ...] = ()
    """("scaling.target", "0.9"): thresholds of analyses."""
    communication: tuple[str, ...] = ()
    """Regular expressions: what is called so communicates, whatever the rules say."""
    link_reference: Path | None = None
    """A log of nccl-tests to hold the links against."""
    command: str = ""
    """How to make the report again, for its last page."""
    use_cache: bool = True
    """Take the facts of ranks that were read before from the user's cache folder, and keep those of others there."""
    redact: bool = False
    """Short names stand in the report for those of hosts, users, folders and files."""

    def __post_init__(self) -> None:
        if self.engine not in ("processes", "serial"):
            raise OptionError(f"engine must be processes or serial, not {self.engine!r}")
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers must be at least 1, not {self.workers}")
        check_patterns(self.communication, "--communication")


def analyze(paths: Sequence[Path | str], *, options: Options | None = None, progress: Progress | None = None) -> Report:
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
    runs = find_runs([Path(path) for path in paths], options.run_globs)
    progress("looking for traces", 1, 1)
    redaction = _redaction(paths, runs, options) if options.redact else None
    runs = redaction.runs(runs) if redaction else runs
    facts, lost = _facts_of_all(runs, options, progress)
    if redaction:
        facts = [_without_hosts(of_run, redaction) for of_run in facts]
    views = []
    for number, run in enumerate(runs):
        if facts[number]:
            infos = {rank: of_rank.info for rank, of_rank in facts[number].items()}
            views.append((run, align(_completed(run.info, infos), facts[number]), tuple(lost[number])))
    if not views:
        raise InputError("nothing could be read: " + "; ".join(reason for reasons in lost for reason in reasons[:3]))
    progress("concluding", 0, 1)
    reports = tuple(_run_report(run, view, reasons, thresholds) for run, view, reasons in views)
    comparison, caveats = _comparison([view for _, view, _ in views], thresholds)
    unread = [reason for number, reasons in enumerate(lost) if not facts[number] for reason in reasons]
    progress("concluding", 1, 1)
    report = Report(
        title=_title([view.info for _, view, _ in views]),
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


def analyze_operation_table(path: Path, *, command: str = "") -> Report:
    """What stragglers cost in a table of operations that StragglerAnalysis published, with its `meta-*.yaml` beside it.

    Raises InputError and BrokenFile for what cannot be read or contradicts itself.
    """
    table, about = read_operation_table(path)
    result = conclude_operation_table(table, about)
    parallel = {name: about[f"{name}_size"] for name in ("dp", "pp", "tp") if about[f"{name}_size"] > 1}
    info = RunInfo(name=about["trial_name"], world_size=about["world_size"], mesh=parallel or None)
    run = RunReport(info, tuple(sorted({int(rank) for rank in table["rank"]})), (result,))
    return Report(title=info.name, verdict=f"{result.headline}.", runs=(run,), made_with=made_now(command))


def what_if(
    paths: Sequence[Path | str], edit: Edit, *, options: Options | None = None, progress: Progress | None = None
) -> Report:
    """What a change would bring in every run below the paths: each thing alone, and all of them jointly, replayed.

    Raises what `analyze` raises, OptionError for what no run has, and InputError where no run can be replayed.
    """
    options, progress = options or Options(), progress or (lambda stage, done, total: None)
    runs = find_runs([Path(path) for path in paths], options.run_globs)
    facts, lost = _facts_of_all(runs, options, progress)
    reports, refused = [], [reason for reasons in lost for reason in reasons]
    wrong: OptionError | None = None
    for run, of_run in zip(runs, facts, strict=True):
        if not of_run:
            continue
        view = align(_completed(run.info, {rank: of_rank.info for rank, of_rank in of_run.items()}), of_run)
        try:
            reports.append(RunReport(view.info, tuple(view.ranks), (answer_to(view, edit),)))
        except OptionError as error:
            wrong = error
            refused.append(f"run {run.info.name}: {error}")
        except InputError as error:
            refused.append(str(error))
    if not reports:
        raise wrong or InputError("nothing could be replayed: " + "; ".join(refused[:3]))
    verdict = reports[-1].sections[0].headline
    return Report(
        _title([one.info for one in reports]),
        f"{verdict}.",
        tuple(reports),
        caveats=tuple(refused),
        made_with=made_now(options.command),
    )


def _series(views: Sequence[RunView]) -> tuple[SeriesOfRuns, ...]:
    """The series of these runs, with their places."""
    place = {id(view): number for number, view in enumerate(views)}
    found = find_series(views)[0] if len(views) > 1 else []
    return tuple(
        SeriesOfRuns(one.id, one.label, tuple(place[id(view)] for at_size in one.sizes.values() for view in at_size))
        for one in found
    )


def _redaction(paths: Sequence[Path | str], runs: Sequence[Run], options: Options) -> Redaction:
    reference = [options.link_reference] if options.link_reference else []
    return Redaction([*paths, *reference], runs, stated=[name for name, _ in options.run_globs])


def _without_hosts(facts: Mapping[int, RankFacts], redaction: Redaction) -> dict[int, RankFacts]:
    """Facts by rank, with short names for the hosts."""
    hosts = {rank: redaction.host(of_rank.info.host) for rank, of_rank in facts.items()}
    return {
        rank: dataclasses.replace(of_rank, info=dataclasses.replace(of_rank.info, host=hosts[rank]))
        for rank, of_rank in facts.items()
    }


def _of_patterns(patterns: Sequence[str]) -> list[str]:
    said = ", ".join(f"`{pattern}`" for pattern in patterns)
    return (
        [f"what is called {said} was taken as communication, as --communication or pyproject.toml asks"] if said else []
    )


def _facts_of_all(
    runs: Sequence[Run], options: Options, progress: Progress
) -> tuple[list[dict[int, RankFacts]], list[list[str]]]:
    """Facts by run and rank, and by run the reasons why ranks are missing; the largest ranks are read first."""
    tasks = [(number, files) for number, run in enumerate(runs) for files in run.ranks.values()]
    tasks.sort(key=lambda task: -task[1].size_bytes)
    facts: list[dict[int, RankFacts]] = [{} for _ in runs]
    lost: list[list[str]] = [[] for _ in runs]
    unread = []
    for number, of_rank in tasks:
        known = recall(of_rank, options.communication) if options.use_cache else None
        if known is None:
            unread.append((number, of_rank))
        else:
            facts[number][of_rank.rank] = known
    progress("reading ranks", len(tasks) - len(unread), len(tasks))
    answers = _mapped([files for _, files in unread], options) if unread else ()
    for done, (index, answer) in enumerate(answers, len(tasks) - len(unread) + 1):
        number, of_rank = unread[index]
        if isinstance(answer, RankFacts):
            facts[number][of_rank.rank] = answer
            if options.use_cache:
                keep(of_rank, answer, options.communication)
        else:
            lost[number].append(f"run {runs[number].info.name}, rank {of_rank.rank} is missing: {answer}")
        progress("reading ranks", done, len(tasks))
    return facts, [sorted(reasons) for reasons in lost]


def _mapped(files: Sequence[RankFiles], options: Options) -> Iterable[tuple[int, RankFacts | str]]:
    workers = min(options.workers or cores(), len(files))
    measure = partial(facts_of_rank, communication=options.communication)
    small = options.workers is None and sum(one.size_bytes for one in files) < SMALL_BYTES
    if options.engine == "serial" or workers < 2 or small:
        return map_serial(measure, files)
    return map_processes(measure, files, workers=workers)


def facts_of_rank(files: RankFiles, communication: Sequence[str] = ()) -> RankFacts | str:
    """Read one rank and measure every fact that an analysis needs; the reason in words where it cannot be read.

    Runs in a worker. A fact that fails leaves a caveat; the others stay. `communication`: the user's patterns of names that communicate.
    """
    trace, failure = _fenced(lambda: read_rank(files, communication))
    if trace is None:
        return failure
    tables: dict[str, Table] = {}
    caveats = [f"rank {trace.rank}: {caveat}" for caveat in trace.caveats]
    for name, fact in _needed(ANALYSES).items():
        table, failure = _fenced(lambda fact=fact: fact(trace))  # type: ignore[misc]
        if table is None:
            caveats.append(f"rank {trace.rank}: {name} could not be measured ({failure})")
        else:
            tables[name] = table
    return RankFacts(trace.info, tables, tuple(caveats))


def _needed(analyses: Sequence[Analysis]) -> dict[str, Fact]:
    return {name: fact for analysis in analyses for name, fact in analysis.needs.items()}


def _fenced(function: Callable[[], Answer]) -> tuple[Answer | None, str]:
    """The answer, or None and a sentence: hostile input must cost one rank or one fact, not the analysis."""
    try:
        return function(), ""
    except ScaleprofError as error:
        return None, str(error)
    except Exception as error:
        log.debug("failed", exc_info=True)
        return None, f"{type(error).__name__}: {error}"


def _run_report(run: Run, view: RunView, lost: Sequence[str], thresholds: Mapping[type, Any]) -> RunReport:
    caveats = [*run.caveats, *lost, *_merged(view)]
    sections = []
    for analysis in ANALYSES:
        result, failure = _concluded(analysis, view, thresholds)
        if failure:
            caveats.append(f"section {analysis.name} is missing: {failure}")
        if result is not None:
            sections.append(result)
    replayed, failure = _fenced(lambda: with_replayed_gains(view, sections))
    if replayed is None:
        caveats.append(f"findings have ceilings in place of replayed gains: {failure}")
    return RunReport(view.info, tuple(view.ranks), tuple(replayed or sections), tuple(dict.fromkeys(caveats)))


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


def _completed(info: RunInfo, ranks: Mapping[int, RankInfo]) -> RunInfo:
    """The run's identity with what its ranks say and `run.json` does not."""
    first = ranks[min(ranks)]
    same = (
        "framework",
        "strategy",
        "device",
        "device_name",
        "backend",
        "level",
        "model",
        "precision",
        "parameters",
        "emulated",
    )
    missing = {name: getattr(first, name) for name in same if getattr(info, name) is None}
    hosts = {rank.host for rank in ranks.values()}
    nodes = info.nodes or (len(hosts) if None not in hosts else None)
    return dataclasses.replace(info, **missing, nodes=nodes)


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


def _title(infos: Sequence[RunInfo]) -> str:
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


def _read_of(files: RankFiles) -> tuple[Path, ...]:
    return files.traces if files.timeline is None else (*files.traces, files.timeline)


def _grouping(runs: Sequence[Run]) -> Table:
    rows = [
        [run.info.name, run.info.world_size, files.rank, files.reader, ", ".join(map(shown_name, _read_of(files)))]
        for run in runs
        for files in run.ranks.values()
    ]
    return Table.of_rows(("run", "world_size", "rank", "reader", "files"), rows)
