"""When the training thread is blocked in communication: at `Work.wait`, `wait_tensor`, and at the end of a backward pass.

The end of a backward pass is where DistributedDataParallel waits in C++, out of Python's sight: one callback runs when all gradients are
computed, before DDP finishes, and a second one after it; between them lies the wait.

On a GPU these calls return at once and the stream waits instead: events of the device's clock lie around each of them (`device.py`).
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scaleprof.collect.guard import Guard
from scaleprof.collect.patching import Patches
from scaleprof.collect.watching.device import DeviceWaits

SPAN = "scaleprof::wait"
_LOST = "blocked time is missing"
_OPS = (
    "broadcast", "all_reduce", "all_reduce", "reduce", "all_gather", "all_gather", "all_gather", "gather", "scatter", "reduce_scatter",
    "all_to_all", "all_to_all", "send", "recv", "recv", "barrier", "reduce_scatter", "", "all_reduce", "reduce_scatter",
)  # fmt: skip
"""What a `Work` was made for, by c10d's `OpType` (Work.hpp): the number has no name in Python."""


class Listener(Protocol):
    """What the wait points tell, and ask."""

    device: DeviceWaits

    def in_job(self) -> bool:
        """Whether this is the recorded thread of the recorded process, and the recording runs."""

    def runq_ns(self) -> int:
        """Core waiting of the thread so far."""

    def span(self, name: str) -> Any | None:
        """A span for the trace, None while no window is open."""

    def on_wait(self, start_ns: int, took_ns: int, runq_ns: int, what: Mapping[str, str]) -> None:
        """The thread was blocked: `what` names the wait point, and the operation where it is known."""

    def on_backward(self, took_ns: int) -> None:
        """A backward pass has ended."""


@dataclass(frozen=True)
class _Begun:
    """A wait that has begun, and what finished waits had added up to by then."""

    start_ns: int
    runq_ns: int
    inside_ns: int
    inside_runq_ns: int
    span: Any | None
    event: Any | None = None


