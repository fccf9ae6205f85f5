"""From paths to files for other people's viewers: every run's ranks on one clock, read and written one rank at a time; and every table of a report.

The combining half works on facts, as an analysis does; then each trace is read once more, and only one is in memory.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal, Protocol

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.base import listed, many, some
from scaleprof.analyses.machine.hardware import COUNTERS
from scaleprof.errors import InputError, OptionError
from scaleprof.export.about import AboutRank, AboutRun, about_rank
from scaleprof.export.chrome import ChromeWriter
from scaleprof.export.files import GZIP_SUFFIX, written_whole
from scaleprof.export.flows import links_of
from scaleprof.export.pftrace import PerfettoWriter
from scaleprof.export.placing import Placing, placing_of
from scaleprof.export.selection import MEGABYTE, Selection, window_of
from scaleprof.export.shard import Plan, Shard, shard_of
from scaleprof.export.shares import Shares
from scaleprof.export.tables import TableFormat, write_tables
from scaleprof.export.thinning import LeftOut
from scaleprof.export.tracks import Split
from scaleprof.intervals import Ints
from scaleprof.pipeline.facts import facts_of_all, fenced, view_of
from scaleprof.pipeline.options import Options, Progress
from scaleprof.pipeline.redacted import redacted_facts, redacted_runs, redacted_trace, redaction_of
from scaleprof.pipeline.reports import analyze
from scaleprof.readers import find_runs, read_rank
from scaleprof.redaction import Redaction
from scaleprof.remote import AnyPath, is_below, path_of
from scaleprof.results import Table
from scaleprof.run import Run
from scaleprof.trace import UNKNOWN

TraceFormat = Literal["json", "pftrace"]
SUFFIXES: dict[TraceFormat, str] = {"json": ".json.gz", "pftrace": ".pftrace"}
WRITERS: dict[TraceFormat, Callable[[IO[bytes]], "Writer"]] = {"json": ChromeWriter, "pftrace": PerfettoWriter}
Window = tuple[int, int]


class Writer(Protocol):
    """Writes ranks one after the other."""

    def begin(self, about: AboutRun) -> None:
        """Before the first rank."""

    def rank(self, about: AboutRank, shard: Shard) -> int:
        """All of one rank; how many bytes that are."""

    def end(self, about: AboutRun) -> None:
        """After the last rank."""


@dataclass(frozen=True)
class Exported:
    """One file that was written."""

    path: Path
    run: str
    remarks: tuple[str, ...]
    """What was left out or cannot be relied on, a sentence each."""


def export(
    paths: Sequence[AnyPath | str],
    output: Path,
    *,
    format: TraceFormat | None = None,
    selection: Selection | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> list[Exported]:
    """Write each chosen run below the paths for a viewer; what was written where.

    `output` is the file of a run, of several runs the folder. Where no `format` is given the file's name tells it. Raises what `analyze` raises,
    OptionError for what no run has, InputError where a run's steps and operations do not fit the budget.
    """
    options, progress = options or Options(), progress or (lambda stage, done, total: None)
    selection = selection or Selection()
    found = find_runs([path_of(path) for path in paths], options.run_globs)
    redaction = redaction_of(paths, found, options)
    runs = _chosen(found, selection.runs)
    runs = redacted_runs(runs, redaction) if redaction else runs
    format = format or ("pftrace" if ".pftrace" in output.suffixes else "json")
    files = _files(runs, output, SUFFIXES[format])
    _spare_traces(found, files)
    facts, lost = facts_of_all(runs, options, progress)
    facts = [redacted_facts(of_run, redaction) for of_run in facts] if redaction else facts
    written = []
    for run, path, of_run, reasons in zip(runs, files, facts, lost, strict=True):
        if not of_run:
            raise InputError(f"run {run.info.name} could not be read: " + "; ".join(reasons[:3]))
        with written_whole(path) as file:
            how = _How(selection, options, redaction, progress)
            remarks = _write(run, view_of(run, of_run), WRITERS[format](file), how)
        said = dict.fromkeys((*run.caveats, *reasons, *remarks))
        written.append(Exported(path, run.info.name, tuple(map(redaction.text, said) if redaction else said)))
    return written


def export_tables(
    paths: Sequence[AnyPath | str],
    folder: Path,
    format: TableFormat,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write every table of the report on the paths into a folder, one file each; their paths. Raises what `analyze` raises."""
    return write_tables(analyze(paths, options=options, progress=progress), folder, format)


