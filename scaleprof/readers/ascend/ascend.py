"""Traces of Ascend's profiler (torch_npu), `trace_view.json` in a folder per rank, to Traces.

A device's tasks say what they are by their type; collectives stand on lanes of their own (HCCL), their parts once more on a device stream and on
planes: these count as nothing. The profiler's own overlap analysis is left out, too, but for one thing: it knows to the ns where work ends.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.errors import BrokenFile
from scaleprof.intervals import Ints
from scaleprof.readers.ascend.rows import Rows, What, read_rows
from scaleprof.readers.assemble import assemble
from scaleprof.readers.base import Columns, CommNote, FileFacts, LaneKey
from scaleprof.readers.comm import op_of
from scaleprof.readers.json_text.text import head_of, tail_of
from scaleprof.readers.kineto.facts import rank_in_name
from scaleprof.readers.kineto.foreign import trace_of, whole_steps
from scaleprof.readers.schema import whole
from scaleprof.readers.windows import annotated_windows
from scaleprof.remote import AnyPath
from scaleprof.run import MOST_RANKS, RankFiles, RankInfo
from scaleprof.trace import UNKNOWN, Trace

_HEAD_BYTES = 1 << 20
_SIGNS = re.compile(
    rb'"cat"\s*:\s*"(?:async_npu|async_task_queue|HostToDevice|dequeue|enqueue)"|"name"\s*:\s*"Ascend Hardware"'
)
_OUTPUT_FOLDER = "ASCEND_PROFILER_OUTPUT"
_RANK_FILE = re.compile(r"profiler_info_(\d+)\.json")
_WORKER_FOLDER = re.compile(r"(?P<host>.+)_(?P<pid>\d+)_\d{8,}_ascend_(?:pt|ms)")
_TIME = re.compile(rb'"ts"\s*:\s*"?([0-9]+(?:\.[0-9]+)?)')

_DERIVED, _HARDWARE, _CALLS = "Overlap Analysis", "Ascend Hardware", "CANN"
"""What the profiler calls the processes in the file."""
_COLLECTIVES = ("HCCL", "Communication")
_COMPUTE_TASKS = re.compile(r"AI_?CORE|AI_?VEC|AI_?CPU|MIX_AI|DSA_")
_COPY = re.compile(r"(?i)mem(cpy|set)")
_COLLECTIVE = re.compile(r"hcom_(?P<op>[A-Za-z]+?)_+(?P<group>\d+)_\d+_\d+$")
_ON_VECTOR_CORES = re.compile(r"(?i)aiv_?(all_?(reduce|gather|to_?all)|reduce_?scatter|broadcast|send|recv)")
"""Kernels that carry out a collective: parts of it where the collectives have a lane of their own."""
_KERNEL, _COPIES, _TASK, _CALL, _LEFT_OUT = "kernel", "gpu_memcpy", "npu_task", "cann_runtime", ""
"""Categories. Only the first two are work: other tasks wait for events, record them, or are parts of a collective."""
_LAUNCHES = ("cpu_op", _CALL, "dequeue")
"""What a launch may stand in; the last that does is taken, and of an entry of the task queue the place where it was put in."""
_ROUNDING_NS = 2
"""Starts and durations are cut to digits of their own: an end computed from both may miss the one the profiler knew by so much."""
_DTYPES = {"FP64": "float64", "FP32": "float32", "FP16": "float16", "BFP16": "bfloat16"}
_ONE_SIZE = ("all_reduce", "broadcast", "reduce", "send", "recv")
"""Where the count in the file is that of the large side; of a gather or scatter it is one rank's part."""
_PROCESS_BITS, _DEVICE_MASK = 10, 31


# ---- what a file says of itself


def facts_of(path: AnyPath) -> FileFacts | None:
    """What the head of the file and its folders say; None if it is no trace of Ascend's profiler. The rank is in the names of folders."""
    head = head_of(path, _HEAD_BYTES)
    if head.lstrip()[:1] != b"[":
        return None
    if not _SIGNS.search(head) and not _speaks_later(path, head):
        return None
    folder = path.parent.parent if path.parent.name == _OUTPUT_FOLDER else path.parent
    worker = _WORKER_FOLDER.fullmatch(folder.name)
    rank, in_folder = _rank(path, folder)
    times = [float(time) for time in _TIME.findall(head)]
    return FileFacts(
        path,
        rank,
        host=worker["host"] if worker else None,
        pid=int(worker["pid"]) if worker else None,
        backend="hccl",
        device="npu",
        span_us=(min(times), max(times)) if times else None,
        folder=folder.parent if in_folder else None,
    )


