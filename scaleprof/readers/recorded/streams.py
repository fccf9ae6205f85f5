"""What the lines of our own recordings say: steps, waits, samples, collectives. Lines are taken as they come and not kept: there may be millions."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from sys import intern
from typing import Any, NamedTuple

import numpy as np

from scaleprof.intervals import Ints
from scaleprof.readers.comm import Issued, op_of
from scaleprof.readers.schema import whole
from scaleprof.trace import UNKNOWN, Blocked, Floats, Samples, Tasks

MOST_COUNTERS = 256
"""Different counters in one stream of samples; more are no recording of ours."""
_ABSENT = float("nan")


@dataclass(frozen=True, slots=True)
class StepLine:
    """One line of `steps.jsonl`, on the monotonic clock; UNKNOWN where it does not say."""

    index: int
    t0: int
    t1: int
    cpu: int
    runq: int
    """Run-queue wait outside communication waits."""
    input: int
    blocked: int
    samples: float
    profiled: bool
    perturbed: bool


def step_lines(lines: Iterable[dict[str, Any]]) -> list[StepLine]:
    """The steps in order of time; a line without times is no step."""
    steps: dict[int, StepLine] = {}
    for line in lines:
        t0, t1 = whole(line.get("t0")), whole(line.get("t1"))
        if t0 < 0 or t1 < t0:
            continue
        index = whole(line.get("i"), absent=len(steps))
        steps[index] = StepLine(
            index=index,
            t0=t0,
            t1=t1,
            cpu=whole(line.get("cpu")),
            runq=_outside_waits(line),
            input=whole(line.get("data")),
            blocked=whole(line.get("wait")),
            samples=_real(line.get("samples")),
            profiled=bool(line.get("profiled", True)),
            perturbed=bool(line.get("perturbed", False)),
        )
    return sorted(steps.values(), key=lambda step: step.t0)


def _outside_waits(line: dict[str, Any]) -> int:
    all_of_it, in_waits = whole(line.get("runq")), whole(line.get("runq_wait"))
    if all_of_it < 0:
        return UNKNOWN
    if in_waits < 0:
        return all_of_it if not line.get("wait") else UNKNOWN
    return max(all_of_it - in_waits, 0)


def wait_lines(lines: Iterable[dict[str, Any]], offset_ns: int) -> Blocked:
    """When the calling thread was blocked, in unix time and in order of time; nothing says yet in what."""
    numbers = array("q")
    what: list[str] = []
    op: list[str] = []
    for line in lines:
        start_ns, dur_ns = whole(line.get("t")), whole(line.get("d"))
        if min(start_ns, dur_ns) >= 0:
            numbers.extend((start_ns, dur_ns))
            what.append(intern(str(line.get("what", ""))))
            op.append(intern(str(line.get("op", ""))))
    table = np.array(numbers, dtype=np.int64).reshape(-1, 2)
    order = np.argsort(table[:, 0], kind="stable")
    start, dur = table[order, 0] + offset_ns, table[order, 1]
    places = order.tolist()
    nothing = np.full(len(order), -1, dtype=np.int32)
    return Blocked(start, dur, tuple(what[place] for place in places), tuple(op[place] for place in places), nothing)


def pause_lines(lines: Iterable[dict[str, Any]], offset_ns: int) -> list[tuple[int, int, str]]:
    """When the interpreter stopped for something that is no training: start in unix time, duration, and what for, in order of time."""
    rows = []
    for line in lines:
        start_ns, dur_ns, what = whole(line.get("t")), whole(line.get("d")), line.get("what")
        if min(start_ns, dur_ns) >= 0 and isinstance(what, str):
            rows.append((start_ns + offset_ns, dur_ns, what))
    return sorted(rows)


def sample_columns(lines: Iterable[dict[str, Any]], offset_ns: int) -> Samples:
    """Counters over time, in unix time; a counter that a line lacks is NaN there."""
    times: array[int] = array("q")
    values: dict[str, array[float]] = {}
    for line in lines:
        time_ns = whole(line.get("t"))
        if time_ns < 0:
            continue
        for name in line if len(values) < MOST_COUNTERS else values.keys() & line:
            if name != "t":
                column = values.setdefault(name, array("d"))
                column.extend([_ABSENT] * (len(times) - len(column)))
                column.append(_real(line[name]))
        times.append(time_ns)
    columns: dict[str, Floats] = {}
    for name, column in values.items():
        column.extend([_ABSENT] * (len(times) - len(column)))
        columns[name] = np.array(column, dtype=np.float64)
    moments: Ints = np.array(times, dtype=np.int64) + offset_ns
    return Samples(moments, {name: column for name, column in columns.items() if not np.isnan(column).all()})


def issued_by_recorder(lines: Iterable[dict[str, Any]]) -> list[Issued]:
    """What torch's flight recorder saw being issued; an entry that was dumped twice counts once."""
    found: dict[int, Issued] = {}
    ops: dict[str, str] = {}
    for place, line in enumerate(lines):
        time_ns = whole(line.get("time_created_ns"))
        if time_ns < 0:
            continue
        name = str(line.get("profiling_name", ""))
        op = ops[name] = ops.get(name) or intern(op_of(name))
        inputs, outputs = _elements(line.get("input_sizes")), _elements(line.get("output_sizes"))
        group = line.get("process_group")
        seq = line.get("p2p_seq_id") if line.get("is_p2p") else line.get("collective_seq_id")
        found[whole(line.get("record_id"), absent=-1 - place)] = Issued(
            time_ns=time_ns,
            op=op,
            in_elements=inputs,
            out_elements=outputs,
            dtype=_first(line.get("input_dtypes")) or _first(line.get("output_dtypes")),
            group=_first(group) if isinstance(group, list) else str(group or ""),
            seq=whole(seq),
        )
    return sorted(found.values(), key=lambda one: one.time_ns)


