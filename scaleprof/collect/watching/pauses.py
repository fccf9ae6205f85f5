"""When the interpreter stopped for something that is no training: garbage collection, and compilation by torch.compile.

Only times are noted where it happens; lines are written between steps, since a collection may begin anywhere, inside the writing of a line too.
"""

import gc
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

LEAST_NS = 500_000
"""Shorter collections are no news: those of young objects come by the thousand."""
MOST_KEPT = 10_000
"""Between two boundaries."""
GC, COMPILE = "gc", "compile"


class Pauses:
    """Notes every collection and compilation of this process, whatever thread it runs on: the others wait for it, or for what it makes."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._began: dict[str, int] = {}
        self._found: deque[tuple[str, int, int]] = deque(maxlen=MOST_KEPT)
        self._compiler: Any = None

    def install(self) -> None:
        """Listen to the collector; to the compiler as soon as the training has one."""
        gc.callbacks.append(self._on_collection)
        self.look_for_compiler()

    def look_for_compiler(self) -> None:
        """torch's compiler is not loaded for our sake, and `torch._dynamo.reset()` forgets who listens."""
        module = sys.modules.get("torch._dynamo.callback")
        handler = getattr(module, "callback_handler", None)
        if handler is None or self._on_compile_start in handler.start_callbacks:
            return
        self._compiler = handler
        handler.start_callbacks.append(self._on_compile_start)
        handler.end_callbacks.append(self._on_compile_end)

    def remove(self) -> None:
        """Leave both as they were."""
        if self._on_collection in gc.callbacks:
            gc.callbacks.remove(self._on_collection)
        for callbacks, ours in (
            (getattr(self._compiler, "start_callbacks", []), self._on_compile_start),
            (getattr(self._compiler, "end_callbacks", []), self._on_compile_end),
        ):
            if ours in callbacks:
                callbacks.remove(ours)

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """A line for each pause since the last call: `t`, `d` in ns of the monotonic clock, and `what`."""
        if self._on_collection in gc.callbacks:
            self.look_for_compiler()
        while self._found:
            what, start_ns, took_ns = self._found.popleft()
            yield {"t": start_ns, "d": took_ns, "what": what}

    def _on_collection(self, phase: str, _: Mapping[str, int]) -> None:
        self._note(GC, begins=phase == "start", least_ns=LEAST_NS)

    def _on_compile_start(self, _: Any) -> None:
        self._note(COMPILE, begins=True)

    def _on_compile_end(self, _: Any) -> None:
        self._note(COMPILE, begins=False)

    def _note(self, what: str, *, begins: bool, least_ns: int = 0) -> None:
        now = time.perf_counter_ns()
        if os.getpid() != self._pid:
            return
        if begins:
            self._began[what] = now
            return
        start = self._began.pop(what, now)
        if now - start > least_ns:
            self._found.append((what, start, now - start))
