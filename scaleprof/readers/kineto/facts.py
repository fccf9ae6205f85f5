"""What a Kineto file says about itself, read from its head and its tail only: rank, world size, process groups, host, process, times."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from scaleprof.errors import BrokenFile
from scaleprof.readers.base import FileFacts
from scaleprof.readers.groups import configured_groups
from scaleprof.readers.json_text.inflate import is_compressed
from scaleprof.readers.json_text.text import head_of, tail_of
from scaleprof.readers.schema import whole
from scaleprof.remote import AnyPath
from scaleprof.run import MOST_RANKS, SYNTHETIC_KEY

_HEAD_BYTES = 1 << 20
_TAIL_BYTES = 4 << 20
_EVENTS = re.compile(rb'"traceEvents"\s*:\s*\[')
_SIGNS = re.compile(
    rb'"(?:schemaVersion|deviceProperties|distributedInfo|baseTimeNanoseconds)"\s*:|'
    rb'"cat"\s*:\s*"(?:cpu_op|user_annotation|kernel|cuda_runtime|python_function|Kernel|Operator|Runtime)"'
)  # other tools write traceEvents, too
_BARE_EVENTS = re.compile(rb'^\s*\[\s*(\{[^{}]*"ph"\s*:\s*"[XM]"|\])')
_HOST_PID = re.compile(
    rb'"cat"\s*:\s*"(?:cpu_op|user_annotation|cuda_runtime|Operator)"[^{}]{0,2000}?"pid"\s*:\s*(\d{1,15})\b'
)
_SYNTHETIC_EVENT = re.compile(rb'"name"\s*:\s*"%s"' % SYNTHETIC_KEY.encode())  # a bare list of events has no keys
_TIMES = re.compile(rb'"ts"\s*:\s*"?([0-9.]+)')
_RANK_IN_NAME = re.compile(r"(?:^|[^a-z])(?:rank|worker)[-_ .]?(\d{1,7})(?!\d)", re.IGNORECASE)
_WORKER_NAME = re.compile(
    r"(?!(?:rank|worker)[-_ .]?\d)(?P<host>.+)_(?P<pid>\d+)\.\d{10,}\.pt\.trace\.json(\.gz)?"
)  # torch's tensorboard_trace_handler; `worker3_step_12.1694128201557.pt.trace.json` is somebody else's, and names no host
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_DECODER = json.JSONDecoder()


def facts_of(path: AnyPath) -> FileFacts | None:
    """What the file says; None if it is no Kineto trace; BrokenFile if it is empty or no JSON at all."""
    head = head_of(path, _HEAD_BYTES)
    start = head.lstrip()[:1]
    if not start:
        raise BrokenFile(path, "is empty, or its compressed data is damaged")
    if start not in (b"{", b"["):
        is_zip = head.startswith(_ZIP)
        reason = (
            "is a zip archive: call it .zip and it is unpacked"
            if is_zip
            else f"is not JSON: it starts with {head[:20]!r}"
        )
        raise BrokenFile(path, reason)
    if start == b"[":
        if not _BARE_EVENTS.match(head) or not _SIGNS.search(head):
            return None
        return FileFacts(path, rank_in_name(path), synthetic=bool(_SYNTHETIC_EVENT.search(head)))
    whole = len(head) < _HEAD_BYTES
    found = _EVENTS.search(head)
    if found and not whole and is_compressed(path) and _value_of("distributedInfo", head) is not None:
        late = cache(lambda: max(_times(tail_of(path, _TAIL_BYTES)), default=None))
        return _facts_in_text(path, head, b"", late)
    tail = head if whole else tail_of(path, _TAIL_BYTES)
    if not found and whole:
        _check_json(head, path)
        return None
    if not found and not _TIMES.search(tail):
        return None
    if not _SIGNS.search(head) and not _SIGNS.search(tail):
        return None
    return _facts_in_text(path, head, tail)


def _facts_in_text(
    path: AnyPath, head: bytes, tail: bytes, late_us: Callable[[], float | None] | None = None
) -> FileFacts:
    """The facts in the head and the tail of a file; what says the last time stands for a tail that was not read."""
    metadata = {
        key: value
        for key in ("distributedInfo", "deviceProperties", "host_name", "hostname", SYNTHETIC_KEY)
        if (value := _value_of(key, head, tail)) is not None
    }
    pid = _HOST_PID.search(head)
    early, last = _times(head), _times(tail)
    if late_us is not None:
        span_us = (min(early), min(early)) if early else None
    else:
        span_us = (min(*early, *last), max(*early, *last)) if early and last else None
    facts = facts_in(metadata, path, pid=int(pid[1]) if pid else None, span_us=span_us)
    return replace(facts, late_us=late_us)


def _check_json(text: bytes, path: AnyPath) -> None:
    """A small file that is no whole JSON may be a trace that was cut off in its head."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenFile(path, f"is no whole JSON ({error})") from error


def facts_in(
    metadata: Mapping[str, Any],
    path: AnyPath,
    *,
    pid: int | None = None,
    span_us: tuple[float, float] | None = None,
) -> FileFacts:
    """The facts in a trace's top-level keys; the file's name serves where they say nothing."""
    info = metadata.get("distributedInfo")
    info = info if isinstance(info, dict) else {}
    rank = _count(info.get("rank"))
    world_size = _count(info.get("world_size"))
    worker = _WORKER_NAME.fullmatch(path.name)
    host = metadata.get("host_name") or metadata.get("hostname") or (worker["host"] if worker else None)
    devices = metadata.get("deviceProperties")
    devices = devices if isinstance(devices, list) else []
    named = [str(device.get("name")) for device in devices if isinstance(device, dict) and device.get("name")]
    backend = str(info["backend"]) if info.get("backend") else None
    return FileFacts(
        path=path,
        rank=rank if rank is not None else rank_in_name(path),
        world_size=world_size if world_size else None,
        host=str(host) if host else None,
        pid=pid if pid is not None else (int(worker["pid"]) if worker else None),
        backend=backend,
        device="cuda" if devices else "cpu" if metadata.get("deviceProperties") == [] and backend == "gloo" else None,
        device_name=named[0] if named else None,
        process_groups=configured_groups(info.get("pg_config"), world_size),
        synthetic=metadata.get(SYNTHETIC_KEY) is True,
        span_us=span_us,
    )


def rank_in_name(path: AnyPath) -> int | None:
    """The rank in a file's name: `rank-34.Jul_15.json.gz`, `worker3_step_12.pt.trace.json`."""
    found = _RANK_IN_NAME.search(path.name)
    return int(found[1]) if found else None


def _value_of(key: str, *texts: bytes) -> Any:
    """The value after a key's first place in any of the texts; None where it is absent or cut off."""
    for text in texts:
        found = re.search(rb'"%s"\s*:\s*' % key.encode(), text)
        if found:
            try:
                return _DECODER.raw_decode(text[found.end() :].decode("utf-8", "replace"))[0]
            except (ValueError, RecursionError):
                continue
    return None


def _times(text: bytes) -> list[float]:
    """The times in a text; none where one of them is no number."""
    try:
        return [float(time) for time in _TIMES.findall(text)]
    except ValueError:
        return []


def _count(value: Any) -> int | None:
    """A rank or number of ranks; None for what cannot be one."""
    number = whole(value)
    return number if 0 <= number <= MOST_RANKS else None
