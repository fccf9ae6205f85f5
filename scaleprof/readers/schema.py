"""What of an event's JSON is decoded, and what its arguments say about a collective.

The decoder skips everything that is not named here, without making objects of it.
"""

from functools import lru_cache
from typing import Any

import msgspec

from scaleprof.readers.base import CommNote
from scaleprof.readers.json_text.broken import BAD_TEXT
from scaleprof.trace import UNKNOWN

Number = int | float | str | None
"""What stands where a number should: real files hold ints, floats, strings and null."""
_NOTHING = msgspec.Raw(b"")


class Arguments(msgspec.Struct, gc=False, frozen=True):
    """The arguments that matter, of any event."""

    correlation: Number = None
    bytes: Number = None
    collective: Number = msgspec.field(name="Collective name", default=None)
    in_elements: Number = msgspec.field(name="In msg nelems", default=None)
    out_elements: Number = msgspec.field(name="Out msg nelems", default=None)
    dtype: msgspec.Raw = _NOTHING
    group: Number = msgspec.field(name="Process Group Name", default=None)
    group_id: Number = msgspec.field(name="Process Group ID", default=None)
    group_size: Number = msgspec.field(name="Group size", default=None)
    group_ranks: msgspec.Raw = msgspec.field(name="Process Group Ranks", default=_NOTHING)
    communicator: Number = msgspec.field(name="Comms Id", default=None)
    seq: Number = msgspec.field(name="Seq", default=None)
    source: Number = msgspec.field(name="Src Rank", default=None)
    target: Number = msgspec.field(name="Dst Rank", default=None)
    awaited_stream: Number = msgspec.field(name="wait_on_stream", default=None)
    awaited_record: Number = msgspec.field(name="wait_on_cuda_event_record_corr_id", default=None)
    shapes: msgspec.Raw = msgspec.field(name="Input Dims", default=_NOTHING)
    types: msgspec.Raw = msgspec.field(name="Input type", default=_NOTHING)
    values: msgspec.Raw = msgspec.field(name="Concrete Inputs", default=_NOTHING)
    name: msgspec.Raw = _NOTHING
    """In M events: the name of a thread."""


NO_ARGUMENTS = Arguments()
STREAM_WAIT = ("cuda_sync", "Stream Wait Event")
"""Category and name of an event in which one stream of a device is told to wait for another, where the profiler recorded synchronisations."""


class Complete(msgspec.Struct, tag_field="ph", tag="X", gc=False):
    """An event with a start and a duration."""

    name: str
    ts: msgspec.Raw
    dur: msgspec.Raw = _NOTHING
    cat: str = ""
    pid: Number = None
    tid: Number = None
    args: Arguments | None = NO_ARGUMENTS


class Fragment(msgspec.Struct, gc=False):
    """What stands before the times of an event: the part that many events share. All of it must stand there."""

    name: str
    cat: str
    pid: Number
    tid: Number


class Meta(msgspec.Struct, tag_field="ph", tag="M", gc=False):
    """Names a process or a thread."""

    name: str = ""
    pid: Number = None
    tid: Number = None
    args: Arguments | None = NO_ARGUMENTS


def any_of(read: Any, skipped: str) -> Any:
    """The type of events that are of the types read, or of a phase of which nothing is decoded."""
    for place, phase in enumerate(skipped):
        read = read | msgspec.defstruct(f"Skipped{place}", [], tag_field="ph", tag=phase, gc=False)
    return read


_EVENT: Any = any_of(Complete | Meta, "sftiICBEbneaNODPRcvVSTpF(),")
ONE = msgspec.json.Decoder(_EVENT)
MANY = msgspec.json.Decoder(list[_EVENT])
FRAGMENT = msgspec.json.Decoder(Fragment)
_LISTS = ("TensorList", "GenericList")
_NO_TENSOR = ("Scalar", "ScalarList")
_DEEPEST_LIST = 8  # lists of lists of tensors are met; hostile files nest without end
_TITLES = ("nccl:", "hccl:", "xccl:")
"""Spans around what is handed to a library; in traces of 2021 to 2023 they show their tensors."""
_SHOWS_TENSORS = ("c10d::", "gloo:", "mpi:", *_TITLES)
_SPEAKS_OF_COMM = ("c10d::", "gloo:", "mpi:", "record_param_comms")


