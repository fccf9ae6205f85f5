"""Spans of the training that are open while windows change.

torch writes the end of a span into the memory of the window that it began in, and once the next window records, that memory is gone
(profiler_kineto.cpp, `onFunctionExit`). So a span of the training thread ends with its window, and begins again in the next one. Where that
cannot be done, for spans of other threads and for the optimizer's, in which a step ends, the next window has to wait for their end.
"""

import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from scaleprof.collect.guard import Guard
from scaleprof.collect.patching import Patches

_OPTIMIZERS = "Optimizer."
_LOST = "a span of the training ends too early in the trace"


class _Open(NamedTuple):
    span: weakref.ref[Any]
    thread: int
    is_in_window: bool
    """It began while a window recorded."""


class OpenSpans:
    """Every `record_function` of Python's that has begun and not ended."""

    def __init__(self, guard: Guard, window_is_open: Callable[[], bool]) -> None:
        self._guard = guard
        self._window_is_open = window_is_open
        self._open: dict[int, _Open] = {}
        self._begin: Callable[..., Any] | None = None
        self._end: Callable[..., Any] | None = None

    def install(self, patches: Patches, is_ours: Callable[[], bool]) -> None:
        """See every span of the recorded thread, and those of others while a window records."""
        from torch.autograd.profiler import record_function

        def around_enter(original: Any) -> Any:
            self._begin = original

            @functools.wraps(original)
            def enter(span: Any) -> Any:
                if self._window_is_open() or is_ours():
                    self._add(span)
                return original(span)

            return enter

        def around_exit(original: Any) -> Any:
            self._end = original

            @functools.wraps(original)
            def leave(span: Any, *arguments: Any, **keywords: Any) -> Any:
                self._open.pop(id(span), None)
                return original(span, *arguments, **keywords)

            return leave

        patches.wrap(record_function, "__enter__", around_enter)
        patches.wrap(record_function, "__exit__", around_exit)

    @property
    def any_of_a_window(self) -> bool:
        """Whether a span that began in a window goes on after it."""
        return any(one.is_in_window and one.span() is not None for one in list(self._open.values()))

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Spans of this thread end before the block, which opens or closes a window, and begin again after it."""
        cut = []
        for number, one in list(self._open.items()):
            span = one.span()
            if span is None:
                self._open.pop(number, None)
            elif self._can_be_cut(one, span):
                with self._guard.on(_LOST):
                    self._end(span, None, None, None)  # type: ignore[misc]
                    cut.append(span)
        try:
            yield
        finally:
            for span in cut:
                with self._guard.on(_LOST):
                    self._begin(span)  # type: ignore[misc]
                    self._add(span)

    def _add(self, span: Any) -> None:
        self._open[id(span)] = _Open(weakref.ref(span), threading.get_ident(), self._window_is_open())

    def _can_be_cut(self, one: _Open, span: Any) -> bool:
        """One that ends with a future, not with its block, is left alone."""
        return (
            self._end is not None
            and one.thread == threading.get_ident()
            and bool(getattr(span, "run_callbacks_on_exit", False))
            and not str(span.name).startswith(_OPTIMIZERS)
        )
