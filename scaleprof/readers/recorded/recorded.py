"""Our own recordings: one rank's folder of a run directory as a Trace.

Steps come from `steps.jsonl`, on the monotonic clock, tied to unix time by the anchors in `rank.json`; events from the profiler's files, one
per window of steps; what was issued from the flight recorder. Every file but `rank.json` may be missing or cut short.

A folder that `scaleprof.trace_handler` wrote has no steps of ours: they are those that the training's own profiler marked in its files.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from scaleprof.clock import clock_was_set_ns, mono_to_unix_offset_ns
from scaleprof.errors import BrokenFile, InputError
from scaleprof.intervals import Ints, Spans
from scaleprof.readers.assemble import Draft, assemble
from scaleprof.readers.base import Columns
from scaleprof.readers.kineto.foreign import trace_of, whole_steps
from scaleprof.readers.kineto.kineto import no_columns, read_columns
from scaleprof.readers.recorded.beside import beside_steps, wait_spans
from scaleprof.readers.recorded.segments import Stream, missing_steps
from scaleprof.readers.recorded.streams import DeviceStep, StepLine, step_lines
from scaleprof.readers.recorded.waits import attributed
from scaleprof.readers.windows import annotated_windows, assign, cut_points, device_work, stretches
from scaleprof.readers.xplane.place import is_xplane
from scaleprof.readers.xplane.xplane import recorded_draft
from scaleprof.remote import AnyPath
from scaleprof.run import (
    RANK_FILE,
    STEPS_FILE,
    RankFiles,
    RankInfo,
    read_rank_info,
    window_of_trace_file,
)
from scaleprof.trace import UNKNOWN, Events, Kind, Names, Pauses, Steps, Trace

_PAUSES = {"gc": ("garbage collection", Kind.GC), "compile": ("torch.compile", Kind.COMPILE)}
"""What our own lines call pauses: the name that is shown, and the kind."""


def read_recorded(files: RankFiles, own: Sequence[str] = ()) -> Trace:
    """One rank's Trace from its folder; `own` are the user's patterns of names that communicate."""
    folder = files.folder
    if folder is None:
        raise InputError(f"rank {files.rank}: a recorded rank needs its folder")
    info = read_rank_info(folder / RANK_FILE)
    offset_ns, caveats = _offset_ns(info, folder / RANK_FILE)
    stream = Stream(folder, STEPS_FILE)
    lines = step_lines(stream)
    if not lines and info.level is None and files.traces:
        return _of_their_profiler(files, info, caveats, own)
    caveats += [*stream.caveats, *missing_steps(stream)]
    if not lines:
        caveats.append(f"{STEPS_FILE} holds no steps: nothing but collectives, waits and samples can be shown")
    host = _host_windows(lines, offset_ns)
    beside = beside_steps(folder, lines, host, offset_ns)
    profiled = tuple(path for path in files.traces if is_xplane(path))
    held = recorded_draft(dataclasses.replace(files, traces=profiled), info, host, own) if profiled else None
    columns, said = (held.columns, held.caveats) if held is not None else _columns(files.traces)
    caveats += _unsaved(files.traces, lines)
    in_windows = _covered(files.traces, columns, lines)
    since = np.sort(np.array([host.start[steps[0]] for steps in in_windows if len(steps)], dtype=np.int64))
    draft = held.draft if held is not None else None
    if draft is None:
        draft = assemble(columns, info.process_groups, beside.issued or None, since if len(since) else None, own)
    steps, events = _steps(draft, lines, host, in_windows)
    steps = _on_device_clock(steps, beside.device)
    names, pauses = _pauses(draft.names, beside.pauses)
    return Trace(
        info=info,
        names=names,
        lanes=draft.lanes,
        events=events,
        comm=draft.comm,
        copies=draft.copies,
        operations=draft.operations,
        stream_waits=draft.stream_waits,
        steps=steps,
        samples=beside.samples,
        waits=wait_spans(beside, steps),
        caveats=(*caveats, *beside.caveats, *said),
        blocked=attributed(beside.waits, events, draft.comm),
        tasks=beside.tasks,
        pauses=pauses,
        extra=dict(columns.extra),
    )


def _of_their_profiler(files: RankFiles, info: RankInfo, caveats: Sequence[str], own: Sequence[str]) -> Trace:
    """The Trace of profiler files that stand beside our record of the rank, and of nothing else."""
    columns = read_columns(files.traces)
    draft = assemble(columns, info.process_groups, own=own)
    windows = whole_steps(annotated_windows(draft, stretches(columns), of_optimizer=True), columns)
    if info.local_batch is not None:
        samples = np.full(len(windows.steps), float(info.local_batch))
        windows = dataclasses.replace(windows, steps=dataclasses.replace(windows.steps, samples=samples))
    on_device = bool((draft.lanes.device >= 0).any())
    info = info if info.device is not None else dataclasses.replace(info, device="cuda" if on_device else "cpu")
    return trace_of(info, draft, windows, caveats=(*caveats, *columns.caveats), extra=columns.extra)


def _pauses(names: Names, lines: Sequence[tuple[int, int, str]]) -> tuple[Names, Pauses]:
    """The pauses, and the names with theirs behind them."""
    rows = [line for line in lines if line[2] in _PAUSES]
    said = list(dict.fromkeys(what for _, _, what in rows))
    first = len(names.text)
    names = Names(
        text=(*names.text, *(_PAUSES[what][0] for what in said)),
        category=(*names.category, *("scaleprof" for _ in said)),
        kind=np.concatenate((names.kind, np.array([_PAUSES[what][1] for what in said], dtype=np.uint8))),
        by_rule=np.concatenate((names.by_rule, np.ones(len(said), dtype=np.bool_))),
    )
    times = np.array([line[:2] for line in rows], dtype=np.int64).reshape(-1, 2)
    row = np.array([first + said.index(what) for _, _, what in rows], dtype=np.int64)
    return names, Pauses(times[:, 0], times[:, 1], row)


def _on_device_clock(steps: Steps, device: Mapping[int, DeviceStep]) -> Steps:
    """The steps with what the device says of them: the host only told it to wait, and may be many steps ahead of it.

    Where it says nothing of a step, as of those that it was too far behind in, the host's time of that step is none of the device's.
    """
    if not device:
        return steps
    said = [device.get(index) for index in steps.index.tolist()]
    blocked = [one.wait if one else host for one, host in zip(said, steps.blocked_ns.tolist(), strict=True)]
    times = np.array([one.time if one else UNKNOWN for one in said], dtype=np.int64)
    times[steps.profiled] = UNKNOWN
    untold = (times == UNKNOWN) & ~steps.profiled
    return dataclasses.replace(
        steps,
        blocked_ns=np.array(blocked, dtype=np.int64),
        device_ns=times,
        perturbed=steps.perturbed | (untold & (times != UNKNOWN).any()),
    )


def _offset_ns(info: RankInfo, path: AnyPath) -> tuple[int, list[str]]:
    """What to add to monotonic times, and what the clock and the end of the recording give to say."""
    if not info.anchors:
        raise BrokenFile(path, "holds no clock anchor, so that its step times cannot be tied to its traces")
    caveats = []
    moved_ns = clock_was_set_ns(info.anchors)
    if moved_ns:
        caveats.append(
            f"the clock of this host was set by {moved_ns / 1e6:+,.1f} ms during the run: traces may be shifted against steps"
        )
    if not info.finished:
        caveats.append("the recording was not finished: the job was killed or still runs")
    if info.exception:
        caveats.append(f"the training function ended with {info.exception}")
    caveats += [f"while recording: {warning}" for warning in info.warnings]
    return mono_to_unix_offset_ns(info.anchors), caveats


def _columns(traces: Sequence[AnyPath]) -> tuple[Columns, list[str]]:
    """The events of all windows; none, with the reason, where no file can be read."""
    if not traces:
        return no_columns(), []
    try:
        columns = read_columns(traces)
    except BrokenFile as error:
        unread = frozenset(range(len(traces)))
        return dataclasses.replace(no_columns(), unread=unread), [
            f"no profiler file can be read: {error.path.name} {error.reason}"
        ]
    return columns, list(columns.caveats)


def _host_windows(lines: Sequence[StepLine], offset_ns: int) -> Spans:
    start: Ints = np.array([line.t0 for line in lines], dtype=np.int64) + offset_ns
    end: Ints = np.array([line.t1 for line in lines], dtype=np.int64) + offset_ns
    end = np.maximum.accumulate(np.maximum(end, start))
    start[1:] = np.maximum(start[1:], end[:-1])  # steps of one thread do not overlap: only damaged lines say so
    return Spans(start, end)


def _covered(traces: Sequence[AnyPath], columns: Columns, lines: Sequence[StepLine]) -> list[Ints]:
    """For each whole profiler file the rows of the steps that lie in it.

    None for a file that is cut off: kernels stand behind the operators of all steps in it, so what is missing may belong to any step.
    """
    index = np.array([line.index for line in lines], dtype=np.int64)
    rows = []
    for number, path in enumerate(traces):
        window = window_of_trace_file(path.name)
        if window is None or number in columns.unread or number in columns.cut_off:
            continue
        rows.append(np.flatnonzero((index >= window[0]) & (index <= window[1])))
    return rows


def _unsaved(traces: Sequence[AnyPath], lines: Sequence[StepLine]) -> list[str]:
    """What is missing where steps were profiled and no file holds them."""
    index = np.array([line.index for line in lines], dtype=np.int64)
    missing = np.array([line.profiled for line in lines], dtype=np.bool_)
    if missing.all():  # an older recording, whose lines do not say
        return []
    for window in map(window_of_trace_file, (path.name for path in traces)):
        if window is not None:
            missing &= (index < window[0]) | (index > window[1])
    if not missing.any():
        return []
    first, last = index[missing][[0, -1]]
    count = int(missing.sum())
    which = f"{count:,} steps from {first:,} to {last:,}" if count > 1 else f"step {first:,}"
    return [f"the profiler's file is missing for {which}: the job ended before it was saved, or it could not be"]


def _steps(draft: Draft, lines: Sequence[StepLine], host: Spans, in_windows: Sequence[Ints]) -> tuple[Steps, Events]:
    """The table of steps, and the events with their step. On an accelerator the profiled steps are cut where their device work ends."""
    profiled = np.zeros(len(lines), dtype=np.bool_)
    for rows in in_windows:
        profiled[rows] = True
    profiled &= np.array([line.profiled for line in lines], dtype=np.bool_)
    index = np.array([line.index for line in lines], dtype=np.int64)
    work = device_work(draft)
    windows, launched = host, np.full(len(draft.events), -1, dtype=np.int32)
    if work.any() and len(lines):
        cuts, launched = cut_points(draft, work, host)
        windows, profiled = _cut_windows(host, cuts, profiled, np.diff(index, prepend=index[0]) == 1)
    step = assign(draft.events, launched, work, windows)
    steps = Steps(
        index=index,
        start_ns=windows.start,
        end_ns=windows.end,
        host_start_ns=host.start,
        host_end_ns=host.end,
        samples=np.array([line.samples for line in lines], dtype=np.float64),
        blocked_ns=np.array([line.blocked for line in lines], dtype=np.int64),
        input_ns=np.array([line.input for line in lines], dtype=np.int64),
        runq_ns=np.array([line.runq for line in lines], dtype=np.int64),
        cpu_ns=np.array([line.cpu for line in lines], dtype=np.int64),
        device_ns=np.full(len(lines), UNKNOWN, dtype=np.int64),
        profiled=profiled,
        perturbed=np.array([line.perturbed for line in lines], dtype=np.bool_),
    )
    return steps, dataclasses.replace(draft.events, step=step)


def _cut_windows(
    host: Spans, cuts: Ints, profiled: NDArray[np.bool_], follows: NDArray[np.bool_]
) -> tuple[Spans, NDArray[np.bool_]]:
    """Device windows of the profiled steps, `[cut of the step before, own cut)`; the first of a profiler window has no cut before it.

    `follows` says which steps come right after the one before them: where the step before was not kept, there is no cut of it.
    Steps without a cut keep their host window, moved behind their predecessor's end.
    """
    known = profiled & (cuts > 0)
    after_known = np.concatenate(([False], known[:-1])) & follows
    end = np.maximum.accumulate(np.where(known, cuts, host.end))
    before = np.concatenate((host.start[:1], end[:-1]))
    start = np.where(known & after_known, before, np.maximum(host.start, before))
    return Spans(start, np.maximum(end, start)), known & after_known
