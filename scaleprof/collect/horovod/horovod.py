"""A recording of a Horovod job, on one rank: everything that is recorded of any training, and what Horovod does beside it.

Each rank writes down when it hands which tensor to Horovod and how long it waits (`horovod_calls.py`); rank 0 has Horovod write its timeline into its
folder (`horovod_timeline.py`); hosts compare their clocks (`horovod_clocks.py`). The analysis joins them.
"""

import dataclasses
import functools
import os
import time
from collections.abc import Callable
from typing import Any

from scaleprof.collect.guard import Guard
from scaleprof.collect.horovod.calls import GROUP, HorovodCalls
from scaleprof.collect.horovod.clocks import HorovodClocks
from scaleprof.collect.horovod.timeline import DYNAMIC, VARIABLE, CoordinatorTimeline
from scaleprof.collect.options import Options
from scaleprof.collect.session import Session
from scaleprof.run import COLLECTIVES_FILE, ProcessGroup

CACHE = "HOROVOD_CACHE_CAPACITY"


class HorovodSession(Session):
    """Records one call of a training function whose ranks Horovod joins."""

    def __init__(self, options: Options, number: int, guard: Guard, *, rank_ticks: bool) -> None:
        super().__init__(options, number, guard)
        self.known.framework = "horovod"
        self._rank_ticks = rank_ticks
        self._calls = HorovodCalls(self, guard, self.wait_points, self._unix_ns)
        self._timeline = CoordinatorTimeline(guard)
        self._meetings = HorovodClocks(self.known, guard)
        self._stated: dict[str, str | None] = {}
        """What stood in the environment before."""

    # ---- the life of a recording

    def start(self) -> None:
        """Say in the environment what `hvd.init()` has to find there, then begin."""
        wanted = {VARIABLE: DYNAMIC} if self.options.level != "light" else {}
        if self._rank_ticks:
            wanted[CACHE] = "0"
        for name, value in wanted.items():
            if name not in os.environ:
                self._stated[name] = None
                os.environ[name] = value
        super().start()

    def finish(self, error: BaseException | None) -> None:
        """Take everything out again; the timeline ends before Horovod does."""
        if self.active and os.getpid() == self.pid:
            self._leave(failed=error is not None)
            self._write_issued()
        super().finish(error)
        for name in self._stated:
            os.environ.pop(name, None)
        self._stated.clear()

    def _install(self) -> None:
        super()._install()
        self._part("horovod", self._install_horovod)

    def _install_horovod(self) -> None:
        import horovod.torch  # noqa: F401  all of it, so that every module is there that holds a function
        from horovod.common.basics import HorovodBasics

        self._calls.install(self._patches)
        self._patches.wrap(HorovodBasics, "init", self._around_init)
        self._patches.wrap(HorovodBasics, "shutdown", self._around_shutdown)

    def _around_init(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def init(*arguments: Any, **keywords: Any) -> Any:
            result = original(*arguments, **keywords)
            if self.is_ours():
                self._open_folder()
            return result

        return init

    def _around_shutdown(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def shutdown(*arguments: Any, **keywords: Any) -> Any:
            if self.is_ours():
                self._leave(failed=False)
            return original(*arguments, **keywords)

        return shutdown

    def _leave(self, *, failed: bool) -> None:
        """What has to be done while Horovod still runs."""
        with self.guard.on("the end of the coordinator's timeline is missing"):
            self._timeline.stop()
            if self._timeline.cost_ms:
                self.known.overhead["horovod_timeline_ms"] = self._timeline.cost_ms
        with self.guard.on("what Horovod knows of the job is missing"):
            self._remember()
        if not failed:  # to a job that fails not all ranks may come
            self._meetings.at_end()

    # ---- what a rank does

    def records(self) -> bool:
        """Whether the recording runs, in this process; on whatever thread."""
        return self.active and os.getpid() == self.pid

    def _unix_ns(self) -> int:
        """Unix time as Horovod's timeline counts it: by the monotonic clock from one reading on, whatever a time service does meanwhile."""
        return time.perf_counter_ns() + self.known.anchors[0].offset_ns

    # ---- between steps

    def _write_issued(self) -> None:
        with self.guard.on("what was handed to Horovod is missing"):
            for line in self._calls.lines():
                self.out.line(COLLECTIVES_FILE, line)

    def _between_steps(self) -> None:
        self._write_issued()
        super()._between_steps()
        self._perturbed |= self._meetings.at_start()
        with self.guard.on("the coordinator's timeline may grow without a limit"):
            self._timeline.end_if_large()

    def _open_folder(self, *, last_chance: bool = False) -> None:
        super()._open_folder(last_chance=last_chance)
        if last_chance or not self.known.capabilities.get("horovod"):
            return
        with self.guard.on("the coordinator's timeline could not be begun"):
            self._remember()
            here, folder = self.out.here(), self.out.folder.path
            is_writer = here is not None and here.rank == 0 and self.options.level != "light"
            if is_writer and folder is not None and self.known.groups:
                self._timeline.start(folder)

    def _remember(self) -> None:
        import horovod.torch as hvd

        if self.known.groups or not hvd.is_initialized():
            return
        self.known.backend = _backend(hvd)
        ranks = tuple(range(hvd.size()))
        self.known.groups = (ProcessGroup(GROUP, ranks, "all ranks", self.known.backend or ""),)

    def _look_at_job(self) -> None:
        super()._look_at_job()
        with self.guard.on("the strategy could not be found out"):
            found = self.known.found
            if not found.layout.words and self.known.groups:
                words = [GROUP, *self._calls.compressed]
                self.known.found = dataclasses.replace(found, strategy="+".join(words), unknown="")
        self.out.write_rank(finished=False)

    def _costs_ms(self) -> dict[str, float]:
        self._add_details()
        return super()._costs_ms()

    def _add_details(self) -> None:
        """What compression saved so far, for `rank.json`."""
        found = self.known.found
        sums = {
            name: {"raw_bytes": before, "sent_bytes": after, "ratio": before / after}
            for name, (before, after) in self._calls.compressed.items()
            if after
        }
        if sums:
            details = {**found.details, "compression": sums}
            self.known.found = dataclasses.replace(found, details=details)


def _backend(hvd: Any) -> str | None:
    """What carries the operations out."""
    for name, asked in (("nccl", "nccl_built"), ("ccl", "ccl_built"), ("mpi", "mpi_enabled"), ("gloo", "gloo_enabled")):
        if hasattr(hvd, asked) and getattr(hvd, asked)():
            return name
    return None
