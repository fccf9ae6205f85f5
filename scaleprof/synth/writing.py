"""Writes a synthetic job to disk: as a run directory of this project's recorder, or as plain files of torch.profiler; `truth.json` beside them.

A trace file is streamed step by step: first what stands on host threads, of all steps, then launches and device, as torch does it.
"""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from scaleprof.errors import OptionError, ScaleprofError
from scaleprof.intervals import Ints, Spans
from scaleprof.run import (
    FACTS_FILE,
    RANK_FILE,
    RUN_FILE,
    STEPS_FILE,
    TRUTH_FILE,
    rank_folder_name,
    trace_file_name,
    write_json,
)
from scaleprof.synth.damage import cut_off, dropped_of, first_step, is_written
from scaleprof.synth.dialects import Dialect, Event, around, mark_of_array
from scaleprof.synth.events import Process, closing_events, device_events, host_events, stride_of, thread_events
from scaleprof.synth.plan import MAIN_STREAM
from scaleprof.synth.records import BASE_NS, MONOTONIC_NS, metadata, rank_info, run_info, shown_at_begin
from scaleprof.synth.rows import Rows, closing_rows, rows_of, table
from scaleprof.synth.spec import Spec
from scaleprof.synth.tasks import write_tasks
from scaleprof.synth.template import Template, start, template_of
from scaleprof.synth.timeline import Timeline, on_host_clock, simulate
from scaleprof.synth.traces import check_can_be_traced, trace_of
from scaleprof.synth.truth import write_truth
from scaleprof.trace import Trace

_COMPRESSION = 4  # as the recorder's files
Progress = Callable[[str, int, int], None]
Measure = Callable[[Trace, Path], None]
"""Writes what it makes of a trace into a file."""


def write_job(
    spec: Spec,
    out: Path,
    *,
    foreign: bool = False,
    measure: Measure | None = None,
    progress: Progress | None = None,
) -> Path:
    """The folder of the job, below `out`. It must not exist yet. `progress` gets a word, and how many ranks of how many are written.

    With `measure` no trace is written, but what that makes of each rank; `truth.json` then says nothing of single operations.
    """
    if measure is not None:
        check_can_be_traced(spec)
        if foreign:
            raise OptionError("facts stand in the recorder's folders: --facts and --foreign exclude one another")
    folder = out / f"{spec.name}-n{spec.ranks}"
    if folder.exists():
        raise OptionError(
            f"{folder} exists already: choose another name with --set name=..., or another folder with -o"
        )
    timeline = None if spec.task_ms else simulate(spec)
    temporary = out / f".{folder.name}.{os.getpid()}.tmp"
    try:
        temporary.mkdir(parents=True)
        if timeline is None:
            write_tasks(spec, temporary)
        else:
            write_rank = partial(_write_foreign if foreign else _write_rank, measure)
            _write_files(timeline, temporary, write_rank, progress or _silent)
            write_truth(timeline, temporary / TRUTH_FILE, operations=measure is None)
            if not foreign:
                write_json(run_info(timeline), temporary / RUN_FILE)
        temporary.replace(folder)
    except OSError as error:
        raise ScaleprofError(f"{folder}: the synthetic job cannot be written ({error.strerror or error})") from error
    finally:  # nothing is left of a job that could not be written to its end
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _silent(stage: str, done: int, total: int) -> None:
    """No progress wanted."""


def _write_files(
    timeline: Timeline, folder: Path, write_rank: Callable[[Timeline, int, Path], None], progress: Progress
) -> None:
    spec = timeline.spec
    written = [rank for rank in range(spec.ranks) if is_written(spec, rank)]
    for place, rank in enumerate(written):
        progress("writing ranks", place, len(written))
        write_rank(timeline, rank, folder)
    progress("writing ranks", len(written), len(written))


def _write_foreign(measure: Measure | None, timeline: Timeline, rank: int, run: Path) -> None:
    _write_trace(timeline, rank, run / f"{rank_folder_name(rank)}.pt.trace.json")


def _write_rank(measure: Measure | None, timeline: Timeline, rank: int, run: Path) -> None:
    """A rank's folder as the recorder leaves it, or with what `measure` makes of its trace."""
    if measure is not None:
        write_rank_facts(timeline, rank, run, measure)
        return
    folder = run / rank_folder_name(rank)
    folder.mkdir()
    write_json(rank_info(timeline, rank), folder / RANK_FILE)
    (folder / STEPS_FILE).write_text("".join(_step_lines(timeline, rank)))
    name = trace_file_name(first_step(timeline.spec, rank), timeline.steps - 1, "full")
    _write_trace(timeline, rank, folder / name.removesuffix(".gz"))


def write_rank_facts(timeline: Timeline, rank: int, run: Path, measure: Measure) -> None:
    """A rank's folder with what `measure` makes of its trace in place of that."""
    folder = run / rank_folder_name(rank)
    folder.mkdir()
    write_json(rank_info(timeline, rank), folder / RANK_FILE)
    measure(trace_of(timeline, rank), folder / FACTS_FILE)


