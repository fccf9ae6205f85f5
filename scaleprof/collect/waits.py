"""When the training thread is blocked in communication: at `Work.wait`, `wait_tensor`, and at the end of a backward pass.

The end of a backward pass is where DistributedDataParallel waits in C++, out of Python's sight: one callback runs when all gradients are
computed, before DDP finishes, and a second one after it; between them lies the wait.
"""

import functools
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from scaleprof.collect.patching import Patches

SPAN = "scaleprof::wait"


class Spans(Protocol):
    """Makes a span in the profiler's trace while a window is open."""

    def __call__(self, name: str) -> Any | None:
        """A context manager, or None while nothing is recorded."""


class WaitPoints:
    """Measures blocked time; waits inside waits count once, other threads not at all."""

    def __init__(
        self,
        runq_ns: Callable[[], int],
        on_wait: Callable[[int, int, int, str], None],
        on_backward: Callable[[int], None],
        span: Spans,
    ) -> None:
        self._runq_ns = runq_ns
        self._on_wait = on_wait
        self._on_backward = on_backward
        self._span = span
        self._thread = threading.get_ident()
        self._depth = 0
        self._inside_ns = 0  # time of finished waits, to take it off the tail around them
        self._inside_runq_ns = 0
        self._tail: tuple[int, int, int, int, Any] | None = None

    def install(self, patches: Patches) -> None:
        """Wrap every wait point that this torch has."""
        import torch

        patches.wrap(torch.autograd, "backward", self._around_backward)
        if torch.distributed.is_available():
            import torch.distributed._functional_collectives as functional

            patches.wrap(torch._C._distributed_c10d.Work, "wait", functools.partial(self._around, "Work.wait"))
            patches.wrap(functional, "wait_tensor", functools.partial(self._around, "wait_tensor"))

    def _around(self, what: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wait(*arguments: Any, **keywords: Any) -> Any:
            if self._depth or threading.get_ident() != self._thread:
                return original(*arguments, **keywords)
            self._depth += 1
            span = self._span(SPAN)
            if span is not None:
                span.__enter__()
            start, runq = time.perf_counter_ns(), self._runq_ns()
            try:
                return original(*arguments, **keywords)
            finally:
                took, starved = time.perf_counter_ns() - start, self._runq_ns() - runq
                if span is not None:
                    span.__exit__(None, None, None)
                self._depth -= 1
                self._inside_ns += took
                self._inside_runq_ns += starved
                self._on_wait(start, took, starved, what)

        return wait

    def _around_backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        import torch

        engine = torch.autograd.Variable._execution_engine

        def first() -> None:
            span = self._span(SPAN)
            if span is not None:
                span.__enter__()
            self._tail = (time.perf_counter_ns(), self._runq_ns(), self._inside_ns, self._inside_runq_ns, span)
            engine.queue_callback(second)

        def second() -> None:
            if self._tail is None:
                return
            start, runq, inside_ns, inside_runq_ns, span = self._tail
            self._tail = None
            took = time.perf_counter_ns() - start - (self._inside_ns - inside_ns)
            starved = self._runq_ns() - runq - (self._inside_runq_ns - inside_runq_ns)
            if span is not None:
                span.__exit__(None, None, None)
            self._on_wait(start, max(0, took), max(0, starved), "backward_tail")

        def arm(gradient: Any) -> None:
            engine.queue_callback(first)

        @functools.wraps(original)
        def backward(tensors: Any, *arguments: Any, **keywords: Any) -> Any:
            if threading.get_ident() != self._thread:
                return original(tensors, *arguments, **keywords)
            roots = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            root = next((one for one in roots if isinstance(one, torch.Tensor) and one.requires_grad), None)
            register: Any = root.register_hook if root is not None else None
            handle = register(arm) if register is not None else None
            start = time.perf_counter_ns()
            try:
                return original(tensors, *arguments, **keywords)
            finally:
                self._tail = None
                if handle is not None:
                    handle.remove()
                self._on_backward(time.perf_counter_ns() - start)

        return backward
