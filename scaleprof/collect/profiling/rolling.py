"""Which profiler window is open: one after the other at level `timeline`, with windows of every operator between them at level `full`.

Called between steps only, so that what starting, stopping and saving cost is part of no step. On a GPU every window costs a quarter of a second and
every kernel some microseconds, so that the windows there are short and lie twice as far apart each time.

Between two windows lies a step without one: its end is found inside the optimizer's span, which must not reach from one window into the next
(`openspans.py`).
"""

import functools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from scaleprof.collect.guard import Guard
from scaleprof.collect.options import Options
from scaleprof.collect.patching import Patches
from scaleprof.collect.profiling.kineto import OpenWindow, Profiler, cuda_in_use
from scaleprof.collect.profiling.openspans import OpenSpans
from scaleprof.run import Level

WINDOW_STEPS = 50
"""Steps in a window of annotations: bounds the memory of one, and what a killed job loses."""
GPU_WINDOW_STEPS = 10
"""The same on a GPU. Behind the k-th window of a recording come `GPU_WINDOW_STEPS * 2**(k - 1)` steps without one: on all ranks the same."""
MOST_WINDOWS = 200
"""Windows of annotations in one recording: a job of weeks must not fill a disk."""


class RollingWindows:
    """Opens and closes windows; `save` gets a closed window, its last step, and the profiler's result."""

    def __init__(self, options: Options, guard: Guard, save: Callable[[OpenWindow, int, Any], None]) -> None:
        self.profiler = Profiler()
        self._options = options
        self._guard = guard
        self._save = save
        self._opened = 0
        self._rest_until = 0
        """No window of annotations before this step."""
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a profiler of another thread's cuts a window from there
        self._theirs: weakref.WeakSet[Any] = weakref.WeakSet()
        self._spans = OpenSpans(guard, lambda: self.is_open)

    @property
    def is_open(self) -> bool:
        """Whether a window records now."""
        return self.profiler.window is not None

    def install(self, patches: Patches, is_ours: Callable[[], bool], on_cut: Callable[[], None]) -> None:
        """Make room whenever the training starts a profiler of its own, in any thread; `on_cut` hears when that cost a window its rest.

        From the moment theirs is prepared until it ends no window is opened: a second profiler loses both, or crashes the process.
        """

        def around_begin(original: Any) -> Any:
            @functools.wraps(original)
            def begin(theirs: Any, *arguments: Any, **keywords: Any) -> Any:
                if os.getpid() == self._pid:
                    with self._guard.on("a window was lost to another profiler"), self._lock:
                        self._theirs.add(theirs)
                        if self.is_open:
                            on_cut()
                return original(theirs, *arguments, **keywords)

            return begin

        def around_exit(original: Any) -> Any:
            @functools.wraps(original)
            def leave(theirs: Any, *arguments: Any, **keywords: Any) -> Any:
                self._theirs.discard(theirs)
                return original(theirs, *arguments, **keywords)

            return leave

        for kind, begins in _their_profilers():
            for begin in begins:
                patches.wrap(kind, begin, around_begin)
            patches.wrap(kind, "__exit__", around_exit)
        if self._options.level != "light":
            self._spans.install(patches, is_ours)

    def turn(self, step: int, *, bare: bool = False) -> bool:
        """Close the window that is full, or open the one that is due before `step`; whether either was done. Over a bare step none is open."""
        if self._options.level == "light":
            return False
        with self._lock:
            return self._turn(step, bare=bare)

    def _turn(self, step: int, *, bare: bool) -> bool:
        options, window = self._options, self.profiler.window
        if bare:
            self.close(step)
            return window is not None
        full_is_next = options.level == "full" and options.windows.opens_at(step + 1)
        if window is not None:
            most = options.windows.steps if window.level == "full" else _window_steps()
            is_full = step - window.first_step >= most
            if is_full or (full_is_next and window.level == "timeline"):
                self.close(step)
                if window.level == "timeline" and cuda_in_use():
                    self._rest_until = step + GPU_WINDOW_STEPS * 2 ** (self._opened - 1)
            return not self.is_open
        if options.level == "full" and options.windows.opens_at(step):
            return self._open(step, "full")
        if step < max(options.windows.skip, self._rest_until) or full_is_next or self._opened >= MOST_WINDOWS:
            return False
        if not self._open(step, "timeline"):
            return False
        self._opened += 1
        if self._opened == MOST_WINDOWS:
            self._guard.warn("later steps have no trace", f"{MOST_WINDOWS} windows of {WINDOW_STEPS} steps are kept")
        return True

    def close(self, step: int) -> None:
        """Close and save the open window before `step`."""
        with self._lock:
            window = self.profiler.window
            if window is None:
                return
            with self._spans.cut():
                result = self.profiler.stop()
            if result is None:
                self._guard.warn("a window was lost", "another profiler was started in it")
            elif step > window.first_step:
                self._save(window, step - 1, result)

    def drop(self) -> None:
        """Close the open window and keep nothing of it."""
        if self.is_open:
            with self._spans.cut():
                self.profiler.stop()

    def _open(self, step: int, level: Level) -> bool:
        if self._theirs or self.profiler.others_active():
            self._guard.warn("a window was skipped", "the training runs a profiler of its own")
            return False
        if self._spans.any_of_a_window:
            self._guard.warn("a window was skipped", "a record_function span of another thread reaches over windows")
            return False
        with self._spans.cut():
            self.profiler.start(step, level)
        return True


def _window_steps() -> int:
    return GPU_WINDOW_STEPS if cuda_in_use() else WINDOW_STEPS


def _their_profilers() -> list[tuple[Any, tuple[str, ...]]]:
    """What a training may profile with, and the methods with which that begins."""
    from torch.autograd import profiler, profiler_legacy

    return [
        (profiler.profile, ("_prepare_trace", "_start_trace")),
        (profiler.emit_itt, ("__enter__",)),
        (profiler.emit_nvtx, ("__enter__",)),
        (profiler_legacy.profile, ("__enter__",)),
    ]
