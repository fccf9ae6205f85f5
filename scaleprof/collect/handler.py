"""`scaleprof.trace_handler`: a run directory from the `torch.profiler.profile` that a training has already.

Each of the profiler's traces becomes a window beside our record of the rank. There are no steps of ours: the reader takes those that the
profiler marks in its files (`readers/recorded/recorded.py`), which is why the record says no level.
"""

import gc
import itertools
import os
import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaleprof.clock import ClockAnchor
from scaleprof.collect.found.job import Seen, find_out, process_groups
from scaleprof.collect.guard import Guard
from scaleprof.collect.options import Options, with_environment
from scaleprof.collect.profiling.kineto import Profiler
from scaleprof.collect.recording import recording_now
from scaleprof.collect.written import identity
from scaleprof.collect.written.about import Known, Records
from scaleprof.collect.written.folder import RankFolder, claim_rank_folder
from scaleprof.run import trace_file_name

_STEP = re.compile(rb'"ProfilerStep#(\d{1,15})"')
_BLOCK = 1 << 20
_LONGEST = 64
"""Bytes that the mark of a step may take: what may be cut in two between blocks."""
_numbers = itertools.count(1)


def trace_handler(
    folder: str | os.PathLike[str] = "traces/",
    *,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
    strategy: str | None = None,
    samples_per_step: float | None = None,
    flops_per_step: float | None = None,
    redact: bool = False,
) -> Callable[[Any], None]:
    """For `torch.profiler.profile(on_trace_ready=...)`: writes each of its traces into a run directory below `folder`.

    What fails is a warning, and the training goes on. The options are those of `scaleprof.profile`.
    """
    options = Options(
        folder=os.fspath(folder),
        name=name,
        tags=dict(tags or {}),
        strategy=strategy,
        samples_per_step=samples_per_step,
        flops_per_step=flops_per_step,
        redact=redact,
    )
    return _TraceHandler(options)


class _TraceHandler:
    """Writes the traces of one profiler after the other, a run for each."""

    def __init__(self, options: Options) -> None:
        self._options = replace(
            options, folder=os.path.abspath(options.folder)
        )  # the training may change its directory
        self._run: _ProfiledRun | None = None

    def __call__(self, profiler: Any) -> None:
        guard = self._run.guard if self._run is not None else Guard()
        with guard.on("a trace of torch.profiler was not kept"):
            options = with_environment(self._options)
            if not options.enabled:
                return
            if self._run is None or not self._run.is_of(profiler):
                self._run = _ProfiledRun(options, guard if self._run is None else Guard(), profiler)
            recording = recording_now()
            with recording.left_out() if recording is not None and recording.is_ours() else nullcontext():
                self._run.save(profiler)
        if self._run is not None:
            self._run.write_record()


class _ProfiledRun:
    """The folder of this rank, and what is known about it."""

    def __init__(self, options: Options, guard: Guard, profiler: Any) -> None:
        self.guard = guard
        self._pid = os.getpid()
        self._profiler = weakref.ref(profiler)
        self._files = Profiler()
        self._known = Known()
        self._known.capabilities["torch_profiler"] = True
        self._known.local_batch = options.samples_per_step
        self._next_step = 0
        self._is_looked_at = False
        if recording_now() is not None:  # the same job is being recorded, and is no repetition of itself
            options = replace(options, name=f"{options.name or identity.script_name()}-profiler")
        self._records = Records(options)
        self._folder = RankFolder()
        self._root = Path(options.folder)

    def is_of(self, profiler: Any) -> bool:
        """Whether this is the run of that profiler, in this process."""
        return self._profiler() is profiler and self._pid == os.getpid()

    def save(self, profiler: Any) -> None:
        """Write what the profiler has recorded, and the rank's record as it is now."""
        self._look()
        folder = self._folder.path or self._open()
        steps: list[int] = []

        def look_and_redact(plain: Path) -> None:
            steps.extend(_steps_in(plain))
            if self._records.redaction:
                self._records.redaction.trace_file(plain)

        unnamed = folder / f".window-{self._pid}.json.gz"
        try:
            self._files.export(_Saved(profiler), unnamed, look_and_redact)
            first, last = (min(steps), max(steps)) if steps else (int(profiler.step_num),) * 2
            again = max(0, self._next_step - first)  # the profiler was started again: it counts anew
            unnamed.rename(folder / trace_file_name(first + again, last + again, "full"))
            self._next_step = last + again + 1
        finally:
            unnamed.unlink(missing_ok=True)
            self._known.anchors[1:] = [ClockAnchor.now()]
            self._known.overhead["export_ms"] = self._files.export_ns / 1e6

    def _open(self) -> Path:
        here = self._known.identity = self._known.identity or identity.from_environment() or identity.Identity(0, 1)
        run = replace(self._records.run(self._known, self._run_id(here)), level=None)
        name = f"{run.name}-n{run.world_size}-{identity.short(run.run_id or '')}"
        folder = claim_rank_folder(self._root, name, rank=here.rank, number=1)
        self._folder.open(folder, run, replace(self._records.rank(self._known, (), finished=False), level=None))
        return folder

    def _run_id(self, here: identity.Identity) -> str:
        run_id = identity.run_id_from_environment()
        if run_id is None and here.world_size > 1:
            # Recordings count from 1 upwards: below 0 their keys in the store never meet ours.
            number = -next(_numbers)
            run_id = self.guard.call(
                "the ranks could not agree on a run id", lambda: identity.run_id_from_store(here.rank, number), None
            )
        return run_id or identity.new_run_id()

    def _look(self) -> None:
        """See what can be seen of the job: its ranks at every trace, what it trains once."""
        known = self._known
        with self.guard.on("the process groups are not known"):
            known.identity = identity.from_process_group() or known.identity
            if identity.from_process_group() is not None:
                import torch.distributed as dist

                known.groups, known.backend = process_groups() or known.groups, str(dist.get_backend())
        if self._is_looked_at:
            return
        self._is_looked_at = True
        with self.guard.on("the strategy could not be found out"):
            here = known.identity or identity.from_environment()
            seen = Seen(communicates=bool(known.groups))
            known.found = find_out(list(_optimizers()), here.world_size if here else 1, seen)

    def write_record(self) -> None:
        """Write what is known about the rank by now."""
        with self.guard.on("what is known about the rank could not be written"):
            self._folder.write_rank(
                replace(self._records.rank(self._known, self.guard.warnings, finished=True), level=None)
            )


class _Saved:
    """A profiler of the training's as something that can be saved."""

    def __init__(self, profiler: Any) -> None:
        self._profiler = profiler

    def save(self, path: str) -> None:
        """Write its trace."""
        self._profiler.export_chrome_trace(path)


def _steps_in(trace: Path) -> Iterator[int]:
    """The numbers of the steps that a trace marks; their names are read, because when the profiler stops, its own count may be one ahead."""
    rest = b""
    with trace.open("rb") as file:
        while block := file.read(_BLOCK):
            text = rest + block
            yield from map(int, set(_STEP.findall(text)))
            rest = text[-_LONGEST:]


def _optimizers() -> Iterator[Any]:
    """Every optimizer that lives."""
    from torch.optim import Optimizer

    kinds: dict[type, bool] = {}
    for thing in gc.get_objects():
        kind = type(thing)
        if kind not in kinds:
            kinds[kind] = issubclass(kind, Optimizer)
        if kinds[kind] and hasattr(thing, "param_groups"):
            yield thing
