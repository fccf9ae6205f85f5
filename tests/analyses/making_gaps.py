"""Made traces in which what was launched knows its launch: `gemm#1` on a device was launched by `launch#1`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scaleprof.analyses.account.gaps import idle, idle_names
from scaleprof.analyses.account.host import Cause
from scaleprof.trace import Kind, Trace
from tests.making import HOST, STREAM_7, STREAM_20, Event, Made, make_trace

US = 1000
MAIN, BACKWARD = HOST, 1
"""Lanes of two host threads that launch."""


def launch(number: int, start: int, dur: int, *, lane: int = MAIN, what: str = "launch") -> Event:
    """The call that launches `gemm#number`; times in us."""
    return Event(lane, Kind.LAUNCH, start * US, dur * US, f"{what}#{number}")


def gemm(number: int, start: int, dur: int, *, step: int = 0, stream: int = STREAM_7) -> Event:
    """A kernel; times in us."""
    return Event(stream, Kind.COMPUTE, start * US, dur * US, f"gemm#{number}", step=step)


def span(kind: Kind, name: str, start: int, dur: int, *, lane: int = MAIN) -> Event:
    """An event of the host; times in us."""
    return Event(lane, kind, start * US, dur * US, name)


def traced(made: Made, *, devices: Sequence[int] = (-1, -1, 0, 0)) -> Trace:
    """The trace with its links, and the device of each lane. A number may have several activities, as a graph's launch has."""
    trace = make_trace(made)
    texts = [trace.names.text[name] for name in trace.events.name.tolist()]
    launches = {
        text.split("#")[1]: row
        for row, text in enumerate(texts)
        if "#" in text and trace.kinds[row] in (Kind.LAUNCH, Kind.SYNC) and trace.events.lane[row] < STREAM_7
    }
    link = [
        launches.get(text.split("#")[-1], -1) if lane >= STREAM_7 else -1
        for text, lane in zip(texts, trace.events.lane.tolist(), strict=True)
    ]
    lanes = replace(trace.lanes, device=np.array(devices[: len(trace.lanes.device)], dtype=np.int32))
    return replace(trace, events=replace(trace.events, link=np.array(link, dtype=np.int32)), lanes=lanes)


def causes_of(trace: Trace) -> list[dict[str, float]]:
    """By step the causes that occur, in us; checked to add up to the idle time."""
    table = idle(trace)
    total = sum(table[f"{cause.name.lower()}_ns"] for cause in Cause)
    assert (total == table["idle_ns"]).all()
    return [
        {
            cause.name.lower(): table[f"{cause.name.lower()}_ns"][row] / US
            for cause in Cause
            if table[f"{cause.name.lower()}_ns"][row]
        }
        for row in range(len(table))
    ]


def names_of(trace: Trace) -> dict[tuple[str, str], float]:
    """Cause and name of what covers idle time, in us, over all steps."""
    found: dict[tuple[str, str], float] = {}
    for _, cause, name, ns in idle_names(trace).rows():
        key = (Cause(cause).name.lower(), name)
        found[key] = found.get(key, 0) + ns / US
    return found


__all__ = ["BACKWARD", "MAIN", "STREAM_20", "US", "causes_of", "gemm", "launch", "names_of", "span", "traced"]
