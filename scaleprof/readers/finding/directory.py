"""Our own run directories: which folder is one, what it holds, and what all its ranks together say about the run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scaleprof.errors import BrokenFile, NothingToRead
from scaleprof.readers.finding.grouping import missing_ranks
from scaleprof.remote import AnyPath, at_once, inside
from scaleprof.run import (
    RANK_FILE,
    RUN_FILE,
    RankFiles,
    RankInfo,
    Run,
    RunInfo,
    horovod_timeline_of,
    rank_folder_name,
    rank_of_folder,
    read_rank_info,
    read_run_info,
    replicas_of,
    splits_the_model,
    window_of_trace_file,
)

_FROM_RANKS = (
    "framework",
    "strategy",
    "device",
    "device_name",
    "backend",
    "level",
    "model",
    "precision",
    "mesh",
    "replicas",
    "flops_per_step",
    "emulated",
)
"""Fields of RunInfo that the ranks say, if `run.json` does not: most ranks decide."""


def is_run_directory(folder: AnyPath) -> bool:
    """Whether this project recorded the folder."""
    if (folder / RUN_FILE).exists():
        return True
    return any(
        (child / RANK_FILE).exists() for child in folder.glob("rank-*") if rank_of_folder(child.name) is not None
    )


def run_of_directory(folder: AnyPath, only: int | None = None) -> Run:
    """The run in a folder; with `only`, that rank of it. A rank whose `rank.json` is broken is left out, with a caveat."""
    folders = {
        rank: child
        for child in inside(folder)
        if (rank := rank_of_folder(child.name)) is not None and child.is_dir() and only in (None, rank)
    }
    caveats: list[str] = []
    ranks: dict[int, RankFiles] = {}
    infos: list[RankInfo] = []
    for (rank, child), found in zip(folders.items(), at_once(_recorded, tuple(folders.values())), strict=True):
        if isinstance(found, BrokenFile):
            caveats.append(f"rank {rank} was left out: {child.name}/{RANK_FILE} {found.reason}")
            continue
        rank_info, windows = found
        infos.append(rank_info)
        ranks[rank] = RankFiles(rank, "recorded", windows, child)
    timeline = horovod_timeline_of(folder / rank_folder_name(0))
    if timeline is not None:
        ranks = {rank: replace(files, timeline=timeline) for rank, files in ranks.items()}
    if not ranks:
        what = "; ".join(caveats) or "it holds no folder of any rank: the job ended before it recorded anything"
        raise NothingToRead(f"{folder}: {what}")
    try:
        info = read_run_info(folder / RUN_FILE)
    except BrokenFile as error:
        caveats.append(f"{RUN_FILE} {error.reason}: the run is called after its folder")
        info = RunInfo(name=folder.resolve().name, world_size=max(rank_info.world_size for rank_info in infos))
    sizes = sorted({info.world_size, *(rank_info.world_size for rank_info in infos)})
    if len(sizes) > 1:
        caveats.append(
            f"the ranks do not agree on the world size ({', '.join(map(str, sizes))}): two jobs may have written here"
        )
    info = _merged(replace(info, world_size=max(info.world_size, max(ranks) + 1)), infos)
    return Run(folder, info, ranks, (*caveats, *missing_ranks(ranks, info.world_size)))


def _recorded(folder: AnyPath) -> tuple[RankInfo, tuple[AnyPath, ...]] | BrokenFile:
    """What a rank's folder says of it, and the profiler's files there."""
    try:
        # Every rank names all members of its groups: of thousands of ranks that is more than all else they say.
        return replace(read_rank_info(folder / RANK_FILE), process_groups=()), _windows(folder)
    except BrokenFile as error:
        return error


def _windows(folder: AnyPath) -> tuple[AnyPath, ...]:
    """The profiler's files, in order of their steps."""
    windows = {file: window for file in folder.iterdir() if (window := window_of_trace_file(file.name)) is not None}
    return tuple(sorted(windows, key=lambda file: (windows[file][0], windows[file][1], file.name)))


def _merged(info: RunInfo, ranks: Sequence[RankInfo]) -> RunInfo:
    """What `run.json` says, completed by what the ranks say."""
    said: dict[str, Any] = {}
    for name in _FROM_RANKS:
        if getattr(info, name) is None:
            values = [value for rank in ranks if (value := getattr(rank, name)) not in (None, {})]
            said[name] = Counter(map(repr, values)).most_common(1)[0][0] if values else None
            said[name] = next((value for value in values if repr(value) == said[name]), None)
    if info.parameters is None:
        said["parameters"] = _parameters(ranks)
    hosts = {rank.host for rank in ranks}
    if info.nodes is None and None not in hosts and len(ranks) == info.world_size:
        said["nodes"] = len(hosts)
    if not info.versions:
        said["versions"] = next((dict(rank.versions) for rank in ranks if rank.versions), {})
    if not info.overhead:
        keys = sorted({key for rank in ranks for key in rank.overhead})
        said["overhead"] = {key: max(rank.overhead.get(key, 0.0) for rank in ranks) for key in keys}
    return _with_batch(replace(info, **said), ranks)


def _parameters(ranks: Sequence[RankInfo]) -> int | None:
    """Of the whole model: those of all stages of a pipeline, each counted once; None where a stage is missing."""
    by_stages: dict[tuple[int, ...], int] = {}
    wanted = 0
    for rank in ranks:
        pipeline = rank.details.get("pipeline")
        if rank.parameters is not None:
            stages = pipeline.get("stages") if isinstance(pipeline, dict) else None
            by_stages[tuple(stages) if isinstance(stages, list) else ()] = rank.parameters
        if isinstance(pipeline, dict) and isinstance(pipeline.get("num_stages"), int):
            wanted = max(wanted, pipeline["num_stages"])
    if not wanted:
        return (
            Counter(rank.parameters for rank in ranks if rank.parameters is not None).most_common(1)[0][0]
            if by_stages
            else None
        )
    return sum(by_stages.values()) if sum(map(len, by_stages)) == wanted else None


def _with_batch(info: RunInfo, ranks: Sequence[RankInfo]) -> RunInfo:
    """Samples a step of one data-parallel rank and of the whole job, where they can be known."""
    batches = [rank.local_batch for rank in ranks if rank.local_batch is not None]
    if not batches or (len(batches) < len(ranks) and not splits_the_model(info)):
        return info  # only where ranks share their samples does one speak for others
    local = info.local_batch if info.local_batch is not None else sum(batches) / len(batches)
    total: float | None = None
    if len(set(batches)) == 1:
        replicas = replicas_of(info)
        total = batches[0] * replicas if replicas else None
    elif len(batches) == info.world_size and not splits_the_model(info):
        total = sum(batches)
    return replace(info, local_batch=local, global_batch=info.global_batch if info.global_batch is not None else total)