def issued_by_peers(lines: Iterable[dict[str, Any]], offset_ns: int) -> list[Issued]:
    """The point-to-point transfers that the recorder saw being issued, in unix time."""
    found = []
    for line in lines:
        time_ns, op = whole(line.get("t")), str(line.get("op", ""))
        if time_ns < 0 or op not in ("send", "recv"):
            continue
        elements, dtype = whole(line.get("n")), intern(str(line.get("dtype", "")))
        found.append(
            Issued(
                time_ns + offset_ns,
                intern(op),
                elements,
                elements,
                dtype,
                group=intern(str(line.get("group", ""))),
                seq=whole(line.get("seq")),
                peer=whole(line.get("peer"), absent=UNKNOWN),
            )
        )
    return found


class DeviceStep(NamedTuple):
    """What a device's own clock says of a step, in ns."""

    wait: int
    """How long the compute stream was blocked."""
    time: int
    """The whole step, UNKNOWN where the line does not say."""


def device_steps(lines: Iterable[dict[str, Any]]) -> dict[int, DeviceStep]:
    """By step: how long it took the device, and how long of that the compute stream was blocked."""
    found = {}
    for line in lines:
        step, wait, time = (whole(line.get(name)) for name in ("i", "wait", "time"))
        if step >= 0 and wait >= 0:
            found[step] = DeviceStep(wait, time if time >= wait else UNKNOWN)
    return found


def tasks(lines: Iterable[dict[str, Any]], offset_ns: int) -> Tasks:
    """The tasks that the training named: each has a line from its start on, and another one from its end."""
    latest: dict[int, dict[str, Any]] = {}
    for line in lines:
        number, start = whole(line.get("n")), whole(line.get("t0"))
        if number >= 0 and start >= 0 and ("t1" in line or number not in latest):
            latest[number] = line
    rows = [latest[number] for number in sorted(latest)]
    ends = [whole(row.get("t1")) for row in rows]
    return Tasks(
        number=np.array([row["n"] for row in rows], dtype=np.int64),
        name=tuple(str(row.get("name", "")) for row in rows),
        parent=np.array([whole(row.get("in")) for row in rows], dtype=np.int64),
        start_ns=np.array([row["t0"] + offset_ns for row in rows], dtype=np.int64),
        end_ns=np.array(
            [end + offset_ns if end >= row["t0"] else UNKNOWN for end, row in zip(ends, rows, strict=True)],
            dtype=np.int64,
        ),
        steps=np.array([whole(row.get("steps")) for row in rows], dtype=np.int64),
        error=tuple(str(row.get("error", "")) for row in rows),
    )


def _elements(sizes: Any) -> int:
    if not isinstance(sizes, list):
        return UNKNOWN
    return sum(prod(whole(length, absent=0) for length in size) for size in sizes if isinstance(size, list))


def _first(texts: Any) -> str:
    return intern(str(texts[0])) if isinstance(texts, list) and texts else ""


def _real(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return _ABSENT