def _chosen(runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    there = [{run.info.name, _stem(run), run.path.name} for run in runs]
    for name in names:
        if not any(name in one for one in there):
            raise OptionError(f"there is no run {name!r}; there are: {', '.join(dict.fromkeys(map(_stem, runs)))}")
    return [run for run, one in zip(runs, there, strict=True) if not names or one & set(names)]


def _stem(run: Run) -> str:
    """`ddp-n4`: a run's name as a file may have it."""
    name = re.sub(r"[^\w.-]+", "-", run.info.name).strip("-.") or "run"
    end = f"-n{run.info.world_size}"
    return name if name.endswith(end) else name + end


def _files(runs: Sequence[Run], output: Path, suffix: str) -> list[Path]:
    """Where each run goes: to the file, or into the folder under its own name, with its place where several have that name."""
    is_file = output.suffix in (".json", ".pftrace", GZIP_SUFFIX) and not output.is_dir()
    if not is_file and output.exists() and not output.is_dir():
        raise OptionError(f"{output} is no folder: -o takes a folder, or a file called .json, .json.gz or .pftrace")
    stems = [_stem(run) for run in runs]
    if is_file and len(runs) > 1:
        raise OptionError(
            f"{output} is one file, and there are {len(runs)} runs: choose one with --run, or give a folder with -o. There are: {some(stems, most=8)}"
        )
    if is_file:
        return [output]
    counted = [
        f"{stem}-{stems[:place].count(stem) + 1}" if stems.count(stem) > 1 else stem for place, stem in enumerate(stems)
    ]
    return [output / f"{stem}{suffix}" for stem in counted]


def _spare_traces(runs: Sequence[Run], files: Sequence[Path]) -> None:
    """OptionError where a file that is to be written is one that is read."""
    ranks = [of_rank for run in runs for of_rank in run.ranks.values()]
    read = {trace.resolve() for of_rank in ranks for trace in (*of_rank.traces, of_rank.timeline) if trace is not None}
    folders = [of_rank.folder.resolve() for of_rank in ranks if of_rank.folder is not None]
    for path in files:
        place = path.resolve()
        if place in read or any(is_below(place, folder) for folder in folders):
            raise OptionError(f"{path} is a trace that is read, or lies among them: choose another place with -o")


@dataclass(frozen=True)
class _How:
    """What was asked for."""

    selection: Selection
    options: Options
    redaction: Redaction | None
    progress: Progress


def _write(run: Run, view: RunView, writer: Writer, how: _How) -> list[str]:
    """One run; the remarks on it."""
    selection, progress, redaction = how.selection, how.progress, how.redaction
    placing = placing_of(view)
    windows = _windows(view, placing, selection)
    links, without_arrow = links_of(view, placing, windows)
    remarks = _of_view(view, placing, windows, without_arrow)
    about = AboutRun(view.info, placing.origin_ns)
    shares = Shares(int(selection.budget_mb * MEGABYTE), _shown(view, placing, windows))
    lost: list[tuple[LeftOut, int]] = []
    writer.begin(about)
    for place, (rank, window) in enumerate(sorted(windows.items())):
        progress("writing ranks", place, len(windows))
        trace, failure = fenced(lambda rank=rank: read_rank(run.ranks[rank], how.options.communication))  # type: ignore[misc]
        if trace is None:
            remarks.append(f"rank {rank} is missing: {failure}")
            shares.took(rank, 0)
            continue
        trace = redacted_trace(trace, redaction) if redaction else trace
        plan = Plan(
            placing.clocks[rank],
            placing.origin_ns,
            window,
            selection.steps,
            _split(view, rank),
            links[rank],
            COUNTERS,
            shares.of(rank),
        )
        shard = shard_of(trace, plan)
        about_this = about_rank(trace.info, plan.clock, is_told=rank not in placing.untold)
        shares.took(rank, writer.rank(about_this, shard))
        lost.append((shard.left_out, shard.points_left_out))
    progress("writing ranks", len(windows), len(windows))
    remarks += _left_out(lost, selection)
    remarks = [redaction.text(remark) for remark in remarks] if redaction else remarks
    writer.end(replace(about, remarks=remarks))
    return remarks


def _shown(view: RunView, placing: Placing, windows: Mapping[int, Window]) -> dict[int, tuple[int, int]]:
    """How many operations and how many waits of each rank lie in its window."""

    def count(name: str, rank: int, window: Window) -> int:
        table = view.fact(name).get(rank)
        if table is None:
            return 0
        start = np.asarray(table["start_ns"])
        if name == "collectives":
            start = np.where(start == UNKNOWN, np.asarray(table["issued_ns"]), start)
        placed = placing.placed(rank, start[start != UNKNOWN])
        return int(((placed >= window[0]) & (placed < window[1])).sum())

    return {
        rank: (count("collectives", rank, window), count("waits", rank, window)) for rank, window in windows.items()
    }


def _windows(view: RunView, placing: Placing, selection: Selection) -> dict[int, Window]:
    """The ranks that are exported, and from when to when."""
    absent = [rank for rank in selection.ranks if rank not in view.ranks]
    if absent:
        raise OptionError(f"run {view.info.name} has no rank {listed(absent)}; there are: {listed(list(view.ranks))}")
    spans, extents = view.fact("step_spans"), view.fact("extent")
    found = {}
    for rank in selection.ranks or view.ranks:
        window = window_of(spans.get(rank), lambda times, rank=rank: placing.placed(rank, times), selection)  # type: ignore[misc]
        if window is not None:
            found[rank] = window
    if not found:
        numbers = np.concatenate([np.zeros(0, np.int64), *(np.asarray(table["step"]) for table in spans.values())])
        there = f"it has steps {numbers.min()} to {numbers.max()}" if len(numbers) else "it has none"
        raise OptionError(f"no rank of run {view.info.name} has any of the chosen steps; {there}")
    recorded = {rank: placing.placed(rank, _ends(extents[rank])) for rank in found if len(extents.get(rank, ()))}
    if recorded and not any(
        first < found[rank][1] and last >= found[rank][0] for rank, (first, last) in recorded.items()
    ):
        last = max(int(ends[1]) for ends in recorded.values())
        raise OptionError(
            f"nothing of run {view.info.name} lies in the chosen seconds; it lasts from 0 to {last / 1e9:.3f} s"
        )
    return found


def _ends(extent: Table) -> Ints:
    """When a rank recorded the first and the last thing."""
    return np.concatenate([np.asarray(extent[name], dtype=np.int64) for name in ("first_ns", "last_ns")])


def _split(view: RunView, rank: int) -> Split:
    """What is known of a rank's operations across ranks."""
    table = view.fact("collectives").get(rank)
    count = 0 if table is None else len(table)
    number = np.full(count, UNKNOWN, dtype=np.int64)
    here = np.flatnonzero(np.asarray(view.matches["rank"]) == rank)
    number[np.asarray(view.matches["row"])[here]] = np.asarray(view.matches["collective"])[here]
    exchange = view.exchange
    unknown = np.full(count, UNKNOWN, dtype=np.int64)
    transfer, ranks, clock = (
        np.asarray(of.get(rank, unknown)) for of in (exchange.transfer_ns, exchange.ranks, exchange.clock_ns)
    )
    return Split(number, transfer, ranks, clock)


def _of_view(view: RunView, placing: Placing, windows: Mapping[int, Window], without_arrow: int) -> list[str]:
    """What is to be said of ranks, clocks and operations before any is written."""
    remarks = []
    others = [rank for rank in view.ranks if rank not in windows]
    if others:
        remarks.append(f"{many(len(others), 'rank')} of {len(view.ranks)} left out: {listed(others)}")
    empty = [rank for rank, table in view.fact("extent").items() if rank in windows and not len(table)]
    if empty:
        remarks.append(f"nothing was recorded on rank {listed(empty)}")
    untold = [rank for rank in placing.untold if rank in windows and rank not in empty]
    if untold and len(view.ranks) > 1:
        how = "each is shown as if it began its first common step together with the others"
        remarks.append(f"the clock of rank {listed(untold)} cannot be compared with the others': {how}")
    remarks += view.clocks.caveats
    if without_arrow:
        said = "ended before they began by these clocks, and have no arrow from sender to receiver"
        remarks.append(f"{many(without_arrow, 'transfer')} {said}")
    if view.unmatched:
        remarks.append(
            f"{many(sum(view.unmatched.values()), 'operation')} could not be matched across ranks, and have neither arrows nor waiting and transfer: "
            + some(sorted(view.unmatched, key=lambda reason: -view.unmatched[reason]), most=3)
        )
    return remarks + _of_ranks(view.caveats)


def _of_ranks(caveats: Sequence[str]) -> list[str]:
    """What readers could not read, what several ranks share said once."""
    ranks: dict[str, list[str]] = {}
    for caveat in caveats:
        rank, _, text = caveat.partition(": ")
        ranks.setdefault(text or rank, []).append(rank.removeprefix("rank "))
    return [f"rank {some(of, most=6)}: {text}" for text, of in ranks.items()]


def _left_out(shards: Sequence[tuple[LeftOut, int]], selection: Selection) -> list[str]:
    """What found no room over all ranks, events and values of counters, in sentences."""
    remarks = []
    events, ranks = sum(one.count for one, _ in shards), sum(one.count > 0 for one, _ in shards)
    if events:
        on_devices, on_hosts = (
            max(getattr(one, name) for one, _ in shards) for name in ("longest_busy_ns", "longest_host_ns")
        )
        where = (("devices", on_devices), ("hosts", on_hosts))
        shortest = " and ".join(f"up to {ns / 1000:,.3f} µs on {place}" for place, ns in where if ns)
        remarks.append(
            f"{events:,} of {many(sum(one.of for one, _ in shards), 'event')} that are no operations left out on {many(ranks, 'rank')}, the shortest "
            f"ones{f' ({shortest})' if shortest else ''}, to stay within {selection.budget_mb:g} MB: --budget raises that, --ranks, --steps and "
            "--seconds choose a part to show whole"
        )
    points = sum(lost for _, lost in shards)
    if points:
        remarks.append(
            f"{many(points, 'value')} of sampled counters left out, evenly over time, to stay within the budget"
        )
    return remarks
