"""The on-disk contract: what a run directory is called, holds and means. Only this file names files on disk.

    traces/<run>/run.json                          identity only, written first, by rank 0
    traces/<run>/rank-00003/rank.json              RankInfo: written at the start, again at the end
                            steps.jsonl            one line a step, flushed as it happens
                            collectives.jsonl.gz   the flight recorder's entries (torch's own keys)
                            p2p.jsonl.gz           point-to-point transfers, each with its peer
                            waits.jsonl.gz         when the calling thread was blocked
                            pauses.jsonl           when the interpreter collected garbage or torch.compile compiled
                            device.jsonl           how long the compute stream was blocked, by the device's own clock
                            tasks.jsonl            independent tasks, where the training names them
                            samples.jsonl          hardware and process counters
                            trace-<first>-<last>.<level>.json.gz   the profiler's own file, one per window of steps; TensorFlow's is .xplane.pb
                            horovod-timeline.json.gz   rank 0 of a Horovod job: what the coordinator saw; without .gz while it is written
                  truth.json                             synthetic runs only: what an analysis must find

Whole files are written to a temporary name and renamed; streams (`*.jsonl*`) are append-only, so that a killed job leaves what it had.
A stream is written in segments: the first has the plain name, later ones carry their number, as `steps.00001.jsonl` and
`collectives.00001.jsonl.gz` do. `STREAM_BYTES` bounds their sum: the first segment is always kept, then the newest ones, so that a number that
is missing between two others says what was not kept. A line `{"lost": n}` stands where n lines could not be written.
Times in our own streams are ns of the monotonic clock; `RankInfo.anchors` tie it to unix time.
"""

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from scaleprof.clock import ClockAnchor, ClockOffset, HostClock
from scaleprof.errors import BrokenFile
from scaleprof.fields import fits, spoken
from scaleprof.remote import AnyPath

SCHEMA_VERSION = 1
MOST_RANKS = 1 << 20  # a record that says more is damaged

RUN_FILE = "run.json"
RANK_FILE = "rank.json"
STEPS_FILE = "steps.jsonl"
COLLECTIVES_FILE = "collectives.jsonl.gz"
P2P_FILE = "p2p.jsonl.gz"
WAITS_FILE = "waits.jsonl.gz"
PAUSES_FILE = "pauses.jsonl"
DEVICE_FILE = "device.jsonl"
TASKS_FILE = "tasks.jsonl"
SAMPLES_FILE = "samples.jsonl"
HOROVOD_FILE = "horovod-timeline.json"
FACTS_FILE = "facts.bin"
TRUTH_FILE = "truth.json"
SEGMENTS = 8
"""Segments that a full stream has: the beginning of the job and the newest ones, each of the same part of the bytes."""
STREAM_BYTES = {STEPS_FILE: 64_000_000, COLLECTIVES_FILE: 8_000_000, WAITS_FILE: 16_000_000, SAMPLES_FILE: 32_000_000}
"""What a stream may take on disk: some 300,000 steps, 400,000 collectives, a million waits, a day of samples. Read in seconds, each of them."""
OTHER_STREAM_BYTES = 16_000_000
LOST_KEY = "lost"
"""In a line of its own: how many lines are missing here, because they could not be written."""
SYNTHETIC_KEY = "scaleprof_synthetic"
"""In a trace file beside its events: it was computed, not recorded."""
CACHE_VARIABLE = "SCALEPROF_CACHE"
"""A folder to keep things in, or 0 for none."""
_RANK_FOLDER = re.compile(r"rank-(\d{5,})")
_SEGMENT_FILE = re.compile(r"(.+?)\.(\d{5,})(\.jsonl(?:\.gz)?)")
_TRACE_FILE = re.compile(r"trace-(\d+)-(\d+)\.(light|timeline|full)\.(?:json|xplane\.pb)(\.gz)?")
_SPLIT_THE_MODEL = frozenset(
    {"tp", "sp", "pp", "cp", "ep", "tensor", "pipeline", "context", "expert", "1f1b", "gpipe", "interleaved"}
)
_DATA_PARALLEL_DIMENSIONS = re.compile(r"dp|data|replicate|shard|fsdp", re.IGNORECASE)

Level = Literal["light", "timeline", "full"]
LEVELS: tuple[Level, ...] = ("light", "timeline", "full")


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where what was read once is kept for the next time; None where the user wants nothing kept, or has no home."""
    stated = environment.get(CACHE_VARIABLE, "")
    if stated.lower() in ("0", "off", "false"):
        return None
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    with suppress(RuntimeError):
        return Path(stated or f"{base}/scaleprof").expanduser()
    return None


def spill_folder() -> Path | None:
    """Where what does not fit in memory may lie for a while: beside what is kept, since the usual folder may itself be memory; None for the usual."""
    folder = cache_folder()
    return folder if folder is not None and folder.is_dir() else None


def rank_folder_name(rank: int) -> str:
    """`rank-00003`"""
    return f"rank-{rank:05d}"


def rank_of_folder(name: str) -> int | None:
    """The rank a folder's name stands for, None if it is no rank folder."""
    found = _RANK_FOLDER.fullmatch(name)
    return int(found[1]) if found else None


