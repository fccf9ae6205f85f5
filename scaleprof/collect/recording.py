"""`scaleprof.profile`: a decorator and a context manager, and what a training script can call inside it."""

import atexit
import functools
import inspect
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, nullcontext
from typing import Any, TypeVar, cast

from scaleprof.collect.guard import Guard
from scaleprof.collect.options import Options, Windows, with_environment
from scaleprof.collect.session import Session
from scaleprof.errors import OptionError
from scaleprof.run import Emulated, Level

log = logging.getLogger("scaleprof")

Function = TypeVar("Function", bound=Callable[..., Any])
Batch = TypeVar("Batch")

EMULATED_SPAN = "scaleprof::emulated_compute"


class _Process:
    """The one recording that a process can have at a time, and how many it had."""

    current: Session | None = None
    recorded = 0
    lock = threading.Lock()


def recording_now() -> Session | None:
    """The recording that runs in this process."""
    session = _Process.current
    return session if session is not None and session.active and session.pid == os.getpid() else None


class profile:  # noqa: N801  a decorator reads as a verb
    """Record a training function, or a `with` block, into a run directory below `folder`.

    Used as a decorator every call records a run; inside another recording it becomes a part of that one. Works on functions, methods,
    generators and coroutines. The training's own result and exceptions pass through untouched; what fails in the recorder becomes a warning.
    Options: see `Options`; SCALEPROF, SCALEPROF_DIR, SCALEPROF_NAME and SCALEPROF_RUN_ID in the environment override them.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] = "traces/",
        *,
        level: Level = "timeline",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        windows: Windows | None = None,
        strategy: str | None = None,
        samples_per_step: float | None = None,
        flops_per_step: float | None = None,
        sample_hz: float = 2.0,
        redact: bool = False,
        measure_cost: bool = True,
    ) -> None:
        if callable(folder):
            raise OptionError("write @scaleprof.profile(), with brackets: the first argument is a folder")
        self.options = Options(
            folder=os.fspath(folder),
            level=level,
            name=name,
            tags=dict(tags or {}),
            windows=windows or Windows(),
            strategy=strategy,
            samples_per_step=samples_per_step,
            flops_per_step=flops_per_step,
            sample_hz=sample_hz,
            redact=redact,
            measure_cost=measure_cost,
        )
        self._entered: list[Session | None] = []

    # ---- decorator

    def __call__(self, function: Function) -> Function:
        """The function, recorded at every call."""
        if isinstance(function, staticmethod | classmethod):  # the decorators in the other order
            kind: Any = type(function)
            return cast(Function, kind(self(function.__func__)))
        return cast(Function, functools.update_wrapper(_recorded(function, self._again), function))

    def _again(self) -> "profile":
        """A recording of its own for each call."""
        fresh = object.__new__(type(self))
        fresh.options, fresh._entered = self.options, []
        return fresh

    def _session(self, options: Options, number: int, guard: Guard) -> Session:
        return Session(options, number, guard)

    # ---- context manager

    def __enter__(self) -> "profile":
        guard = Guard()
        session = None
        with guard.on("nothing is recorded"), _Process.lock:
            options = with_environment(self.options)
            if options.enabled and recording_now() is None:  # inside another recording: part of it
                _Process.recorded += 1
                session = _Process.current = self._session(options, _Process.recorded, guard)
        if session is not None:
            try:
                session.start()
                atexit.register(session.finish, None)
            except BaseException as error:  # interrupted: nobody will call __exit__
                session.finish(error)
                raise
        self._entered.append(session)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        session = self._entered.pop() if self._entered else None
        if session is None:
            return
        try:
            session.finish(error)
        finally:
            atexit.unregister(session.finish)
            if _Process.current is session:
                _Process.current = None

    # ---- inside

    def step(self, samples: float | None = None) -> None:
        """A step ends here; the first call switches the automatic boundaries off. `samples`: taken by this rank in it."""
        step(samples)

    def steps(self, loader: Iterable[Batch]) -> Iterator[Batch]:
        """The loader's batches, one step each, the time spent waiting for them measured."""
        session = recording_now()
        if session is None:
            yield from loader
            return
        session.state_steps()
        for batch in session.inputs.timed(loader):
            yield batch
            session.mark_step(None)

    @contextmanager
    def region(self, name: str) -> Iterator[None]:
        """A named part of the training, such as an evaluation: a span in the trace."""
        session = recording_now()
        span = session.span(f"scaleprof::region {name}") if session is not None else None
        with span if span is not None else nullcontext():
            yield

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """A part that is no training, such as an evaluation or saving a checkpoint: a region, and its time and its batches belong to no step."""
        session = recording_now()
        if session is None or not session.is_ours():
            yield
            return
        with session.left_out(), self.region(name):
            yield

    @contextmanager
    def task(self, name: str) -> Iterator[None]:
        """One of several independent tasks, such as a trial of a search: its time, steps and end are kept, and it is a span in the trace."""
        session = recording_now()
        with session.tasks.task(name) if session is not None and session.in_job() else nullcontext():
            yield

    def emulated(self, *, compute_ms_per_step: float | None = None, link: str = "") -> None:
        """Say that compute is emulated (`emulated_sleep`): every report then says so, and knows the true time."""
        session = recording_now()
        if session is not None:
            session.known.emulated = Emulated(compute_ms_per_step=compute_ms_per_step, link=link)


def _recorded(function: Callable[..., Any], recording: Callable[[], profile]) -> Callable[..., Any]:
    """A function of the same kind that opens a recording for each call, and closes it however the call ends."""
    if inspect.isasyncgenfunction(function):

        async def items_later(*arguments: Any, **keywords: Any) -> Any:
            with recording():
                async with aclosing(function(*arguments, **keywords)) as items:
                    async for item in items:
                        yield item

        return items_later
    if inspect.iscoroutinefunction(function):

        async def later(*arguments: Any, **keywords: Any) -> Any:
            with recording():
                return await function(*arguments, **keywords)

        return later
    if inspect.isgeneratorfunction(function):

        def items(*arguments: Any, **keywords: Any) -> Any:
            with recording():
                return (yield from function(*arguments, **keywords))

        return items

    def at_once(*arguments: Any, **keywords: Any) -> Any:
        outer = recording_now()
        with recording() as one, one.region(function.__qualname__) if outer is not None else nullcontext():
            return function(*arguments, **keywords)

    return at_once


def step(samples: float | None = None) -> None:
    """A step of the running recording ends here; without one nothing happens."""
    session = recording_now()
    if session is not None:
        session.mark_step(samples)


def emulated_sleep(seconds: float) -> None:
    """Sleep in place of compute: a span of its own in the trace, and no blame for the machine where the sleeper woke late.

    Inside a recording, what one sleep lasts too long is taken off the next ones, so that their sum is the time asked for, as on a device that
    keeps its own pace.
    """
    import torch

    session = recording_now()
    if session is None or not session.in_job():
        time.sleep(seconds)
        return
    runq_ns, asked_ns = session.runq_ns(), int(seconds * 1e9)
    readings = [time.perf_counter_ns()]
    with torch.profiler.record_function(EMULATED_SPAN):
        readings.append(time.perf_counter_ns())
        time.sleep(max(0, asked_ns - session.overslept_ns) / 1e9)
        readings.append(time.perf_counter_ns())
    readings.append(time.perf_counter_ns())
    # Opening and closing a span take tenths of a millisecond after a sleep, of which the trace shows about half.
    session.overslept_ns += (readings[2] + readings[3] - readings[0] - readings[1]) // 2 - asked_ns
    session.excuse_runq(session.runq_ns() - runq_ns)