def _step_lines(timeline: Timeline, rank: int) -> Iterator[str]:
    """The step that the profiler was started beside is marked as perturbed."""
    first = first_step(timeline.spec, rank)
    bounds = _monotonic(timeline.spec, rank, on_host_clock(timeline.spec, rank, timeline.host_start_ns[rank]))
    for step, (begin, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        line = {"i": step, "t0": begin, "t1": end, "data": timeline.input_ns(rank, step)}
        line |= {"samples": timeline.spec.samples, "profiled": step >= first, "perturbed": step == first}
        yield json.dumps(line, separators=(",", ":")) + "\n"


def _monotonic(spec: Spec, rank: int, shown_ns: Ints) -> Ints:
    return shown_ns - shown_at_begin(spec, rank) + MONOTONIC_NS


def _write_trace(timeline: Timeline, rank: int, plain: Path) -> None:
    """One rank's trace file, `.gz` added where the spec wants it compressed."""
    spec, dialect = timeline.spec, timeline.spec.form
    path = plain.with_name(f"{plain.name}.gz") if spec.gz else plain
    head, tail = around(metadata(timeline, rank, path.name), dialect)
    between = dialect.between.encode()
    with _opened(path, compressed=spec.gz) as file:
        file.write(head.encode())
        for place, text in enumerate(_texts(timeline, rank)):
            if place:
                file.write(between)
            file.write(text)
        file.write(tail.encode())
    if rank in spec.cut_ranks:
        cut_off(path, spec.cut_share)


def _texts(timeline: Timeline, rank: int) -> Iterator[bytes]:
    """The events of a file in parts, in order."""
    spec, dialect = timeline.spec, timeline.spec.form
    process, rows, stride = (
        Process(rank, rank % spec.ranks_per_host),
        rows_of(timeline, rank),
        stride_of(timeline, rank),
    )
    none, first = _since_origin(closing_rows(timeline, rank, first_step(spec, rank)), dialect), first_step(spec, rank)
    streams = dict.fromkeys([MAIN_STREAM, *(segment.stream for segment in timeline.plan_of(rank).operations)])
    threads = thread_events(process, tuple(streams))
    if dialect.metadata == "none":
        threads.insert(0, mark_of_array(start(0)))
    if dialect.threads_first:
        yield from template_of(threads, dialect, 0).filled(none, 0)
    parts = _Parts(timeline, process, rows)
    for template_at in (parts.host, parts.device):
        for step in range(first, timeline.steps):
            yield from template_at(step).filled(_since_origin(table(timeline, rank, step), dialect), step)
    closing = closing_events(process, (timeline.steps + 1) * stride)
    if not dialect.threads_first:
        closing[1:1] = threads
    yield from template_of(closing, dialect, 0).filled(none, 0)


class _Parts:
    """The templates of a rank's steps: the usual ones are made once, those of a step that lost something or had a pause for that step."""

    def __init__(self, timeline: Timeline, process: Process, rows: Rows) -> None:
        self.timeline, self.process, self.rows = timeline, process, rows
        self.dropped = dropped_of(timeline, process.rank)
        self.usual: dict[bool, Template] = {}

    def host(self, step: int) -> Template:
        """What stands on host threads."""
        dropped = self.dropped.get(step, frozenset()) if self.timeline.spec.drop_what == "all" else frozenset()
        paused = self.timeline.pause_ns(self.process.rank, step) > 0

        def make() -> list[Event]:
            return host_events(self.timeline, self.process, self.rows, paused=paused, without=dropped)

        return self.made(make, is_usual=not dropped and not paused, is_host=True)

    def device(self, step: int) -> Template:
        """Launches and the device."""
        dropped = self.dropped.get(step, frozenset())

        def make() -> list[Event]:
            return device_events(self.timeline, self.process, self.rows, without=dropped)

        return self.made(make, is_usual=not dropped, is_host=False)

    def made(self, make: Callable[[], list[Event]], *, is_usual: bool, is_host: bool) -> Template:
        if is_usual and is_host in self.usual:
            return self.usual[is_host]
        template = template_of(make(), self.timeline.spec.form, stride_of(self.timeline, self.process.rank))
        if is_usual:
            self.usual[is_host] = template
        return template


def _since_origin(times: Spans, dialect: Dialect) -> Spans:
    origin_ns = BASE_NS if dialect.clock == "base" else 0
    return Spans(times.start - origin_ns, times.end - origin_ns)


@contextmanager
def _opened(path: Path, *, compressed: bool) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        if not compressed:
            yield file
            return
        # Without a name and a time inside, the same spec gives the same bytes.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=file, mtime=0) as packed:
            yield packed  # type: ignore[misc]
