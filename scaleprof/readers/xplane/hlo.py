"""Sizes of XLA's collectives, exact, from the programs that JAX puts into its traces (plane `/host:metadata`)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scaleprof.errors import BrokenFile
from scaleprof.readers.xplane.schema import messages
from scaleprof.readers.xplane.space import Space, stats_in, text_of
from scaleprof.trace import UNKNOWN

_METADATA = "/host:metadata"
_TUPLE = 13
_TYPES = {
    1: ("bool", 1), 2: ("int8", 1), 3: ("int16", 2), 4: ("int32", 4), 5: ("int64", 8), 6: ("uint8", 1), 7: ("uint16", 2), 8: ("uint32", 4),
    9: ("uint64", 8), 10: ("float16", 2), 11: ("float32", 4), 12: ("float64", 8), 15: ("complex64", 8), 16: ("bfloat16", 2), 18: ("complex128", 16),
    19: ("float8_e5m2", 1), 20: ("float8_e4m3fn", 1),
}  # fmt: skip
"""XLA's numbers of element types."""
_WORDS = ("all-", "reduce-scatter", "ragged-all-to-all", "collective-")
_LARGEST = 1 << 61
_MOST_DEPTH = 8


@dataclass(frozen=True)
class Sized:
    """A collective of a program."""

    bytes: int
    """Of its large side: the larger of what goes in and what comes out; UNKNOWN where a type is."""
    dtype: str
    groups: tuple[tuple[int, ...], ...]
    """The devices that take part together; empty for all of them."""


def collectives_in(space: Space) -> Mapping[tuple[int, str], Sized]:
    """The collectives of every program in the file by (program id, HLO name); a program that cannot be read says nothing."""
    from google.protobuf.message import DecodeError

    found: dict[tuple[int, str], Sized] = {}
    for plane in space.planes:
        if plane.name != _METADATA:
            continue
        for where in plane.metadata:
            try:
                stats = dict(stats_in(space.decoded("Entry", where).value.stats, plane))
            except BrokenFile:
                continue
            program, text = stats.get("program_id"), stats.get("Hlo Proto")
            if not isinstance(program, int) or not isinstance(text, bytes):
                continue
            try:
                module = messages()["Hlo"].FromString(text).hlo_module
            except DecodeError:
                continue
            found.update({(program, name): sized for name, sized in _of_module(module)})
    return found


def _of_module(module: Any) -> Iterator[tuple[str, Sized]]:
    for computation in module.computations:
        by_id = {one.id: one for one in computation.instructions}
        for one in computation.instructions:
            if text_of(one.opcode).startswith(_WORDS):
                parts = [by_id[number].shape for number in one.operand_ids if number in by_id]
                going_in = _bytes(parts, 0)
                sizes = (going_in, *(_bytes([shape], 0) for shape in _outputs(one.shape)))
                groups = tuple(tuple(group.replica_ids) for group in one.replica_groups if len(group.replica_ids))
                yield text_of(one.name), Sized(max(sizes), _dtype(one.shape, 0), groups)


def _outputs(shape: Any) -> list[Any]:
    """What comes out, whole; of one that is only started, a tuple of what goes in and what comes out, each of them."""
    inner = list(shape.tuple_shapes)
    nested = [one for one in inner if one.element_type == _TUPLE]
    return nested if nested else [shape]


def _bytes(shapes: list[Any], depth: int) -> int:
    total = 0
    for shape in shapes:
        if shape.element_type == _TUPLE and depth < _MOST_DEPTH:
            size = _bytes(list(shape.tuple_shapes), depth + 1)
        else:
            _, size = _TYPES.get(shape.element_type, ("", UNKNOWN))
            for extent in shape.dimensions:
                size = min(size * max(extent, 0), _LARGEST) if size >= 0 else size
        if size < 0:
            return UNKNOWN
        total = min(total + size, _LARGEST)
    return total


def _dtype(shape: Any, depth: int) -> str:
    """The type that all parts have; empty where they differ."""
    if shape.element_type == _TUPLE and depth < _MOST_DEPTH:
        types = {_dtype(one, depth + 1) for one in shape.tuple_shapes}
        return types.pop() if len(types) == 1 else ""
    return _TYPES.get(shape.element_type, ("", 0))[0]