def _speaks_later(path: AnyPath, head: bytes) -> bool:
    """The host's operators stand first, in words of their own, and may fill more than the head."""
    return len(head) == _HEAD_BYTES and b'"Fwd thread id"' in head and bool(_SIGNS.search(tail_of(path, _HEAD_BYTES)))


def _rank(path: AnyPath, folder: AnyPath) -> tuple[int | None, bool]:
    """The rank, and whether it is that of the whole folder."""
    try:
        said = [found[1] for file in folder.iterdir() if (found := _RANK_FILE.fullmatch(file.name))]
    except OSError:
        said = []
    if len(said) == 1 and int(said[0]) <= MOST_RANKS:
        return int(said[0]), True
    named = rank_in_name(path)
    if named is not None:
        return named, False
    named = rank_in_name(Path(folder.name))
    return (named, True) if named is not None and named <= MOST_RANKS else (None, False)


# ---- from rows to a trace


def read_ascend(files: RankFiles, own: Sequence[str] = ()) -> Trace:
    """One rank's Trace. A file that cannot be read costs itself, if there are others. `own`: the user's patterns of names that communicate."""
    parts, caveats = list[_Part](), list[str]()
    for path in files.traces:
        try:
            rows = read_rows(path)
        except BrokenFile as error:
            if len(files.traces) == 1:
                raise
            caveats.append(f"{path.name} was left out: it {error.reason}")
            continue
        parts.append(_understood(rows))
        if rows.cut_off:
            caveats.append(f"{path.name} is cut off after {len(rows.what):,} events: what came later is missing")
        if rows.lost:
            caveats.append(f"{path.name}: events lost: {rows.lost:,}: they could not be decoded")
    if not parts:
        raise BrokenFile(files.traces[0], "cannot be read, nor can the other files of its rank")
    columns = _together(parts)
    draft = assemble(columns, (), own=own)
    # Every task has a type, so no kernel's name has to be known.
    typed = np.array([category in (_KERNEL, _COPIES) for category in draft.names.category], dtype=np.bool_)
    draft = dataclasses.replace(draft, names=dataclasses.replace(draft.names, by_rule=draft.names.by_rule | typed))
    windows = whole_steps(annotated_windows(draft), columns)
    lost = sum(part.rows.lost for part in parts)
    info = _rank_info(files, parts[0], on_device=bool((draft.lanes.device >= 0).any()))
    return trace_of(info, draft, windows, caveats=caveats, extra={"events_lost": lost} if lost else {})


def _rank_info(files: RankFiles, part: "_Part", *, on_device: bool) -> RankInfo:
    facts = facts_of(files.traces[0]) or FileFacts(files.traces[0])
    return RankInfo(
        rank=files.rank,
        world_size=files.rank + 1,
        host=facts.host,
        pid=part.host_pid,
        device="npu" if on_device else "cpu",
        device_name="Ascend NPU" if on_device else None,
        backend="hccl",
        framework="pytorch",
    )


@dataclass(frozen=True)
class _Part:
    """One file, understood."""

    rows: Rows
    host_pid: int | None
    names: Sequence[tuple[str, str]]
    """(category, name) by `rows.what`."""
    lanes: Sequence[LaneKey]
    """By `rows.thread`."""
    kept: NDArray[np.bool_]
    dur_ns: Ints
    correlation: Ints
    notes: Mapping[int, CommNote]


