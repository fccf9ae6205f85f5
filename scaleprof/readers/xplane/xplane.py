"""XPlane files, which TensorFlow's and JAX's profilers write, to Traces (`xplane_space` takes them apart, `xplane_words` says what events are).

Each device of a process is a rank of its own where the file tells its events apart: those of accelerators, and those of XLA on the CPU. Steps are
what carries a step's number; this project's own marks count first, then the outermost ones.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.errors import BrokenFile, MissingPackage
from scaleprof.intervals import Spans
from scaleprof.readers.assemble import Draft
from scaleprof.readers.base import Columns, FileFacts
from scaleprof.readers.kineto.foreign import trace_of
from scaleprof.readers.kineto.kineto import no_columns
from scaleprof.readers.windows import annotated_windows
from scaleprof.readers.xplane.comm import Told
from scaleprof.readers.xplane.draft import Gathered, gathered
from scaleprof.readers.xplane.place import is_xplane, place_of
from scaleprof.readers.xplane.rows import devices_in
from scaleprof.readers.xplane.space import Space, read_space
from scaleprof.remote import AnyPath
from scaleprof.run import RankFiles, RankInfo
from scaleprof.trace import UNKNOWN, Kind, Trace

_JAX = ("PjitFunction", "PjRt", "ThunkExecutor", "CommonPjRt")


def facts_of(path: AnyPath) -> FileFacts | None:
    """What the file says of itself and where it lies; None if it is none by its name. BrokenFile where it cannot be read, or protobuf is missing."""
    if not is_xplane(path):
        return None
    try:
        space = read_space(path)
        devices = devices_in(space)
    except MissingPackage as error:
        raise BrokenFile(path, f"was not read: {error}") from error
    place = place_of(path, space)
    stop_ns = space.environment.get("profile_stop_time")
    start_ns = space.start_ns
    has_times = start_ns is not None and isinstance(stop_ns, int) and stop_ns > start_ns
    several = len(devices) > 1
    return FileFacts(
        path,
        rank=0 if several and place.rank is None else place.rank,
        host=_host(space),
        pid=_pid(space),
        span_us=(start_ns / 1e3, stop_ns / 1e3) if has_times else None,  # type: ignore[operator]
        folder=place.folder if several or place.rank is not None else None,
        devices=max(len(devices), 1),
    )


def _host(space: Space) -> str | None:
    """The host; None where its clock is not known to be that of unix time, so that it is nobody else's."""
    if space.start_ns is None:
        return None
    return space.hostname or space.path.name.partition(".")[0]


def _pid(space: Space) -> int | None:
    said = [plane.stats.get("process_id") for plane in space.planes]
    return next((one for one in said if isinstance(one, int) and one > 0), None)


def read_xplane(files: RankFiles, own: Sequence[str] = ()) -> Trace:
    """One rank's Trace from XPlane files alone; `own` are the user's patterns of names that communicate."""
    held = gathered(files.traces, Told(files.rank, files.world_size), own)
    marked = (held.index, held.host)
    windows = annotated_windows(held.draft, held.since, marked=marked)
    return trace_of(_rank_info(files, held), held.draft, windows, caveats=caveats_of(held, files), extra=held.extra)


@dataclass(frozen=True)
class Recorded:
    """The events of a rank's windows that this project recorded."""

    draft: Draft | None
    """None where no file can be read."""
    columns: Columns
    """Without events: which of the files could not be read, and what is to be counted."""
    caveats: list[str]


def recorded_draft(files: RankFiles, info: RankInfo, steps: Spans, own: Sequence[str]) -> Recorded:
    """What is in the XPlane files of a recorded rank, with the sizes of gradients as the training had them."""
    exact = info.details.get("gradient_bytes")
    exact_bytes = frozenset(one for one in exact if isinstance(one, int)) if isinstance(exact, list) else frozenset()
    try:
        held = gathered(files.traces, Told(info.rank, info.world_size, exact_bytes, steps), own)
    except BrokenFile as error:
        unread = dataclasses.replace(no_columns(), unread=frozenset(range(len(files.traces))))
        return Recorded(None, unread, [f"no profiler file can be read: {error.path.name} {error.reason}"])
    columns = dataclasses.replace(no_columns(), unread=frozenset(held.broken), extra=held.extra)
    return Recorded(held.draft, columns, caveats_of(held, files))


