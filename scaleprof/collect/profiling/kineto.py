"""Profiler windows of our own: torch's profiler started and stopped between steps, with its own file for each window.

Not `torch.profiler.profile`: its schedule steps inside the optimizer's span, and it cannot be restricted to annotations, which is what
makes a window cheap enough to be always on. The functions behind it are private; where they are missing there are no windows.
"""

import gzip
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaleprof.run import Level


def cuda_in_use() -> bool:
    """Whether the job has begun to use CUDA. Asking whether it could would itself begin to: such a process can no longer fork workers that do."""
    import torch

    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class OpenWindow:
    """A window that records now."""

    first_step: int
    level: Level


class Profiler:
    """At most one window at a time, and none beside a profiler of the user's."""

    def __init__(self) -> None:
        self.window: OpenWindow | None = None
        self.stop_ns = 0
        self.export_ns = 0
        self._of_all_threads = False

    @staticmethod
    def available() -> bool:
        """Whether this torch has the functions that windows need."""
        import torch

        names = ("_prepare_profiler", "_enable_profiler", "_disable_profiler", "_profiler_enabled")
        return all(hasattr(torch._C._autograd, name) for name in names)

    @staticmethod
    def others_active() -> bool:
        """Whether a profiler of the training's runs already, in any thread; starting a second one loses both, or crashes the process."""
        import torch

        return _runs_in_this_thread() or bool(getattr(torch.autograd.profiler, "_is_profiler_enabled", False))

    def start(self, first_step: int, level: Level) -> None:
        """Open a window: of annotations and communication, or at level `full` of every operator with its shapes."""
        import torch
        from torch._C._profiler import ProfilerConfig, ProfilerState, RecordScope, _ExperimentalConfig
        from torch.profiler import ProfilerActivity

        # Kineto announces every start and stop on the terminal; ours are nobody's concern. Whoever sets the level keeps it.
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")
        try:
            extra = _ExperimentalConfig(profile_all_threads=True)
        except TypeError:  # older than 2.8: what gloo's threads compute themselves is then not seen
            extra = _ExperimentalConfig()
        config = ProfilerConfig(ProfilerState.KINETO, True, False, False, False, False, extra)
        activities = {ProfilerActivity.CPU} | ({ProfilerActivity.CUDA} if cuda_in_use() else set())
        scopes = set() if level == "full" else {RecordScope.USER_SCOPE}
        torch._C._autograd._prepare_profiler(config, activities)
        enable: Any = torch._C._autograd._enable_profiler  # its stub lacks the scopes
        enable(config, activities, scopes)
        self._of_all_threads = not _runs_in_this_thread()
        self.window = OpenWindow(first_step, level)

    def stop(self) -> Any | None:
        """Close the window; its result, or None where somebody else has stopped it. Saving a lost result would crash the process."""
        import torch

        if self.window is None:
            return None
        self.window = None
        if self._of_all_threads == _runs_in_this_thread():
            return None  # it is theirs that would be stopped, or nobody's
        start = time.perf_counter_ns()
        if cuda_in_use():
            torch.cuda.synchronize()  # kernels still in flight would be missing
        result = torch._C._autograd._disable_profiler()
        self.stop_ns += time.perf_counter_ns() - start
        return result if result.trace_start_ns() else None

    def export(self, result: Any, path: Path, change: Callable[[Path], None] | None = None) -> None:
        """Write a window's result as gzipped JSON, at once or not at all; `change` may rewrite the plain file first."""
        start = time.perf_counter_ns()
        plain = path.with_name(f".{path.name}.plain")
        packed = path.with_name(f".{path.name}.tmp")
        try:
            result.save(str(plain))
            if change is not None:
                change(plain)
            with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=4) as target:
                shutil.copyfileobj(source, target, 1 << 20)
            packed.replace(path)
        finally:
            for left in (
                plain,
                plain.with_name(f"{plain.name}.tmp"),
                packed,
            ):  # torch writes to a name of its own first
                with suppress(OSError):
                    left.unlink()
            self.export_ns += time.perf_counter_ns() - start


def _runs_in_this_thread() -> bool:
    """Whether this thread has a profiler; one of all threads, as ours, does not count."""
    import torch

    return bool(torch._C._autograd._profiler_enabled())