def _understood(rows: Rows) -> _Part:
    process = {what.pid: rows.processes.get(what.pid, "") for what in rows.whats}
    has_lane = any(text in _COLLECTIVES for text in process.values())
    names = [(_category(process[what.pid], what, has_lane), what.text) for what in rows.whats]
    together = np.array([process[what.pid] in _COLLECTIVES for what in rows.whats], dtype=np.bool_)[rows.what]
    work = _of(rows, names, _KERNEL)
    collectives = np.flatnonzero(work & together)
    dur_ns = _ended_as(rows, rows.dur_ns, np.flatnonzero(work & ~together), _derived(rows, process, "Computing"))
    dur_ns = _ended_as(rows, dur_ns, collectives, _derived(rows, process, "Communication"))
    host = _host_pid(rows)
    return _Part(
        rows=rows,
        host_pid=host,
        names=names,
        lanes=[_lane(rows, thread, process.get(thread[0], ""), host) for thread in rows.threads],
        kept=~_of(rows, names, _LEFT_OUT),
        dur_ns=dur_ns,
        correlation=_launches(rows, names),
        notes={
            row: _note(rows.whats[rows.what[row]].text, *rows.sizes.get(row, (None, "")))
            for row in collectives.tolist()
        },
    )


def _of(rows: Rows, names: Sequence[tuple[str, str]], *categories: str) -> NDArray[np.bool_]:
    """Which rows are of some categories."""
    return np.array([category in categories for category, _ in names], dtype=np.bool_)[rows.what]


def _category(process: str, what: What, collectives_have_a_lane: bool) -> str:
    if process == _DERIVED:
        return _LEFT_OUT
    if process == _HARDWARE and collectives_have_a_lane and _ON_VECTOR_CORES.search(what.text):
        return _TASK
    if process in _COLLECTIVES:
        return _KERNEL if _COLLECTIVE.match(what.text) else _TASK
    if process == _HARDWARE:
        return _COPIES if _COPY.match(what.text) else _KERNEL if _COMPUTE_TASKS.search(what.task_type) else _TASK
    return _CALL if process == _CALLS else what.category or process or _TASK


def _derived(rows: Rows, process: Mapping[Any, str], text: str) -> Ints:
    """The ends of a lane of the overlap analysis."""
    chosen = np.array([process[what.pid] == _DERIVED and what.text == text for what in rows.whats], dtype=np.bool_)
    here = np.flatnonzero(chosen[rows.what])
    return np.sort(rows.start_ns[here] + rows.dur_ns[here])


def _ended_as(rows: Rows, dur_ns: Ints, work: Ints, ends: Ints) -> Ints:
    """The durations, so that work ends where the profiler says that work of its kind ended, if that is but a rounding away."""
    if not len(ends) or not len(work):
        return dur_ns
    end = rows.start_ns[work] + dur_ns[work]
    after = np.minimum(np.searchsorted(ends, end), len(ends) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(ends[after] - end) <= np.abs(ends[before] - end), ends[after], ends[before])
    exact = dur_ns.copy()
    exact[work] += np.where(np.abs(nearest - end) <= _ROUNDING_NS, nearest - end, 0)
    return np.maximum(exact, 0)


def _host_pid(rows: Rows) -> int | None:
    """The process that computed: the one with most operators."""
    count = np.bincount(rows.what, minlength=len(rows.whats)).tolist()
    found = Counter[int]()
    for what, times in zip(rows.whats, count, strict=True):
        if what.category == "cpu_op" and isinstance(what.pid, int):
            found[what.pid] += times
    return found.most_common(1)[0][0] if found else None


def _lane(rows: Rows, thread: tuple[Any, Any], process: str, host_pid: int | None) -> LaneKey:
    pid, tid = thread
    if process not in (_HARDWARE, *_COLLECTIVES):
        return LaneKey(False, pid, tid)
    # The profiler's processes are numbered by the process that computed, their place in the view, and the device.
    device = pid & _DEVICE_MASK if isinstance(pid, int) and pid >> _PROCESS_BITS == host_pid else 0
    return LaneKey(True, device, tid if process == _HARDWARE else f"{process} {rows.labels.get(thread, tid)}")


def _note(text: str, count: Any, data_type: Any) -> CommNote:
    found = _COLLECTIVE.match(text)
    if found is None:
        return CommNote()
    op = op_of(found["op"].lower().replace("receive", "recv"))
    size = whole(count) if op in _ONE_SIZE else UNKNOWN
    return CommNote(
        op=op,
        in_elements=size,
        out_elements=size,
        dtype=_DTYPES.get(str(data_type), str(data_type)),
        group=found["group"],
    )


