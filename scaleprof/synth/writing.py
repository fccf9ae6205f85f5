"""Writes a synthetic job to disk: as a run directory of this project's recorder, or as plain files of torch.profiler; `truth.json` beside them.

A trace file is streamed step by step: first what stands on host threads, of all steps, then launches and device, as torch does it.
"""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from scaleprof import __version__
from scaleprof.clock import ClockAnchor
from scaleprof.errors import OptionError, ScaleprofError
from scaleprof.intervals import Ints, Spans
from scaleprof.run import (
    RANK_FILE,
    RUN_FILE,
    STEPS_FILE,
    SYNTHETIC_KEY,
    TRUTH_FILE,
    ProcessGroup,
    RankInfo,
    RunInfo,
    rank_folder_name,
    trace_file_name,
    write_json,
)
from scaleprof.synth.dialects import Dialect, around, mark_of_array
from scaleprof.synth.events import (
    GROUP,
    GROUP_DESCRIPTION,
    Process,
    closing_events,
    device_events,
    host_events,
    strides_of,
    thread_events,
)
from scaleprof.synth.plan import COMM_STREAM, GRADIENT_BYTES, MAIN_STREAM
from scaleprof.synth.rows import closing_rows, rows_of, table
from scaleprof.synth.spec import Spec
from scaleprof.synth.template import Strides, start, template_of
from scaleprof.synth.timeline import BEGIN_NS, Timeline, offset_ns, on_host_clock, simulate
from scaleprof.synth.truth import host_of, write_truth

BASE_NS = BEGIN_NS - 4_000_000_000_000_000
"""`baseTimeNanoseconds`: a coarse time long before the job, so that times since it have 13 digits in us, as real ones have."""
MONOTONIC_NS = 1_000_000_000_000
"""What the monotonic clock of every host shows when the job begins."""
DEVICE_NAME = "Synthetic GPU"
_COMPRESSION = 4  # as the recorder's files
Progress = Callable[[str, int, int], None]


def write_job(spec: Spec, out: Path, *, foreign: bool = False, progress: Progress | None = None) -> Path:
    """The folder of the job, below `out`. It must not exist yet. `progress` gets a word, and how many ranks of how many are written."""
    folder = out / f"{spec.name}-n{spec.ranks}"
    if folder.exists():
        raise OptionError(
            f"{folder} exists already: choose another name with --set name=..., or another folder with -o"
        )
    timeline = simulate(spec)
    temporary = out / f".{folder.name}.{os.getpid()}.tmp"
    try:
        temporary.mkdir(parents=True)
        _write_files(timeline, temporary, foreign=foreign, progress=progress or _silent)
        temporary.replace(folder)
    except OSError as error:
        raise ScaleprofError(f"{folder}: the synthetic job cannot be written ({error.strerror or error})") from error
    finally:  # nothing is left of a job that could not be written to its end
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _silent(stage: str, done: int, total: int) -> None:
    """No progress wanted."""


def _write_files(timeline: Timeline, folder: Path, *, foreign: bool, progress: Progress) -> None:
    spec = timeline.spec
    ranks = spec.ranks_written or spec.ranks
    for rank in range(ranks):
        progress("writing ranks", rank, ranks)
        if foreign:
            _write_trace(timeline, rank, folder / f"{rank_folder_name(rank)}.pt.trace.json")
        else:
            _write_rank(timeline, rank, folder)
    progress("writing ranks", ranks, ranks)
    if not foreign:
        write_json(_run_info(spec), folder / RUN_FILE)
    write_truth(timeline, folder / TRUTH_FILE)


def _write_rank(timeline: Timeline, rank: int, run: Path) -> None:
    """A rank's folder as the recorder leaves it."""
    folder = run / rank_folder_name(rank)
    folder.mkdir()
    write_json(_rank_info(timeline.spec, rank), folder / RANK_FILE)
    bounds = on_host_clock(timeline.spec, rank, timeline.host_start_ns[rank])
    (folder / STEPS_FILE).write_text("".join(_step_lines(timeline.spec, _monotonic(timeline.spec, rank, bounds))))
    name = trace_file_name(0, timeline.steps - 1, "full")
    _write_trace(timeline, rank, folder / name.removesuffix(".gz"))


