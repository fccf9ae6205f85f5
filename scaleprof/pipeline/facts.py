"""The half that works rank by rank: read a trace, measure its facts; and what the combining half starts from, the view of a run.

It runs in worker processes and sends small tables back, so memory here does not grow with the traces. A broken file costs its rank, a broken fact the
sections that need it; each leaves a caveat.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from scaleprof import __version__
from scaleprof.align import RankFacts, RunView, align
from scaleprof.align.shelf import Shelf
from scaleprof.analyses import ANALYSES, Analysis, Fact
from scaleprof.cache import brought, keep, recall, write_facts
from scaleprof.engine import Lost, WorkersFailed, cores, map_cluster, map_processes, map_serial
from scaleprof.errors import InputError, MissingPackage, ScaleprofError
from scaleprof.export.extent import NEEDS as OF_EXPORT
from scaleprof.pipeline.cluster import as_given, measured_there, sent
from scaleprof.pipeline.options import Options, Progress
from scaleprof.readers import read_rank
from scaleprof.results import Table
from scaleprof.run import RankFiles, RankInfo, Run, RunInfo
from scaleprof.trace import Trace

log = logging.getLogger(__name__)

SMALL_BYTES = 40_000_000  # below this, starting processes costs more than reading side by side gains
Answer = TypeVar("Answer")


def facts_of_all(
    runs: Sequence[Run], options: Options, progress: Progress
) -> tuple[list[dict[int, RankFacts]], list[list[str]]]:
    """Facts by run and rank, and by run the reasons why ranks are missing; the largest ranks are read first."""
    tasks = [(number, files) for number, run in enumerate(runs) for files in run.ranks.values()]
    tasks.sort(key=lambda task: -task[1].size_bytes)
    facts: list[dict[int, RankFacts]] = [{} for _ in runs]
    lost: list[list[str]] = [[] for _ in runs]
    unread = []
    shelf = Shelf()
    for number, of_rank in tasks:
        known = recall(of_rank, options.communication) if options.use_cache else None
        if known is None:
            unread.append((number, of_rank))
        else:
            facts[number][of_rank.rank] = shelf.put(known)
    progress("reading ranks", len(tasks) - len(unread), len(tasks))
    answers = _mapped([files for _, files in unread], options) if unread else ()
    for done, (index, answer) in enumerate(answers, len(tasks) - len(unread) + 1):
        number, of_rank = unread[index]
        if isinstance(answer, RankFacts):
            facts[number][of_rank.rank] = shelf.put(answer)
            if options.use_cache:
                keep(of_rank, answer, options.communication)
        else:
            lost[number].append(f"run {runs[number].info.name}, rank {of_rank.rank} is missing: {answer}")
        progress("reading ranks", done, len(tasks))
    # In an order that does not tell who was done first.
    return [dict(sorted(of_run.items())) for of_run in facts], [sorted(reasons) for reasons in lost]


def _mapped(files: Sequence[RankFiles], options: Options) -> Iterable[tuple[int, RankFacts | str]]:
    workers = min(options.workers or cores(), len(files))
    measure = partial(facts_of_rank, communication=options.communication)
    small = options.workers is None and sum(one.size_bytes for one in files) < SMALL_BYTES
    if options.cluster:
        return _mapped_there(measure, files, options.cluster)
    if options.engine == "serial" or workers < 2 or small:
        return map_serial(measure, files)
    return _in_words(map_processes(measure, files, workers=workers))


def _mapped_there(
    measure: Callable[[RankFiles], RankFacts | str], files: Sequence[RankFiles], address: str
) -> Iterator[tuple[int, RankFacts | str]]:
    if find_spec("distributed") is None:
        raise MissingPackage("distributed", "dask", f"--engine {address}")
    there = partial(measured_there, measure)
    same = {"scaleprof:__version__": __version__}
    for index, answer in _in_words(map_cluster(there, [sent(one) for one in files], address=address, same=same)):
        yield index, as_given(answer, files[index])


def _in_words(answers: Iterator[tuple[int, RankFacts | str | Lost]]) -> Iterator[tuple[int, RankFacts | str]]:
    """The answers, with a reason in words for what was lost."""
    try:
        for index, answer in answers:
            yield index, answer.reason if isinstance(answer, Lost) else answer
    except WorkersFailed as error:
        raise InputError(str(error)) from error


def facts_of_rank(files: RankFiles, communication: Sequence[str] = ()) -> RankFacts | str:
    """Read one rank and measure every fact that an analysis needs; the reason in words where it cannot be read.

    Runs in a worker. A fact that fails leaves a caveat; the others stay. `communication`: the user's patterns of names that communicate.
    """
    known, failure = fenced(lambda: brought(files))
    if known is not None or failure:
        return known or failure
    trace, failure = fenced(lambda: read_rank(files, communication))
    return failure if trace is None else facts_of_trace(trace)


def facts_of_trace(trace: Trace) -> RankFacts:
    """Every fact that an analysis needs of a trace."""
    tables: dict[str, Table] = {}
    caveats = [f"rank {trace.rank}: {caveat}" for caveat in trace.caveats]
    for name, fact in (_needed(ANALYSES) | OF_EXPORT).items():
        table, failure = fenced(lambda fact=fact: fact(trace))  # type: ignore[misc]
        if table is None:
            caveats.append(f"rank {trace.rank}: {name} could not be measured ({failure})")
        else:
            tables[name] = table
    return RankFacts(trace.info, tables, tuple(caveats))


def write_facts_of(trace: Trace, path: Path) -> None:
    """A file that holds the facts of a trace, and takes its place in a rank's folder."""
    write_facts(path, facts_of_trace(trace))


def _needed(analyses: Sequence[Analysis]) -> dict[str, Fact]:
    return {name: fact for analysis in analyses for name, fact in analysis.needs.items()}


def fenced(function: Callable[[], Answer]) -> tuple[Answer | None, str]:
    """The answer, or None and a sentence: hostile input must cost one rank or one fact, not the analysis."""
    try:
        return function(), ""
    except ScaleprofError as error:
        return None, str(error)
    except Exception as error:
        log.debug("failed", exc_info=True)
        return None, f"{type(error).__name__}: {error}"


def view_of(run: Run, facts: Mapping[int, RankFacts]) -> RunView:
    """A run on one clock, from the facts of its ranks."""
    return align(_completed(run.info, {rank: of_rank.info for rank, of_rank in facts.items()}), facts)


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