def trace_file_name(first_step: int, last_step: int, level: Level, suffix: str = "json.gz") -> str:
    """The name of a profiler window's file; `last_step` is the last step inside, not the one after."""
    return f"trace-{first_step:06d}-{last_step:06d}.{level}.{suffix}"


def window_of_trace_file(name: str) -> tuple[int, int, Level] | None:
    """First step, last step and level from a window's file name; None for other files."""
    found = _TRACE_FILE.fullmatch(name)
    return (int(found[1]), int(found[2]), found[3]) if found else None  # type: ignore[return-value]


def horovod_timeline_of(folder: AnyPath) -> AnyPath | None:
    """The Horovod timeline in the folder of rank 0; None where there is none."""
    return next((path for end in (".gz", "") if (path := folder / (HOROVOD_FILE + end)).exists()), None)


def stream_bytes(stream: str) -> int:
    """What all segments of a stream may take on disk together."""
    return STREAM_BYTES.get(stream, OTHER_STREAM_BYTES)


def segment_name(stream: str, number: int) -> str:
    """`steps.jsonl`, `steps.00001.jsonl`: the file of a stream's segment."""
    stem, dot, suffixes = stream.partition(".")
    return f"{stem}.{number:05d}{dot}{suffixes}" if number else stream


def segments_of(folder: AnyPath, stream: str) -> dict[int, AnyPath]:
    """The segments of a stream that are there, in order."""
    found: dict[int, AnyPath] = {0: folder / stream} if (folder / stream).exists() else {}
    for file in folder.iterdir():
        named = _SEGMENT_FILE.fullmatch(file.name)
        if named and named[1] + named[3] == stream and int(named[2]):
            found[int(named[2])] = file
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class ProcessGroup:
    """Ranks that communicate with one another."""

    name: str
    ranks: tuple[int, ...]
    description: str = ""
    backend: str = ""


@dataclass(frozen=True)
class Emulated:
    """What an emulated device stood in for. Times are per optimizer step of this rank."""

    what: str = "compute emulated, communication real"
    compute_ms_per_step: float | None = None
    """The known time of the emulated compute, the answer a test compares with."""
    link: str = ""
    """How the network was limited, e.g. `200mbit between namespaces`; empty for none."""


@dataclass(frozen=True)
class RankInfo:
    """One process: the content of `rank.json`, or what a foreign trace says of itself. Unknown is None or empty, never a guess."""

    rank: int
    world_size: int
    host: str | None = None
    pid: int | None = None
    local_rank: int | None = None
    device: str | None = None
    """`cpu`, `cuda`, ...: where the model computes."""
    device_name: str | None = None
    backend: str | None = None
    framework: str | None = None
    level: Level | None = None
    """The recording level; None for traces that other tools wrote."""
    strategy: str | None = None
    model: str | None = None
    precision: str | None = None
    parameters: int | None = None
    """Of the model, or of the pipeline stages that this rank holds."""
    local_parameters: int | None = None
    """Those that this rank keeps, of a model whose parameters are sharded."""
    mesh: dict[str, int] = field(default_factory=dict)
    """The dimensions over which the ranks share the work, with the training's own names where it gave some: `{"dp": 2, "tp": 4}`."""
    coordinates: dict[str, int] = field(default_factory=dict)
    """This rank's place in each of them."""
    replicas: int | None = None
    """How many ranks or groups of ranks take different samples."""
    local_batch: float | None = None
    """Samples this rank took per step, where it is constant or stated."""
    flops_per_step: float | None = None
    process_groups: tuple[ProcessGroup, ...] = ()
    anchors: tuple[ClockAnchor, ...] = ()
    clock: HostClock | None = None
    """The clock of this rank's host against that of rank 0's; None where nobody asked."""
    details: dict[str, Any] = field(default_factory=dict)
    """What was found out about the strategy: buckets, hooks, optimizers."""
    versions: dict[str, str] = field(default_factory=dict)
    capabilities: dict[str, bool] = field(default_factory=dict)
    """What could be recorded here: flight_recorder, wait_points, run_queue, profiler, nvml, ..."""
    overhead: dict[str, float] = field(default_factory=dict)
    """What recording cost, in ms: profiler_stop_ms, flight_recorder_ms, export_ms, sampler_ms, detect_ms, clock_sync_ms."""
    warnings: tuple[str, ...] = ()
    exception: str | None = None
    """How the training function ended, if with an exception."""
    finished: bool = True
    """False while recording: a job that was killed leaves it so."""
    emulated: Emulated | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class RunInfo:
    """One job. Everything but name and world size is optional; merged from `run.json` and every `rank.json`."""

    name: str
    world_size: int
    series: str | None = None
    """The study this run belongs to, where the user or `sweep` said so."""
    repeat: int = 0
    run_id: str | None = None
    started_at: float | None = None
    """Unix seconds."""
    tags: dict[str, str] = field(default_factory=dict)
    framework: str | None = None
    strategy: str | None = None
    mesh: dict[str, int] | None = None
    replicas: int | None = None
    nodes: int | None = None
    device: str | None = None
    device_name: str | None = None
    backend: str | None = None
    level: Level | None = None
    model: str | None = None
    precision: str | None = None
    parameters: int | None = None
    local_batch: float | None = None
    """Samples a step per data-parallel rank."""
    global_batch: float | None = None
    """Samples a step of the whole job."""
    flops_per_step: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    overhead: dict[str, float] = field(default_factory=dict)
    synthetic: bool = False
    emulated: Emulated | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class RankFiles:
    """The files of one rank, and the reader that understands them."""

    rank: int
    reader: str
    """The name of a reader in `readers.READERS`."""
    traces: tuple[AnyPath, ...] = ()
    """Profiler files, in order of time."""
    folder: AnyPath | None = None
    """The rank's own folder, where this project recorded it."""
    timeline: AnyPath | None = None
    """The Horovod timeline of the job, which rank 0 wrote about the operations of all ranks."""
    world_size: int | None = None
    """Of foreign files: how many ranks their run has, as far as all of them say."""

    @property
    def size_bytes(self) -> int:
        """The size of everything of this rank on disk, to read the largest first."""
        with suppress(OSError):  # what cannot be looked at is told when it is read
            files = [*self.traces, *(self.folder.iterdir() if self.folder else ())]
            return sum(file.stat().st_size for file in set(files) if file.is_file())
        return 0


