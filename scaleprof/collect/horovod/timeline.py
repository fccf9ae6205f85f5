"""Horovod's own timeline, which rank 0 writes about all ranks: begun and ended by us, within a time, a size and a folder of ours.

To end it before Horovod is shut down is what brings its last events to the file: `shutdown` throws away what is still queued. Both calls wait for the
thread that writes, in C++ and without an end, so that each is made from a thread of its own, which nobody waits for longer than so long.
"""

import gzip
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from scaleprof.collect.guard import Guard
from scaleprof.run import HOROVOD_FILE

VARIABLE, DYNAMIC = "HOROVOD_TIMELINE", "DYNAMIC"
"""Without this in the environment of `hvd.init()` no timeline can be begun later."""
MOST_BYTES = 64_000_000
PATIENCE_S = 5.0
_WHOLE_S = 2.0
_LOOK_BYTES = 64


class CoordinatorTimeline:
    """The timeline of one recording."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._path: Path | None = None
        self._ended = False
        self.cost_ms = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it was begun and has not ended."""
        return self._path is not None and not self._ended

    def start(self, folder: Path) -> None:
        """Begin to write into the folder of rank 0; once."""
        if self._path is not None:
            return
        import horovod.torch as hvd

        path = self._path = folder / HOROVOD_FILE
        if not self._within("the coordinator's timeline could not be begun", lambda: hvd.start_timeline(str(path))):
            self._ended = True

    def end_if_large(self) -> None:
        """End it where it has grown beyond its limit: a job of weeks must not fill a disk."""
        if self._path is not None and self.is_open and self._path.exists() and self._path.stat().st_size > MOST_BYTES:
            self._guard.warn("later steps are not in the coordinator's timeline", f"{MOST_BYTES / 1e6:g} MB are kept")
            self.stop()

    def stop(self) -> None:
        """End it, and compress what was written; does nothing where it is not open."""
        path = self._path
        if path is None or not self.is_open:
            return
        import horovod.torch as hvd

        self._ended = True
        began = time.perf_counter_ns()
        whole = False
        if hvd.is_initialized():
            whole = self._within("the end of the coordinator's timeline is missing", hvd.stop_timeline)
        if whole and _is_closed(path):
            _compress(path)
        self.cost_ms = (time.perf_counter_ns() - began) / 1e6

    def _within(self, what: str, call: Callable[[], None]) -> bool:
        """Whether the call succeeded in time."""
        succeeded, over = threading.Event(), threading.Event()

        def run() -> None:
            with self._guard.on(what):
                call()
                succeeded.set()
            over.set()

        threading.Thread(target=run, name="scaleprof-horovod", daemon=True).start()
        if not over.wait(PATIENCE_S):
            self._guard.warn(what, f"Horovod did not answer within {PATIENCE_S:g} s")
        return succeeded.is_set()


def _is_closed(path: Path) -> bool:
    """Whether the list of events ends; waits for that, a little."""
    until = time.monotonic() + _WHOLE_S
    while True:
        if path.exists():
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _LOOK_BYTES))
                if file.read().rstrip().endswith(b"]"):
                    return True
        if time.monotonic() > until:
            return False
        time.sleep(0.01)


def _compress(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with path.open("rb") as source, gzip.open(temporary, "wb", compresslevel=4) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        temporary.replace(path.with_name(path.name + ".gz"))
        path.unlink()
    finally:
        temporary.unlink(missing_ok=True)
