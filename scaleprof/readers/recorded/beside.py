"""The streams of a recorded rank beside its steps: waits, samples, tasks, and what it issued."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaleprof.intervals import Spans, covered, subtract, union
from scaleprof.readers.comm import Issued
from scaleprof.readers.recorded.segments import Stream, missing_lines
from scaleprof.readers.recorded.streams import (
    DeviceStep,
    StepLine,
    device_steps,
    issued_by_peers,
    issued_by_recorder,
    pause_lines,
    sample_columns,
    tasks,
    wait_lines,
)
from scaleprof.readers.schema import whole
from scaleprof.remote import AnyPath
from scaleprof.run import COLLECTIVES_FILE, DEVICE_FILE, P2P_FILE, PAUSES_FILE, SAMPLES_FILE, TASKS_FILE, WAITS_FILE
from scaleprof.trace import Blocked, Samples, Steps, Tasks


@dataclass(frozen=True)
class Beside:
    """What the streams beside the steps hold, in unix time."""

    waits: Blocked
    waits_missing: Spans
    """When waits were, but not kept."""
    device: dict[int, DeviceStep]
    """By step, on the device's clock."""
    samples: Samples
    issued: list[Issued]
    """Collectives and point-to-point transfers."""
    tasks: Tasks
    pauses: list[tuple[int, int, str]]
    """Start, duration, and what for."""
    caveats: tuple[str, ...]


def beside_steps(folder: AnyPath, lines: Sequence[StepLine], host: Spans, offset_ns: int) -> Beside:
    """Every stream of a rank's folder but its steps; what is missing of each is a caveat."""
    names = (WAITS_FILE, SAMPLES_FILE, COLLECTIVES_FILE, P2P_FILE, DEVICE_FILE, TASKS_FILE, PAUSES_FILE)
    waits, samples, collectives, transfers, device, named, stopped = streams = [Stream(folder, name) for name in names]
    held = Beside(
        waits=wait_lines(waits, offset_ns),
        waits_missing=Spans(*np.zeros((2, 0), dtype=np.int64)),
        device=device_steps(device),
        samples=sample_columns(samples, offset_ns),
        issued=_issued(issued_by_recorder(collectives), issued_by_peers(transfers, offset_ns)),
        tasks=tasks(named, offset_ns),
        pauses=pause_lines(stopped, offset_ns),
        caveats=(),
    )
    index = np.array([line.index for line in lines], dtype=np.int64)
    on_our_clock, in_unix_time = (index, host.start - offset_ns), (index, host.start)
    said = [caveat for stream in streams for caveat in stream.caveats]
    no_waits, missing = missing_lines(waits, "waits", _key("t"), on_our_clock)
    said += no_waits
    for stream, what, when, steps in (
        (samples, "samples", "t", on_our_clock),
        (collectives, "collectives", "time_created_ns", in_unix_time),
        (transfers, "point-to-point transfers", "t", on_our_clock),
    ):
        said += missing_lines(stream, what, _key(when), steps)[0]
    stretches = Spans(missing.start + offset_ns, missing.end + offset_ns)
    return Beside(**(vars(held) | {"waits_missing": stretches, "caveats": tuple(said)}))


def _issued(recorded: list[Issued], transfers: list[Issued]) -> list[Issued]:
    """Everything that was issued; where the flight recorder has point-to-point transfers too, it lacks their peers."""
    if not transfers:
        return recorded
    return [*(one for one in recorded if one.op not in ("send", "recv")), *transfers]


def _key(name: str) -> Callable[[dict[str, Any]], int]:
    return lambda line: whole(line.get(name))


def wait_spans(beside: Beside, steps: Steps) -> Spans:
    """When the thread was blocked, with one wait at the end of each step whose waits were not all kept, as long as its line says.

    In a profiler's window the trace has them.
    """
    if beside.device:
        return Spans(
            *np.zeros((2, 0), dtype=np.int64)
        )  # the host only told the device to wait: how long it did the steps say
    waits = union(Spans(beside.waits.start_ns, beside.waits.start_ns + beside.waits.dur_ns))
    missing = beside.waits_missing
    since = np.searchsorted(missing.end, steps.host_start_ns, side="right")
    until = np.searchsorted(missing.start, steps.host_end_ns)
    host = Spans(steps.host_start_ns, steps.host_end_ns)
    short = (until > since) & ~steps.profiled & (steps.blocked_ns > covered(waits, host))
    inside = Spans(host.start[short], host.end[short])
    sums = Spans(np.maximum(inside.end - steps.blocked_ns[short], inside.start), inside.end)
    return union(subtract(waits, union(inside)), sums) if short.any() else waits
