"""One recording of a TensorFlow job on one rank: its steps, what is trained, and windows of TensorFlow's own profiler.

A step begins where the one before it has ended, once the recorder is done with that, so that loading the next batch is part of it. Everything here
runs behind the guard: what fails is missing from the recording, with a warning.
"""

import atexit
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaleprof.clock import ClockAnchor
from scaleprof.collect.guard import Guard, in_words
from scaleprof.collect.options import Options
from scaleprof.collect.tensorflow.job import (
    found_in,
    identity_from_tf_config,
    run_id_from_tf_config,
    trains_nothing,
    versions,
)
from scaleprof.collect.tensorflow.profiler import Profiler
from scaleprof.collect.watching.counters import RunQueue, StepCounters
from scaleprof.collect.written import identity
from scaleprof.collect.written.about import Known, Records
from scaleprof.collect.written.folder import RankFolder, claim_rank_folder
from scaleprof.run import STEPS_FILE, RankInfo

Trained = Callable[[], Iterable[Any]]
LOOK_AFTER_STEPS = 1
"""By then the model is built and its variables exist."""


class _Process:
    """How many recordings this process had."""

    recorded = 0


class TensorflowSession:
    """Records from `start` to `finish`; a step lasts from one boundary to the next."""

    def __init__(self, options: Options, guard: Guard, trained: Trained, model: Callable[[], str | None]) -> None:
        self.guard = guard
        self.active = False
        self.details: dict[str, Any] = {}
        """What else is known about the job."""
        self._options = options
        self._trained, self._model = trained, model
        self._root = Path(options.folder).absolute()  # the training may change its working directory
        self._known = Known()
        self._known.framework = "tensorflow"
        self._records = Records(options)
        self._folder = RankFolder()
        self._profiler = Profiler()
        self._counters = StepCounters(RunQueue())
        self._samples: Counter[float] = Counter()
        self._pid = os.getpid()
        self._step = 0
        self._start_ns: int | None = None
        self._last_step: int | None = None
        """The last one of the window that is open."""

    # ---- the life of a recording

    def start(self) -> None:
        """Make the rank's folder; from here on steps are recorded."""
        if trains_nothing():
            return
        with self.guard.on(f"nothing is recorded: the recording could not be written to {self._root}"):
            _Process.recorded += 1
            known = self._known
            known.identity = identity_from_tf_config() or identity.from_environment() or identity.Identity(0, 1)
            run_id = self._run_id()
            run = self._records.run(known, run_id)
            name = f"{run.name}-n{run.world_size}-{identity.short(run_id)}"
            path = claim_rank_folder(self._root, name, rank=known.identity.rank, number=_Process.recorded)
            self._folder.open(path, run, self._record(finished=False))
            self.active = True
            atexit.register(self.finish, None)
            self._open_window()
            self.resume()

    def finish(self, error: BaseException | None) -> None:
        """Write what is left; safe to call twice and in a forked child."""
        if not self.active or os.getpid() != self._pid:
            return
        self.active = False
        with self.guard.on("the end of the recording is not known"):
            atexit.unregister(self.finish)
        if error is not None and not isinstance(error, GeneratorExit):
            self._known.exception = in_words(error)
        self._close_window(self._step - 1)
        self._look()
        with self.guard.on("the clock was not read at the end"):
            self._known.anchors.append(ClockAnchor.now())
        with self.guard.on("the end of the streams could not be written"):
            self._folder.flush()
        self._write_record(finished=True)
        self._counters.runq.close()

    # ---- steps

    def resume(self) -> None:
        """Training goes on: the next step begins now."""
        self._start_ns = None
        if self._is_ours():
            with self.guard.on("the begin of a step is not known"):
                self._counters.begin_step()
                self._start_ns = time.perf_counter_ns()

    def pause(self) -> None:
        """What comes now is no training."""
        self._start_ns = None

    def step_begins(self) -> None:
        """The training's own work of a step begins; it is marked in the profile."""
        if not self._is_ours():
            return
        if self._start_ns is None:
            self.resume()
        if self._profiler.is_open:
            with self.guard.on("a step is not marked in the profile"):
                self._profiler.mark(self._step)

    def step_ends(self, samples: float | None, *, steps: int = 1) -> None:
        """A step has ended, in which this rank took so many samples; `steps` of them were run as one."""
        end_ns = time.perf_counter_ns()
        if not self._is_ours() or self._start_ns is None:
            return
        with self.guard.on("a step is not marked in the profile"):
            self._profiler.unmark()
        with self.guard.on("a step is missing"):
            self._write_step(self._start_ns, end_ns, samples, steps)
        if self._last_step is not None and self._step >= self._last_step:
            self._close_window(self._step)
        self._step += 1
        if self._step == LOOK_AFTER_STEPS:
            self._look()
            self._write_record(finished=False)
        self._open_window()
        self.resume()

    def _write_step(self, start_ns: int, end_ns: int, samples: float | None, steps: int) -> None:
        if samples is None and self._options.samples_per_step is not None:
            samples = self._options.samples_per_step * steps
        line = {
            "i": self._step,
            "t0": start_ns,
            "t1": end_ns,
            **self._counters.line(),
            "profiled": self._profiler.is_open,
            "perturbed": self._step == 0,  # the first one compiles
        }
        if samples is not None:
            line["samples"] = samples
            if len(self._samples) < 1000:  # different sizes: there is no constant one
                self._samples[samples] += 1
        self._folder.line(STEPS_FILE, line)
        self._folder.flush()

    # ---- windows of the profiler

    def _open_window(self) -> None:
        windows = self._options.windows
        folder = self._folder.path
        if self._options.level == "light" or folder is None or self._profiler.is_open:
            return
        if windows.opens_at(self._step):
            with self.guard.on("a window of the profiler is missing"):
                self._profiler.start(folder, self._step)
                self._last_step = self._step + windows.steps - 1

    def _close_window(self, last_step: int) -> None:
        """Close the window if one is open; of one without a whole step nothing is kept."""
        self._last_step = None
        redaction = self._records.redaction
        with self.guard.on("a window of the profiler was lost"):
            self._profiler.unmark()
            self._profiler.stop(last_step, redaction.binary_file if redaction else None)
        self._known.overhead |= {
            "profiler_start_ms": self._profiler.start_ns / 1e6,
            "profiler_stop_ms": self._profiler.stop_ns / 1e6,
        }

    # ---- what is known

    def _run_id(self) -> str:
        found = identity.run_id_from_environment() or run_id_from_tf_config()
        if found is None and self._known.identity is not None and self._known.identity.world_size > 1:
            self.guard.warn(
                "each rank is a run of its own", "nothing that all of them know names the job: set SCALEPROF_RUN_ID"
            )
        return found or identity.new_run_id()

    def _look(self) -> None:
        with self.guard.on("what is trained is not known"):
            found = found_in(self._trained(), model=self._model(), strategy=self._options.strategy)
            self._known.found = replace(found, details={**found.details, **self.details})

    def _write_record(self, *, finished: bool) -> None:
        with self.guard.on("what is known about the rank could not be written"):
            sizes = self._samples.most_common(2)
            self._known.local_batch = sizes[0][0] if len(sizes) == 1 else self._options.samples_per_step
            self._folder.write_rank(self._record(finished=finished))

    def _record(self, *, finished: bool) -> RankInfo:
        found = self._known.found
        plain = replace(
            found, device=found.device if found.device == "cpu" else None
        )  # torch is asked for the name of others
        self._known.found = plain
        record = self._records.rank(self._known, self.guard.warnings, finished=finished)
        self._known.found = found
        return replace(record, device=found.device, versions={**record.versions, **versions()})

    def _is_ours(self) -> bool:
        return self.active and os.getpid() == self._pid