def speaks_of_comm(text: str, *, on_host: bool) -> bool:
    """Whether the arguments of events of this name may say something about a collective."""
    return text.startswith(_SPEAKS_OF_COMM) or (on_host and text.startswith(_TITLES))


def note_of(name: str, arguments: Arguments) -> CommNote:
    if name.startswith(_SHOWS_TENSORS):
        return _note_of_shapes(name, bytes(arguments.shapes), bytes(arguments.types), bytes(arguments.values))
    group = arguments.group if arguments.group is not None else arguments.group_id
    if group is None and arguments.communicator is not None:
        group = f"communicator {arguments.communicator}"
    peer = arguments.target if "send" in str(arguments.collective) else arguments.source
    return CommNote(
        op=str(arguments.collective or ""),
        in_elements=whole(arguments.in_elements),
        out_elements=whole(arguments.out_elements),
        dtype=text_of(arguments.dtype),
        group="" if group is None else str(group),
        group_size=whole(arguments.group_size),
        seq=whole(arguments.seq),
        peer=_rank(peer),
        ranks=text_of(arguments.group_ranks),
    )


@lru_cache(maxsize=4096)  # a job communicates the same tensors in every step
def _note_of_shapes(name: str, shapes_text: bytes, types_text: bytes, values_text: bytes) -> CommNote:
    """gloo writes no metadata: elements and type from the inputs. Operators name the output first, where they have two lists of tensors."""
    shapes, types, values = _list(shapes_text), _list(types_text), _list(values_text)
    sizes = [_elements(shape, kind) for shape, kind in zip(shapes, [*types, *[""] * len(shapes)], strict=False)]
    first, second = ([*sizes, 0, 0])[:2]
    inputs, outputs = (second, first) if second else (first, 0)
    if name.startswith("gloo:"):  # a span lists the tensors of its input only
        inputs, outputs = sum(sizes), 0
    tensors = [kind for kind in types if isinstance(kind, str) and kind not in ("", *_NO_TENSOR, *_LISTS)]
    return CommNote(
        op=name,
        in_elements=inputs if sizes else UNKNOWN,
        out_elements=outputs or UNKNOWN,
        dtype=tensors[0] if tensors else "",
        peer=_rank(values[2]) if name.startswith(("c10d::send", "c10d::recv_")) and len(values) > 2 else UNKNOWN,
    )


def _rank(value: Any) -> int:
    rank = whole(value)
    return rank if rank < 2**31 else UNKNOWN


def _elements(shape: Any, kind: Any, depth: int = 0) -> int:
    """The elements of one input: a tensor's shape, or a list of them. A tensor with no dimensions holds one element."""
    if depth > _DEEPEST_LIST or not isinstance(shape, list) or kind in _NO_TENSOR or (kind == "" and not shape):
        return 0
    if kind in _LISTS or any(isinstance(part, list) for part in shape):
        return sum(_elements(part, "tensor", depth + 1) for part in shape)
    product = 1
    for length in shape:
        product *= whole(length, absent=0)
    return product


def _list(raw: bytes) -> list[Any]:
    value = _value(raw)
    return value if isinstance(value, list) else []


def text_of(raw: msgspec.Raw) -> str:
    value = _value(raw)
    return "" if value is None else str(value)


def _value(raw: msgspec.Raw | bytes) -> Any:
    try:
        return msgspec.json.decode(raw) if raw else None
    except BAD_TEXT:
        return None


def whole(value: Any, *, absent: int = UNKNOWN) -> int:
    """A whole number that fits a column, from what stands where one should."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return absent
    return number if abs(number) < 2**62 else absent
