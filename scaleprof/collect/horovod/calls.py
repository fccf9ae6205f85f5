"""What a rank hands to Horovod, and how long it waits for it: wrappers around the functions of `horovod.torch`, in every module that holds them.

`optimizer.py`, `functions.py` and `sync_batch_norm.py` import these functions by name, so that changing them in `mpi_ops` alone would miss most
calls. Gradients may be handed over by autograd's own threads: issues are noted on every thread, waits on the training's alone.

Each tensor has the name that the coordinator's timeline has for it (`GetOpName` in Horovod's mpi_ops_v2.cc), and counts how often it came.
"""

import functools
import itertools
import math
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

from scaleprof.collect.guard import Guard
from scaleprof.collect.patching import Patches
from scaleprof.collect.watching.spans import DECODE, ENCODE
from scaleprof.collect.watching.waits import WaitPoints

OWN_TENSORS = "scaleprof."
"""How the names of the recorder's own tensors begin."""
GROUP = "horovod"
"""What the group of all ranks is called; a process set has its number behind it."""
_OPS = ("allreduce", "allgather", "broadcast", "alltoall", "reducescatter")
_GROUPED = tuple(f"grouped_{op}" for op in ("allreduce", "allgather", "reducescatter"))
_WAITS = ("synchronize", "barrier", "join")
_MOST_TENSORS = 100_000
"""Names counted, and compressed tensors remembered: a job that invents names must not fill the memory."""
_LOST = "what was handed to Horovod is missing"


class Listener(Protocol):
    """What the wrappers tell, and ask."""

    def records(self) -> bool:
        """Whether the recording runs, in this process; on whatever thread."""

    def in_job(self) -> bool:
        """Whether this is the recorded thread, too."""

    def span(self, name: str) -> Any | None:
        """A span for the trace, None while no window is open."""


class _Noted(NamedTuple):
    """What was handed over in one call."""

    now_ns: int
    op: str
    base: str
    is_named: bool
    process_set: int
    sizes: list[tuple[tuple[int, ...], Any, tuple[int, str] | None]]
    """Of each tensor: shape, type, and bytes and type before compression."""


