"""Holistic Trace Analysis 0.5's definitions of overlap and idle time, worked out anew from the plain JSON of a trace, with nothing of this project's.

Everything on a stream of the device counts, over the whole trace: by its name it communicates (`^nccl.*Kernel`), is memory (`^Memcpy`, `^Memset`,
`^dma`), is something else (`.*Sync`), or computes. Overlap is the time in which something communicates and something computes, as a part of the time
in which something communicates; idle is what is left of the time from the first to the last of all of it.
"""

import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_COMMUNICATION = re.compile(r"^nccl.*Kernel")
_MEMORY = re.compile(r"(^Memcpy)|(^Memset)|(^dma)")
_OTHER = re.compile(r"(^nccl.*Kernel)|(.*(Memcpy)|(Memset))|(.*Sync)")
Pairs = list[tuple[float, float]]


def overlap_percent(path: Path) -> float | None:
    """Overlap of a trace file in percent; None where nothing communicates."""
    events = device_events(path)
    comm = merged(_span(event) for event in events if _COMMUNICATION.match(event["name"]))
    compute = merged(
        _span(event) for event in events if not _MEMORY.match(event["name"]) and not _OTHER.match(event["name"])
    )
    both = total(comm) + total(compute) - total(merged([*comm, *compute]))
    return 100 * both / total(comm) if comm else None


def idle_percent(path: Path) -> float:
    """Idle time of a trace file in percent of the time from the first to the last event of the device."""
    busy = merged(_span(event) for event in device_events(path))
    return 100 * (1 - total(busy) / (busy[-1][1] - busy[0][0]))


def device_events(path: Path) -> list[dict[str, Any]]:
    """What stands on streams of a device, also `cuda_sync` rows, which only say that the host waited."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    said = json.loads(text)
    events = said if isinstance(said, list) else said["traceEvents"]
    return [
        event
        for event in events
        if event.get("ph") == "X" and "dur" in event and event.get("args", {}).get("stream", -1) not in (-1, "-1")
    ]


def merged(pairs: Iterable[tuple[float, float]]) -> Pairs:
    """The union, as sorted disjoint pairs."""
    found: Pairs = []
    for begin, end in sorted(pairs):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def total(pairs: Pairs) -> float:
    """How long they are, together."""
    return sum(end - begin for begin, end in pairs)


def _span(event: dict[str, Any]) -> tuple[float, float]:
    return float(event["ts"]), float(event["ts"]) + float(event["dur"])
