"""The line streams of our own recordings: steps, waits, samples, collectives. A killed job leaves a damaged last line: what came before counts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from scaleprof.intervals import EMPTY, Ints, Spans, union
from scaleprof.readers.comm import Issued, op_of
from scaleprof.readers.schema import whole
from scaleprof.readers.text import whole_text
from scaleprof.trace import UNKNOWN, Floats, Samples


@dataclass(frozen=True)
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


def read_lines(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The objects of a stream, and what was wrong with it. A stream that does not exist is empty."""
    if not path.exists():
        return [], []
    text, damage = whole_text(path)
    found: list[dict[str, Any]] = []
    broken: list[int] = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            broken.append(number)
            continue
        if isinstance(content, dict):
            found.append(content)
        else:
            broken.append(number)
    if broken == [len(lines) - 1]:
        return found, [
            f"the last line of {path.name} is damaged, as a killed job leaves it: {len(found):,} lines were read"
        ]
    if broken:
        return found, [f"{len(broken):,} of {len(lines):,} lines of {path.name} are damaged and were left out"]
    return found, [f"{path.name} ends too early: {damage}; {len(found):,} lines were read"] if damage else []


def step_lines(lines: Sequence[dict[str, Any]]) -> list[StepLine]:
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


def wait_spans(lines: Sequence[dict[str, Any]], offset_ns: int) -> Spans:
    """When the calling thread was blocked, in unix time."""
    pairs = [(whole(line.get("t")), whole(line.get("d"))) for line in lines]
    table = np.array([pair for pair in pairs if min(pair) >= 0], dtype=np.int64).reshape(-1, 2)
    if not len(table):
        return EMPTY
    start = table[:, 0] + offset_ns
    return union(Spans(start, start + table[:, 1]))


def sample_columns(lines: Sequence[dict[str, Any]], offset_ns: int) -> Samples:
    """Counters over time, in unix time; a counter that a line lacks is NaN there."""
    kept = [line for line in lines if whole(line.get("t")) >= 0]
    names = list(dict.fromkeys(name for line in kept for name in line if name != "t"))
    columns: dict[str, Floats] = {
        name: np.array([_real(line.get(name)) for line in kept], dtype=np.float64) for name in names
    }
    time_ns: Ints = np.array([whole(line["t"]) + offset_ns for line in kept], dtype=np.int64)
    return Samples(time_ns, {name: column for name, column in columns.items() if not np.isnan(column).all()})


def issued_by_recorder(lines: Sequence[dict[str, Any]]) -> list[Issued]:
    """What torch's flight recorder saw being issued; an entry that was dumped twice counts once."""
    found: dict[int, Issued] = {}
    for place, line in enumerate(lines):
        time_ns = whole(line.get("time_created_ns"))
        if time_ns < 0:
            continue
        op = op_of(str(line.get("profiling_name", "")))
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


def _elements(sizes: Any) -> int:
    if not isinstance(sizes, list):
        return UNKNOWN
    return sum(prod(whole(length, absent=0) for length in size) for size in sizes if isinstance(size, list))


def _first(texts: Any) -> str:
    return str(texts[0]) if isinstance(texts, list) and texts else ""


def _real(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