@dataclass(frozen=True)
class Run:
    """One job on disk: our own run directory, or foreign trace files that belong together."""

    path: AnyPath
    info: RunInfo
    ranks: dict[int, RankFiles]
    caveats: tuple[str, ...] = ()


def splits_the_model(info: RunInfo) -> bool:
    """Whether ranks may share their samples, going by the words of the strategy."""
    return bool(_SPLIT_THE_MODEL & set(re.split(r"[^a-z0-9]+", (info.strategy or "").lower())))


def replicas_of(info: RunInfo) -> int | None:
    """How many ranks, or groups of ranks, take different samples."""
    if info.replicas is not None:
        return info.replicas
    if not splits_the_model(info):
        return info.world_size
    if info.mesh is None:
        return None
    replicas = 1
    for dimension, size in info.mesh.items():
        replicas *= size if _DATA_PARALLEL_DIMENSIONS.search(dimension) else 1
    return replicas


Record = TypeVar("Record", RankInfo, RunInfo)


def to_json(record: RankInfo | RunInfo) -> str:
    """The text of `rank.json` or `run.json`: absent values are left out."""
    content = {key: value for key, value in dataclasses.asdict(record).items() if value is not None}
    return json.dumps(content, indent=1, default=str)


def write_json(record: RankInfo | RunInfo, path: Path) -> None:
    """Write a record at once or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(to_json(record) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_rank_info(path: AnyPath) -> RankInfo:
    """The record in a `rank.json`; keys of newer versions are ignored."""
    return rank_info_of(_read_object(path), path)


def rank_info_of(content: dict[str, Any], path: AnyPath) -> RankInfo:
    """The record in what was read from a file; keys of newer versions are ignored."""
    return _from_dict(RankInfo, content, path)


def read_run_info(path: AnyPath) -> RunInfo:
    """The record in a `run.json`; keys of newer versions are ignored."""
    return _from_dict(RunInfo, _read_object(path), path)


def _read_object(path: AnyPath) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BrokenFile(path, "is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenFile(path, f"is not readable JSON ({getattr(error, 'strerror', None) or error})") from error
    if not isinstance(content, dict):
        raise BrokenFile(path, "holds no JSON object")
    return content


def _from_dict(kind: type[Record], content: dict[str, Any], path: AnyPath) -> Record:
    known = {f.name for f in dataclasses.fields(kind)}
    values = {key: value for key, value in content.items() if key in known}
    try:
        if values.get("emulated"):
            values["emulated"] = Emulated(**values["emulated"])
        if "process_groups" in values:
            values["process_groups"] = tuple(
                ProcessGroup(**{**group, "ranks": tuple(group["ranks"])}) for group in values["process_groups"]
            )
        if "anchors" in values:
            values["anchors"] = tuple(ClockAnchor(**anchor) for anchor in values["anchors"])
        if values.get("clock"):
            offsets = tuple(ClockOffset(**offset) for offset in values["clock"].get("offsets", ()))
            values["clock"] = HostClock(**{**values["clock"], "offsets": offsets})
        if "warnings" in values:
            values["warnings"] = tuple(str(warning) for warning in values["warnings"])
        record = kind(**values)
    except (TypeError, KeyError, AttributeError) as error:
        raise BrokenFile(path, f"does not hold what a {kind.__name__} needs ({error})") from error
    for f in dataclasses.fields(kind):
        if not fits(getattr(record, f.name), f.type):
            raise BrokenFile(path, f"says {f.name} {getattr(record, f.name)!r}, which is no {spoken(f.type)}")
    if not 1 <= record.world_size <= MOST_RANKS:
        raise BrokenFile(
            path, f"says world_size {record.world_size!r}, which must be a whole number from 1 to {MOST_RANKS:,}"
        )
    return record
