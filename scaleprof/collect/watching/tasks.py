"""Independent tasks of a job, such as the trials of a search: the training names them, and each stands in the stream from its start on."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

from scaleprof.collect.guard import Guard
from scaleprof.run import TASKS_FILE

SPAN = "scaleprof::task"


class Recorder(Protocol):
    """What tasks need of a recording."""

    guard: Guard
    step_number: int
    out: Any

    def span(self, name: str) -> Any | None:
        """A span for the trace, None while no window is open."""


class Tasks:
    """The tasks of this rank, numbered from 0; one may lie inside another. Times are ns of the monotonic clock."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._number = 0
        self._open: list[int] = []

    @property
    def any(self) -> bool:
        """Whether the training has named a task."""
        return self._number > 0

    @contextmanager
    def task(self, name: str) -> Iterator[None]:
        """One task, from here to the end of the block, however it ends."""
        recorder = self._recorder
        number, first_step, start = self._number, recorder.step_number, time.perf_counter_ns()
        self._number += 1
        begun: dict[str, Any] = {"n": number, "name": str(name), "t0": start}
        if self._open:
            begun["in"] = self._open[-1]
        self._open.append(number)
        self._write(begun)  # a killed job leaves the task that it was in
        error: str | None = None
        span = recorder.guard.call("tasks have no spans", lambda: recorder.span(f"{SPAN} {name}"), None)
        try:
            with span if span is not None else nullcontext():
                yield
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            self._open.remove(number)
            ended = {"t1": time.perf_counter_ns(), "steps": recorder.step_number - first_step}
            self._write({**begun, **ended, **({"error": error} if error else {})})

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._recorder.guard.on("tasks are missing"):
            self._recorder.out.line(TASKS_FILE, line)
            self._recorder.out.folder.flush(TASKS_FILE)