def _launches(rows: Rows, names: Sequence[tuple[str, str]]) -> Ints:
    """For every task and its launch one number, the row of the launch; the arrows in the file lead from the one to the other."""
    correlation = np.full(len(rows.what), UNKNOWN, dtype=np.int64)
    by_thread: dict[Any, list[tuple[int, int]]] = {}
    tasks = np.flatnonzero(_of(rows, names, _KERNEL, _COPIES))
    for row in tasks.tolist():  # an arrow is looked up by what it points at
        pid, tid = rows.threads[rows.thread[row]]
        if (start := rows.arrows.get((pid, tid, int(rows.start_ns[row])))) is not None:
            by_thread.setdefault(start[0], []).append((row, start[1]))
    put_in = {number: row for row, number in rows.queued.items() if names[rows.what[row]][0] == "enqueue"}
    for thread, pairs in by_thread.items():  # a few threads launch
        here = np.array([tid == thread for _, tid in rows.threads], dtype=np.bool_)[rows.thread]
        at = np.array([time_ns for _, time_ns in pairs], dtype=np.int64)
        launch = np.full(len(at), -1, dtype=np.int64)
        for kind in _LAUNCHES:
            found = _enclosing(rows, np.flatnonzero(here & _of(rows, names, kind)), at)
            launch = np.where(found >= 0, found, launch)
        for (task, _), one in zip(pairs, launch.tolist(), strict=True):
            if one >= 0:
                one = put_in.get(rows.queued.get(one), one)
                correlation[[task, one]] = one
    return correlation


def _enclosing(rows: Rows, spans: Ints, at: Ints) -> Ints:
    """The last of the spans that begins before each time, if it encloses it; else -1."""
    if not len(spans):
        return np.full(len(at), -1, dtype=np.int64)
    spans = spans[np.argsort(rows.start_ns[spans], kind="stable")]
    place = np.searchsorted(rows.start_ns[spans], at, side="right") - 1
    found = spans[np.maximum(place, 0)]
    return np.where((place >= 0) & (at <= rows.start_ns[found] + rows.dur_ns[found]), found, -1)


def _together(parts: Sequence[_Part]) -> Columns:
    names: dict[tuple[str, str], int] = {}
    lanes: dict[LaneKey, int] = {}
    labels: dict[LaneKey, str] = {}
    notes: dict[int, CommNote] = {}
    columns: list[tuple[NDArray[Any], ...]] = []
    before = 0
    for number, part in enumerate(parts):
        rows, kept = part.rows, part.kept
        name = np.array([names.setdefault(one, len(names)) for one in part.names], dtype=np.int32)[rows.what]
        used = np.bincount(rows.thread[kept], minlength=len(part.lanes)) > 0
        lane = np.array(
            [
                lanes.setdefault(one, len(lanes)) if is_used else -1
                for one, is_used in zip(part.lanes, used, strict=True)
            ],
            dtype=np.int32,
        )[rows.thread]
        labels |= {key: rows.labels.get(thread, "") for key, thread in zip(part.lanes, rows.threads, strict=True)}
        place = before + np.cumsum(kept) - 1
        notes |= {int(place[row]): note for row, note in part.notes.items()}
        file = np.full(len(kept), number, dtype=np.int16)
        columns.append(
            tuple(column[kept] for column in (rows.start_ns, part.dur_ns, name, lane, part.correlation, file))
        )
        before += int(kept.sum())
    start_ns, dur_ns, name, lane, correlation, file = (np.concatenate(column) for column in zip(*columns, strict=True))
    nothing = np.zeros(0, dtype=np.int64)
    return Columns(
        start_ns=start_ns,
        dur_ns=dur_ns,
        name=name,
        lane=lane,
        correlation=correlation,
        file=file,
        copied=(nothing, nothing),
        names=tuple(names),
        lanes=tuple(lanes),
        lane_labels=labels,
        notes=notes,
        cut_off=frozenset(number for number, part in enumerate(parts) if part.rows.cut_off),
    )