class WaitPoints:
    """Measures blocked time; waits inside waits count once, other threads not at all."""

    def __init__(self, listener: Listener, guard: Guard) -> None:
        self._listener = listener
        self._guard = guard
        self._depth = 0
        self._backward_depth = 0
        self._inside_ns = 0  # time of finished waits, to take it off the tail around them
        self._inside_runq_ns = 0
        self._tail: _Begun | None = None

    def install(self, patches: Patches) -> None:
        """Wrap every wait point that this torch has."""
        import torch

        patches.wrap(torch.autograd, "backward", self._around_backward)
        patches.wrap(torch.cuda.Stream, "wait_event", self._around_stream)
        if torch.distributed.is_available():
            import torch.distributed._functional_collectives as functional

            patches.wrap(torch._C._distributed_c10d.Work, "wait", functools.partial(self.around, "Work.wait"))
            patches.wrap(functional, "wait_tensor", functools.partial(self.around, "wait_tensor"))
            # gloo's own, which waits in C++ without a `Work`
            barrier = functools.partial(self.around, "monitored_barrier")
            patches.wrap(torch.distributed.ProcessGroup, "monitored_barrier", barrier)

    def around(
        self,
        what: str,
        original: Callable[..., Any],
        operation: Callable[[Sequence[Any]], Mapping[str, str]] | None = None,
    ) -> Callable[..., Any]:
        """A function that measures how long the training thread is blocked in `original`. `operation` says from its arguments what it waits for."""
        import torch

        compiling = torch.compiler.is_compiling  # inside a compiled graph our clock must not become a part of it

        @functools.wraps(original)
        def wait(*arguments: Any, **keywords: Any) -> Any:
            if compiling() or self._depth or not self._listener.in_job():
                return original(*arguments, **keywords)
            begun = self._guard.call(_LOST, self._begin, None)
            self._depth += 1
            try:
                return original(*arguments, **keywords)
            finally:
                self._depth -= 1
                self._finish(begun, what, arguments, operation)

        return wait

    def _around_stream(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wait_event(stream: Any, *arguments: Any, **keywords: Any) -> Any:
            if self._depth or not self._listener.in_job():
                return original(stream, *arguments, **keywords)
            return self._listener.device.around(lambda: original(stream, *arguments, **keywords), stream)

        return wait_event

    def _finish(
        self,
        begun: _Begun | None,
        what: str,
        arguments: Sequence[Any] = (),
        operation: Callable[[Sequence[Any]], Mapping[str, str]] | None = None,
    ) -> None:
        if begun is None:
            return
        with self._guard.on(_LOST):
            said = {"op": "barrier"} if what == "monitored_barrier" else (operation or self._operation)(arguments)
            self._end(begun, {"what": what, **said})

    def _operation(self, arguments: Sequence[Any]) -> dict[str, str]:
        """What is waited for, where the first argument is a `Work`."""
        number = getattr(arguments[0], "_get_op_type", None) if arguments else None
        if number is None:
            return {}
        place = self._guard.call("waits do not say what they wait for", number, -1)
        return {"op": _OPS[place]} if 0 <= place < len(_OPS) and _OPS[place] else {}

    def _begin(self) -> _Begun:
        span = self._listener.span(SPAN)
        if span is not None:
            span.__enter__()
        event = self._guard.call("waits on the device are not measured", self._listener.device.begin, None)
        runq = self._listener.runq_ns()
        return _Begun(time.perf_counter_ns(), runq, self._inside_ns, self._inside_runq_ns, span, event)

    def _end(self, begun: _Begun, what: Mapping[str, str]) -> None:
        took = time.perf_counter_ns() - begun.start_ns - (self._inside_ns - begun.inside_ns)
        starved = self._listener.runq_ns() - begun.runq_ns - (self._inside_runq_ns - begun.inside_runq_ns)
        if begun.event is not None:
            with self._guard.on("waits on the device are not measured"):
                self._listener.device.end(begun.event)
        if begun.span is not None:
            begun.span.__exit__(None, None, None)
        self._inside_ns += took
        self._inside_runq_ns += starved
        self._listener.on_wait(begun.start_ns, max(0, took), max(0, starved), what)

    def _around_backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        import torch

        compiling = torch.compiler.is_compiling

        @functools.wraps(original)
        def backward(tensors: Any, *arguments: Any, **keywords: Any) -> Any:
            if compiling() or not self._listener.in_job():
                return original(tensors, *arguments, **keywords)
            handle = None
            with self._guard.on("blocked time at the end of backward passes is not measured"):
                handle = self._arm(tensors)
            self._backward_depth += 1  # checkpointing runs one backward pass inside another
            start = time.perf_counter_ns()
            try:
                return original(tensors, *arguments, **keywords)
            finally:
                took = time.perf_counter_ns() - start
                self._backward_depth -= 1
                if handle is not None:
                    handle.remove()
                if not self._backward_depth:
                    with self._guard.on(_LOST):
                        self._abandon_tail()
                        self._listener.on_backward(took)

        return backward

    def _arm(self, tensors: Any) -> Any | None:
        """Have the two callbacks queued as soon as the pass has begun: a hook on the first root does that."""
        import torch

        engine = torch.autograd.Variable._execution_engine

        def first() -> None:
            self._tail = self._guard.call(_LOST, self._begin, None)
            engine.queue_callback(second)

        def second() -> None:
            begun, self._tail = self._tail, None
            self._finish(begun, "backward_tail")

        def arm(gradient: Any) -> None:
            engine.queue_callback(first)

        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return None  # nobody to wait for
        roots = [tensors] if isinstance(tensors, torch.Tensor) else tensors if isinstance(tensors, Sequence) else ()
        root: Any = next((one for one in roots if isinstance(one, torch.Tensor) and one.requires_grad), None)
        return root.register_hook(arm) if root is not None else None

    def _abandon_tail(self) -> None:
        """A pass that failed between the callbacks leaves a span open."""
        begun, self._tail = self._tail, None
        if begun is not None and begun.span is not None:
            begun.span.__exit__(None, None, None)
