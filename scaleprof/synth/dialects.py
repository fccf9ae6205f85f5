"""How a trace file is spelled: the layouts, number forms and words in which torch.profiler's traces are met.

All but `old2022` say the same to the ns; `old2022` says whole us, as files of that time do. The time base, the order of keys, blanks, line
breaks, and what stands before and after the events differ.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from scaleprof.run import SYNTHETIC_KEY

Event = dict[str, Any]
"""One event as its file holds it; times and numbers that change from step to step are `template` marks."""


@dataclass(frozen=True)
class Dialect:
    """One way to write the same events."""

    layout: Literal["lines", "keys", "json"]
    """`lines`: several keys a line; `keys`: one key a line; `json`: as a JSON library writes it."""
    clock: Literal["base", "epoch"] = "base"
    """Times since `baseTimeNanoseconds`, or since 1970."""
    decimals: Literal["three", "fewest", "none"] = "three"
    """Of times in us: always three, as few as say the same, or none at all."""
    metadata: Literal["around", "first", "last", "none"] = "around"
    """Where the other keys of the top-level object stand: before and after the events, or no object at all."""
    threads_first: bool = False
    """Whether the names of threads stand before the events or after them."""
    separators: tuple[str, str] = (", ", ": ")
    indent: int | None = None
    sort_keys: bool = False
    seq: bool = False
    """Whether collectives carry their sequence number."""
    old: bool = False
    """The words of 2022: capitalised categories, old kernel names, nothing said about collectives."""

    @property
    def quantum_ns(self) -> int:
        """The finest time that can be written."""
        return 1000 if self.decimals == "none" else 1

    @property
    def between(self) -> str:
        """What stands between two events."""
        return ",\n" if self.layout != "json" or self.indent else self.separators[0]


_TIGHT = (",", ":")
DIALECTS: Mapping[str, Dialect] = {
    "native": Dialect("lines"),
    "oneline2026": Dialect("keys", metadata="first", threads_first=True, seq=True),
    "compact": Dialect("json", decimals="fewest", metadata="first", separators=_TIGHT),
    "indent": Dialect("json", decimals="fewest", metadata="around", indent=2),
    "orjson": Dialect("json", decimals="fewest", metadata="last", separators=_TIGHT, seq=True),
    "old2022": Dialect("lines", clock="epoch", decimals="none", old=True),
    "epoch3": Dialect("lines", clock="epoch"),
    "sorted": Dialect("json", decimals="fewest", metadata="first", sort_keys=True),
    "array": Dialect("json", clock="epoch", metadata="none", threads_first=True, separators=_TIGHT),
}
"""`native` is what torch wrote for years, `oneline2026` what it writes since 2.13; `compact`, `indent`, `orjson` and `sorted` are files that were
loaded and saved again; `array` is a bare list of events."""

_BREAK_BEFORE = {"X": ("ts",), "s": ("cat",), "f": ("cat",), "M": (), "i": ("pid", "ts")}
_ARGS_BREAK_BEFORE = (
    "queued",
    "cbid",
    "device",
    "stream",
    "bytes",
    "registers per thread",
    "shared memory",
    "blocks per SM",
    "warps per SM",
    "grid",
    "block",
    "est. achieved occupancy %",
)
_BEHIND = ("traceName", "displayTimeUnit", "baseTimeNanoseconds")
"""Keys that stand behind the events where metadata stand around them."""
_OLD_CATEGORIES = {
    "kernel": "Kernel",
    "gpu_memcpy": "Memcpy",
    "cuda_runtime": "Runtime",
    "cpu_op": "Operator",
    "user_annotation": "Operator",
    "python_function": "PythonFunction",
    "ac2g": "async",
}
_UNKNOWN_IN_2022 = ("gpu_user_annotation", "cuda_sync", "cpu_instant_event")
_SAID_OF_COLLECTIVES = ("Collective name", "msg nelems", "Group", "dtype", "split size", "Seq", "Rank", "rank")


def rendered(event: Event, dialect: Dialect) -> str:
    """The text of one event; empty where the dialect has no such event."""
    if dialect.old:
        if event.get("cat") in _UNKNOWN_IN_2022 or event["name"] == "record_param_comms":
            return ""
        event = _in_old_words(event)
    if dialect.layout == "lines":
        return _in_lines(event)
    if dialect.layout == "keys":
        return _by_keys(event)
    text = _dumped(event, dialect)
    return "    " + text.replace("\n", "\n    ") if dialect.indent else text


def around(metadata: Mapping[str, Any], dialect: Dialect) -> tuple[str, str]:
    """What stands before the first event and behind the last one."""
    if dialect.metadata == "none":
        return "[", "]"
    if dialect.clock == "epoch":
        metadata = {
            key: value for key, value in metadata.items() if key not in ("baseTimeNanoseconds", "displayTimeUnit")
        }
    if dialect.old:
        metadata = {key: value for key, value in metadata.items() if key != "host_name"}
    behind = {"around": _BEHIND, "first": _BEHIND[:1], "last": tuple(metadata)}[dialect.metadata]
    before = {key: value for key, value in metadata.items() if key not in behind}
    after = {key: value for key, value in metadata.items() if key in behind}
    if dialect.layout == "json":
        return _around_json(before, after, dialect)
    by_keys = dialect.layout == "keys"
    blanks = "    " if by_keys else "  "
    lines = [f'{blanks}"{key}": {_metadata_value(key, value)},\n' for key, value in before.items()]
    head = f'{" {" if by_keys else chr(10) + "{"}\n{"".join(lines)}{blanks}"traceEvents": [\n'
    ends = [f'"{key}": {json.dumps(value)}' for key, value in after.items()]
    tail = f"\n  ],{', '.join(ends)} }}" if by_keys else "\n  ],\n  " + ",\n  ".join(ends) + "\n}\n"
    return head, tail


def mark_of_array(ts: str) -> Event:
    """A bare array has no keys to say that it is synthetic: an event says it."""
    return {"name": SYNTHETIC_KEY, "ph": "M", "ts": ts, "pid": 0, "tid": 0, "args": {"name": "computed, not recorded"}}


def _dumped(value: Any, dialect: Dialect) -> str:
    return json.dumps(
        value,
        separators=(dialect.separators[0].rstrip() if dialect.indent else dialect.separators[0], dialect.separators[1]),
        indent=dialect.indent,
        sort_keys=dialect.sort_keys,
    )


def _around_json(before: Mapping[str, Any], after: Mapping[str, Any], dialect: Dialect) -> tuple[str, str]:
    if dialect.sort_keys:
        every = {**before, **after}
        before = {key: every[key] for key in every if key < "traceEvents"}
        after = {key: every[key] for key in every if key > "traceEvents"}
    comma, colon = dialect.separators
    if dialect.indent:
        comma, opened, closed = ",\n  ", "[\n", "\n  ]"
    else:
        opened, closed = "[", "]"
    # An object without its last bracket, to be gone on with.
    head = _dumped(before, dialect)[:-1].rstrip() + (comma if before else "") + f'"traceEvents"{colon}{opened}'
    tail = closed + comma + _dumped(after, dialect)[1:].lstrip()
    return head, tail


def _metadata_value(key: str, value: Any) -> str:
    if key != "deviceProperties":
        return json.dumps(value)
    devices = [f"    {{\n      {json.dumps(device)[1:-1]}\n    }}" for device in value]
    return "[\n" + ",\n".join(devices) + "\n  ]"


def _text(value: Any) -> str:
    return _scalar(value) if isinstance(value, str | int | float) else json.dumps(value)


@lru_cache(maxsize=1 << 16, typed=True)  # the ranks of a job say the same words
def _scalar(value: str | int | float) -> str:
    return json.dumps(value)


def _in_lines(event: Event) -> str:
    breaks = _BREAK_BEFORE[event["ph"]]
    parts = []
    for key, value in event.items():
        if key != "args":
            parts.append((",\n    " if key in breaks else ", ") + f'"{key}": {_text(value)}')
    args = f',\n    "args": {{\n      {_args(event["args"])}\n    }}' if "args" in event else ""
    return "  {\n    " + "".join(parts).removeprefix(", ") + args + "\n  }"


def _by_keys(event: Event) -> str:
    phase = event["ph"]
    first = [key for key in ("ph", "cat", "s") if key in event] if phase not in "sf" else ["ph"]
    keys = [*first, *(key for key in event if key not in (*first, "args", "bp"))]
    lines = [f'"{key}": {_text(event[key])}' for key in keys]
    if phase == "i" and "cat" not in event:
        lines[:2] = [f"{lines[0]},\n    \n    {lines[1]}"]
    text = "  {\n    " + ",\n    ".join(lines)
    if "args" in event:
        comma = "," if phase == "M" else "\n    ,"  # a comma on a line of its own
        return f'{text}{comma}\n    "args": {{\n      {_args(event["args"])}\n    }}\n  }}'
    return text + ('\n    , "bp": "e"\n  }' if "bp" in event else "\n    \n  }")


def _args(args: Mapping[str, Any]) -> str:
    parts = []
    for place, (key, value) in enumerate(args.items()):
        if key in _ARGS_BREAK_BEFORE and place:
            parts.append(",\n      ")
        elif place:
            parts.append("," if place == 1 else ", ")  # no blank after the first, as torch has it
        parts.append(f'"{key}": {_text(value)}')
    return "".join(parts)


def _in_old_words(event: Event) -> Event:
    """Capitalised categories, threads as texts, nothing said about collectives."""
    event = dict(event)
    category = event.get("cat")
    if category in _OLD_CATEGORIES:
        event["cat"] = _OLD_CATEGORIES[category]
    if category == "ac2g":
        event["name"] = "launch"
    if event["ph"] != "M" and isinstance(event["tid"], int):
        event["tid"] = f"stream {event['tid']}" if category in ("kernel", "gpu_memcpy") else str(event["tid"])
    args = event.get("args", {})
    event_args = {
        key.replace("External id", "external id") if category != "cpu_op" else key: value
        for key, value in args.items()
        if not any(word in key for word in _SAID_OF_COLLECTIVES)
    }
    return {**event, "args": event_args} if args else event
