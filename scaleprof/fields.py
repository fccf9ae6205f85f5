"""Whether a value that was read from JSON is what a field of a record says: the analyses trust the types."""

import dataclasses
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from scaleprof.clock import ClockAnchor, ClockOffset, HostClock

_LATEST_NS = 1 << 61  # the year 2043, and times that add up within 64 bits


def fits(value: object, kind: Any) -> bool:
    """Whether a value read from JSON is what its field says: the analyses trust the types."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if kind is HostClock and isinstance(value, HostClock):
        texts = fits(value.id, str) and fits(value.reference, str)
        return texts and all(fits(offset, ClockOffset) and offset.bound_ns >= 0 for offset in value.offsets)
    if kind in (ClockAnchor, ClockOffset):
        return all(fits(time, int) and abs(time) < _LATEST_NS for time in dataclasses.astuple(value))  # type: ignore[call-overload]
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(part, parts[0]) for part in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(content, parts[1]) for content in value.values())
    if kind is Any:
        return True
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, origin or kind)


def spoken(kind: Any) -> str:
    """What a field is to hold, in a word."""
    return kind.__name__ if isinstance(kind, type) else str(kind).removesuffix(" | None")