def _rank_info(files: RankFiles, held: Gathered) -> RankInfo:
    space, device = held.spaces[0], held.device or next(iter(held.devices), None)
    accelerator = device.kind if device is not None and device.kind != "CPU" else None
    stats = next((plane.stats for plane in space.planes if plane.name.startswith("/device:")), {})
    vendor = stats.get("device_vendor")
    names = held.draft.names
    has_nccl = bool(((names.kind == Kind.COLLECTIVE) & np.array([one == "kernel" for one in names.category])).any())
    versions = {
        key.removesuffix("_version"): text
        for plane in space.planes
        for key in ("jax_version", "jaxlib_version")
        if (text := _text(plane.stats.get(key)))
    }
    return RankInfo(
        rank=files.rank,
        world_size=max(held.operations.world_size, files.world_size or 1),
        host=_host(space),
        pid=_pid(space),
        local_rank=device.ordinal if held.device is not None and device is not None else None,
        device="cuda" if accelerator == "GPU" else accelerator.lower() if accelerator else "cpu",
        device_name=f"{_text(vendor)} {accelerator}" if accelerator and vendor else None,
        backend="nccl" if has_nccl else None,
        framework="jax" if versions or any(text.startswith(_JAX) for text in names.text) else "tensorflow",
        process_groups=held.operations.groups,
        versions=versions,
    )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def caveats_of(held: Gathered, files: RankFiles) -> list[str]:
    """What the files could not say, or had to be guessed."""
    operations, comm = held.operations, held.draft.comm
    said = [f"{error.path.name} was left out: it {error.reason}" for error in held.broken.values()]
    lost, negative = held.extra.get("events_lost", 0), held.extra.get("negative_durations", 0)
    if lines := held.extra.get("lines_lost", 0):
        said.append(
            f"{files.traces[0].name} is damaged: {lines:,} of its threads and streams could not be read, and are missing"
        )
    if lost:
        said.append(f"{files.traces[0].name}: events lost: {lost:,}: their times are none")
    if negative:
        said.append(f"{negative:,} events say that they ended before they began: they count as instants")
    for space in held.spaces:
        if space.start_ns is None and not files.folder:
            said.append(
                f"{space.path.name} does not say when it was recorded: its clock can be compared with others by what both exchanged alone"
            )
        if not files.folder and place_of(space.path, space).counted:
            said.append(
                f"rank {files.rank} is the place of {space.path.name} in its folder: nothing in the file says its rank"
            )
    if files.world_size and operations.world_size > files.world_size:
        said.append(
            f"its collectives run among {operations.world_size:,} processes, of which {files.world_size:,} were found: "
            "what compares all ranks is incomplete"
        )
    if operations.members > 1:
        said.append(
            f"this process takes part in each collective {operations.members} times, once for each of its devices, which the file does not tell "
            "apart: operations and bytes are those of all of them"
        )
    if operations.estimated:
        said.append(
            f"the sizes of {operations.estimated:,} collectives are those of a ring's parts times the ranks: right but for padding"
        )
    if operations.supposed:
        said.append(
            f"the file says no sizes: the first of several all-reduces in each step is taken for that of the gradients "
            f"({operations.supposed:,} collectives)"
        )
    if operations.unsized:
        said.append(
            f"of {operations.unsized:,} collectives the file does not say among how many ranks they run, nor their size"
        )
    if (
        any(op in ("send", "recv") for op in comm.op)
        and (comm.bytes[[op in ("send", "recv") for op in comm.op]] == UNKNOWN).all()
    ):
        said.append("the file does not say how much was sent between devices")
    return said