class HorovodCalls:
    """Notes every operation that is issued, times every wait, and adds up what compression saves."""

    def __init__(self, listener: Listener, guard: Guard, waits: WaitPoints, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._listener = listener
        self._guard = guard
        self._waits = waits
        self._number = itertools.count()
        self._times: Counter[str] = Counter()
        self._noted: deque[_Noted] = deque(maxlen=_MOST_TENSORS)
        self._ops: dict[Any, str] = {}
        """By handle, until somebody waits for it."""
        self._raw: dict[int, tuple[int, str]] = {}
        """Bytes and type before compression, by the address of what came out of it."""
        self.compressed: dict[str, list[int]] = {}
        """By compressor: bytes before and after it."""

    def install(self, patches: Patches) -> None:
        """Wrap what this Horovod has of these functions."""
        import horovod.torch.mpi_ops as ops
        from horovod.torch.compression import Compressor, NoneCompressor

        for op in (*_OPS, *_GROUPED):
            for name in (f"{op}_async", f"{op}_async_"):
                if hasattr(ops, name):
                    _replace(patches, getattr(ops, name), functools.partial(self._around_issue, op))
        for name in _WAITS:
            if hasattr(ops, name):
                _replace(patches, getattr(ops, name), functools.partial(self._around_wait, name))
        for kind in _below(Compressor):
            name = kind.__name__.removesuffix("Compressor").lower()
            if kind is not NoneCompressor and {"compress", "decompress"} <= set(vars(kind)):
                patches.wrap(kind, "compress", functools.partial(self._around_compress, name))
                patches.wrap(kind, "decompress", functools.partial(self._around_decompress, name))

    # ---- issues

    def _around_issue(self, op: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def issue(*arguments: Any, **keywords: Any) -> Any:
            if not self._listener.records():
                return original(*arguments, **keywords)
            now_ns = self._now_ns()
            handle = original(*arguments, **keywords)
            with self._guard.on(_LOST):
                self._note(op, now_ns, _Arguments(original, arguments, keywords), handle)
            return handle

        return issue

    def _note(self, op: str, now_ns: int, said: "_Arguments", handle: Any) -> None:
        """Keep what has to be kept now; the rest is done between two steps (`lines`)."""
        name = said.of("name")
        if type(name) is str and name.startswith(OWN_TENSORS):
            return
        tensors = said.of("tensors") if op in _GROUPED else (said.of("tensor"),)
        sizes = [
            (tuple(tensor.shape), tensor.dtype, self._raw.pop(tensor.data_ptr(), None) if self._raw else None)
            for tensor in tensors
        ]
        base = f"{op}.{name if name is not None else f'noname.{handle}'}"
        process_set = getattr(said.of("process_set"), "process_set_id", 0)
        if len(self._ops) < _MOST_TENSORS:
            self._ops[handle] = op.removeprefix("grouped_")
        self._noted.append(_Noted(now_ns, op, base, name is not None, process_set, sizes))

    def lines(self) -> Iterator[dict[str, Any]]:
        """What was issued since the last time, a line for each tensor."""
        while self._noted:
            noted = self._noted.popleft()
            grouped = noted.op in _GROUPED
            for place, (shape, dtype, raw) in enumerate(noted.sizes, 1):
                title = f"{noted.base}_{place}of{len(noted.sizes)}" if grouped else noted.base
                line = {
                    "record_id": next(self._number),
                    "time_created_ns": noted.now_ns,
                    "profiling_name": f"horovod:{noted.op}",
                    "process_group": [GROUP if not noted.process_set else f"{GROUP}:{noted.process_set}"],
                    "input_sizes": [list(shape)],
                    "input_dtypes": [str(dtype).removeprefix("torch.")],
                    "tensor": title,
                    "nth": self._nth(title) if noted.is_named else 0,
                }
                yield line if raw is None else {**line, "raw_bytes": raw[0], "raw_dtype": raw[1]}

    def _nth(self, title: str) -> int:
        """How often this tensor came before; the same on every rank that records from the same place in the program on."""
        if title not in self._times and len(self._times) >= _MOST_TENSORS:
            return 0
        self._times[title] += 1
        return self._times[title] - 1

    # ---- waits

    def _around_wait(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(arguments: Sequence[Any]) -> Mapping[str, str]:
            if name != "synchronize":
                return {"op": name}
            op = self._ops.pop(arguments[0], "") if arguments else ""
            return {"op": _SPOKEN[op]} if op in _SPOKEN else {}

        return self._waits.around(f"horovod.{name}", original, operation)

    # ---- compression

    def _around_compress(self, name: str, original: Callable[..., Any]) -> Any:
        @functools.wraps(original)
        def compress(tensor: Any) -> Any:
            if not self._listener.records():
                return original(tensor)
            with self._span(f"{ENCODE} {name}"):
                result = original(tensor)
            with self._guard.on("what compression saves is not known"):
                before, after = _bytes_of(tensor), _bytes_of(result[0])
                sums = self.compressed.setdefault(name, [0, 0])
                sums[0] += before
                sums[1] += after
                if len(self._raw) < _MOST_TENSORS:
                    self._raw[result[0].data_ptr()] = before, _type_of(tensor)
            return result

        return staticmethod(compress)

    def _around_decompress(self, name: str, original: Callable[..., Any]) -> Any:
        @functools.wraps(original)
        def decompress(tensor: Any, ctx: Any) -> Any:
            with self._span(f"{DECODE} {name}"):
                return original(tensor, ctx)

        return staticmethod(decompress)

    def _span(self, name: str) -> Any:
        ask = functools.partial(self._listener.span, name)
        span = self._guard.call("what compression costs is missing", ask, None) if self._listener.in_job() else None
        return span if span is not None else nullcontext()


_SPOKEN = {
    "allreduce": "all_reduce",
    "allgather": "all_gather",
    "broadcast": "broadcast",
    "alltoall": "all_to_all",
    "reducescatter": "reduce_scatter",
}


class _Arguments:
    """A call's arguments by the names of the function's parameters."""

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        self._parameters = _parameters_of(function)
        self._arguments, self._keywords = arguments, keywords

    def of(self, name: str) -> Any:
        """The argument for a parameter; None where it was left out."""
        place = self._parameters.get(name, len(self._arguments))
        return self._arguments[place] if place < len(self._arguments) else self._keywords.get(name)


@functools.cache
def _parameters_of(function: Callable[..., Any]) -> dict[str, int]:
    code = function.__code__
    return {name: place for place, name in enumerate(code.co_varnames[: code.co_argcount])}


def _replace(patches: Patches, original: Any, make: Callable[[Any], Any]) -> None:
    """Put one wrapper in the place of a function, in every loaded module of Horovod's that holds it."""
    replacement = make(original)
    for module in [one for name, one in sys.modules.items() if name.partition(".torch")[0] == "horovod"]:
        for name, value in list(vars(module).items()):
            if value is original:
                patches.wrap(module, name, lambda _: replacement)


def _below(kind: type) -> Iterator[type]:
    children: list[type] = kind.__subclasses__()
    for child in children:
        yield child
        yield from _below(child)


def _bytes_of(tensor: Any) -> int:
    elements: int = math.prod(tensor.shape)
    return elements * int(tensor.element_size())


def _type_of(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")
