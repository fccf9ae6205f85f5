"""Windows of TensorFlow's profiler: started and stopped between steps, each with a file of its own.

The profiler names its file after the host alone, so that ranks on one host would overwrite one another: here it writes into the rank's folder, and
the file is moved to the name of its window. Stopping takes seconds where a window holds millions of events.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from scaleprof.run import trace_file_name

STEP_MARK = "scaleprof_step"
"""What a step is called in the profile, so that other tools find it, too."""

SETTLE_S = 0.05
"""Threads of TensorFlow's own end their last events a little after the step has: of those that are open when the profiler stops nothing is kept."""


class Profiler:
    """At most one window at a time."""

    def __init__(self) -> None:
        self.first_step: int | None = None
        self.start_ns = self.stop_ns = 0
        self._folder: Path | None = None
        self._mark: Any = None

    @property
    def is_open(self) -> bool:
        """Whether a window records now."""
        return self.first_step is not None

    def start(self, folder: Path, step: int) -> None:
        """Open a window before this step. An error where another profiler runs in this process."""
        import tensorflow as tf

        began = time.perf_counter_ns()
        self._folder = folder / f".profile-{step}"
        tf.profiler.experimental.start(str(self._folder))
        self.first_step = step
        self.start_ns += time.perf_counter_ns() - began

    def mark(self, step: int) -> None:
        """The step begins."""
        import tensorflow as tf

        self.unmark()
        if self.is_open:
            self._mark = tf.profiler.experimental.Trace(STEP_MARK, step_num=step, _r=1)
            self._mark.__enter__()

    def unmark(self) -> None:
        """It has ended."""
        mark, self._mark = self._mark, None
        if mark is not None:
            mark.__exit__(None, None, None)

    def stop(self, step: int, change: Callable[[Path], None] | None = None) -> None:
        """Close the window behind this step and move its file to its place; `change` may rewrite it first."""
        import tensorflow as tf

        first, folder = self.first_step, self._folder
        if first is None or folder is None:
            return
        began = time.perf_counter_ns()
        self.first_step = self._folder = None
        try:
            time.sleep(SETTLE_S)
            tf.profiler.experimental.stop()
            if step < first:  # no whole step lies in it
                return
            written = next(folder.rglob("*.xplane.pb"), None)
            if written is None:
                raise OSError("the profiler wrote no file")
            if change is not None:
                change(written)
            written.replace(folder.parent / trace_file_name(first, step, "full", "xplane.pb"))
        finally:
            self.stop_ns += time.perf_counter_ns() - began
            with suppress(OSError):
                shutil.rmtree(folder)