def _step_lines(spec: Spec, bounds: Ints) -> Iterator[str]:
    """The first step is marked as perturbed: the profiler was started beside it."""
    for step, (begin, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        line = {"i": step, "t0": begin, "t1": end, "data": spec.ns(spec.input_ms), "samples": spec.samples}
        line |= {"profiled": True, "perturbed": step == 0}
        yield json.dumps(line, separators=(",", ":")) + "\n"


def _monotonic(spec: Spec, rank: int, shown_ns: Ints) -> Ints:
    return shown_ns - _shown_at_begin(spec, rank) + MONOTONIC_NS


def _shown_at_begin(spec: Spec, rank: int) -> int:
    return BEGIN_NS + offset_ns(spec, rank)


def _write_trace(timeline: Timeline, rank: int, plain: Path) -> None:
    """One rank's trace file, `.gz` added where the spec wants it compressed."""
    spec, dialect = timeline.spec, timeline.spec.form
    path = plain.with_name(f"{plain.name}.gz") if spec.gz else plain
    head, tail = around(_metadata(spec, rank, path.name), dialect)
    between = dialect.between.encode()
    with _opened(path, compressed=spec.gz) as file:
        file.write(head.encode())
        for place, text in enumerate(_texts(timeline, rank)):
            if place:
                file.write(between)
            file.write(text)
        file.write(tail.encode())


def _texts(timeline: Timeline, rank: int) -> Iterator[bytes]:
    """The events of a file in parts, in order."""
    spec, dialect = timeline.spec, timeline.spec.form
    process, rows, strides = Process(rank, rank % spec.ranks_per_host), rows_of(timeline), strides_of(timeline)
    once, none = Strides(0, 0), _since_origin(closing_rows(timeline, rank), dialect)
    threads = thread_events(process, (MAIN_STREAM, COMM_STREAM))
    if dialect.metadata == "none":
        threads.insert(0, mark_of_array(start(0)))
    if dialect.threads_first:
        yield from template_of(threads, dialect, once).filled(none, 0)
    for make in (host_events, device_events):
        template = template_of(make(timeline, process, rows), dialect, strides)
        for step in range(timeline.steps):
            yield from template.filled(_since_origin(table(timeline, rank, step), dialect), step)
    closing = closing_events(process, (timeline.steps + 1) * strides.numbers)
    if not dialect.threads_first:
        closing[1:1] = threads
    yield from template_of(closing, dialect, once).filled(none, 0)


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


def _metadata(spec: Spec, rank: int, name: str) -> dict[str, Any]:
    """The keys beside the events of a trace file."""
    members = list(range(spec.ranks))
    group = {
        "pg_name": GROUP,
        "pg_desc": GROUP_DESCRIPTION,
        "backend_config": "cuda:nccl",
        "pg_size": spec.ranks,
        "ranks": members,
    }
    about = {"backend": "nccl", "rank": rank, "world_size": spec.ranks}
    modern = {"pg_count": 1, "pg_config": [group], "nccl_version": "2.27.5"}
    devices = min(spec.ranks_per_host, spec.ranks)
    return {
        "schemaVersion": 1,
        "deviceProperties": [_device(number) for number in range(devices)],
        "distributedInfo": about if spec.form.old else {**about, **modern},
        "host_name": host_of(rank, spec.ranks_per_host),
        SYNTHETIC_KEY: True,
        "traceName": name,
        "displayTimeUnit": "ms",
        "baseTimeNanoseconds": BASE_NS,
    }


def _device(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": DEVICE_NAME,
        "totalGlobalMem": 85_899_345_920,
        "computeMajor": 8,
        "computeMinor": 0,
        "maxThreadsPerBlock": 1024,
        "maxThreadsPerMultiprocessor": 2048,
        "regsPerBlock": 65_536,
        "warpSize": 32,
        "sharedMemPerBlock": 49_152,
        "numSms": 108,
    }


def _run_info(spec: Spec) -> RunInfo:
    return RunInfo(
        name=spec.name,
        world_size=spec.ranks,
        series=spec.name,
        run_id=f"{spec.name}-{spec.ranks}-synthetic",
        started_at=BEGIN_NS / 1e9,
        level="full",
        nodes=spec.hosts,
        synthetic=True,
    )


def _rank_info(spec: Spec, rank: int) -> RankInfo:
    shown = _shown_at_begin(spec, rank)
    return RankInfo(
        rank=rank,
        world_size=spec.ranks,
        host=host_of(rank, spec.ranks_per_host),
        pid=Process(rank, rank % spec.ranks_per_host).pid,
        local_rank=rank % spec.ranks_per_host,
        device="cuda",
        device_name=DEVICE_NAME,
        backend="nccl",
        framework="pytorch",
        level="full",
        strategy="ddp",
        model=f"synthetic {spec.layers}-layer model",
        precision="float32",
        parameters=spec.gradient_bytes // GRADIENT_BYTES,
        local_batch=float(spec.samples),
        process_groups=(ProcessGroup(GROUP, tuple(range(spec.ranks)), GROUP_DESCRIPTION, "cuda:nccl"),),
        anchors=(ClockAnchor(shown, MONOTONIC_NS, shown),),
        versions={"scaleprof": __version__},
        capabilities={"profiler": True, "steps": True, "inputs": True},
    )
