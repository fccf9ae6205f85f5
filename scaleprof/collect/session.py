"""One recording: from the start of the training function to its end, on one rank.

Everything here runs behind the guard. The order at a boundary matters: the step's end was taken before, then its line is written, windows are
closed or opened, files written; only then the next step begins, so that none of this is part of a step.
"""

import functools
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scaleprof.clock import ClockAnchor
from scaleprof.collect import identity
from scaleprof.collect.about import Known, Records
from scaleprof.collect.counters import RunQueue, StepCounters
from scaleprof.collect.flight import FlightRecorder
from scaleprof.collect.folder import RankFolder, claim_rank_folder
from scaleprof.collect.guard import Guard
from scaleprof.collect.inputs import InputPoints
from scaleprof.collect.job import find_out, process_groups, watch_autocast
from scaleprof.collect.kineto import OpenWindow, Profiler
from scaleprof.collect.options import Options
from scaleprof.collect.patching import Patches
from scaleprof.collect.rolling import RollingWindows
from scaleprof.collect.sampler import Sampler
from scaleprof.collect.steps import OptimizerHooks
from scaleprof.collect.waits import WaitPoints
from scaleprof.run import (
    COLLECTIVES_FILE,
    SAMPLES_FILE,
    STEPS_FILE,
    WAITS_FILE,
    trace_file_name,
)

LOOK_AT_STEP = 2  # the job is looked at after this many steps: by then optimizers and wrappers exist
FLUSH_S = 5.0
PATIENCE = 3  # times that a folder which cannot be made is tried
CONSTANT = 0.8
"""Share of the steps that must have taken as many samples as one another for that to be called the batch."""


class Session:
    """Records one call of a training function (or one `with` block)."""

    def __init__(self, options: Options, number: int, guard: Guard) -> None:
        self.options = options
        self.guard = guard
        self.pid, self.thread = os.getpid(), threading.get_ident()
        self.manual = False
        self.step_number = 0
        self.active = False
        self.overslept_ns = 0
        """By how much emulated compute has lasted longer than asked for, so far."""
        self.known = Known()
        self._number = number
        self._root = Path(options.folder).absolute()  # the training may change its working directory
        self._folder = RankFolder()
        self._records = Records(options)
        self._patches = Patches()
        self._counters = StepCounters(RunQueue())
        self._flight = FlightRecorder()
        self.windows = RollingWindows(options, guard, self._save_window)
        self.inputs = InputPoints(self._counters, guard, self.in_job)
        self._optimizers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._autocast: set[str] = set()
        self._hooks: OptimizerHooks | None = None
        self._sampler: Sampler | None = None
        self._perturbed = True  # the first step holds the start of the recording
        self._samples: Counter[float] = Counter()
        self._issued_before = 0
        self._failures = 0
        self._run_id: str | None = None
        self._flushed_s = time.monotonic()
        self._start_ns = self._first_start_ns = 0

    # ---- the life of a recording

    def start(self) -> None:
        """Install everything; from here on the training function runs."""
        self.active = True
        with self.guard.on("the recording could not be started"):
            self._install()
        self._open_folder()
        self._begin_step()

    def finish(self, error: BaseException | None) -> None:
        """Take everything out again and write what is left; safe to call twice and in a forked child."""
        if not self.active or os.getpid() != self.pid:
            return
        self.active = False
        with self.guard.on("the last profiler window was lost"):
            self.windows.close(self.step_number)
        with self.guard.on("not everything could be put back as it was"):
            self._uninstall()
        with self.guard.on("how the training ended is not known"):
            if error is not None and not isinstance(error, GeneratorExit):
                self.known.exception = type(error).__name__
                self.known.exception = f"{type(error).__name__}: {error}"[:300]
        self.known.anchors.append(ClockAnchor.now())
        self._remember_group()
        self._read_flight_recorder()
        self._open_folder(last_chance=True)
        with self.guard.on("the end of the streams could not be written"):
            self._folder.flush()
        self._write_rank(finished=True)
        self._counters.runq.close()

    def _install(self) -> None:
        import torch

        distributed = torch.distributed.is_available()
        patches = self._patches
        self.known.capabilities |= {"run_queue": self._counters.runq.available}
        self._part("profiler", Profiler.available)
        self._part("flight_recorder", FlightRecorder.available)
        self._part("steps", self._hook_optimizers)
        self._part("wait_points", lambda: WaitPoints(self, self.guard).install(patches))
        self._part("inputs", lambda: self.inputs.install(patches))
        self._part("autocast", lambda: watch_autocast(patches, self.in_job, self._autocast))
        self._part("other_profilers", lambda: self.windows.install(patches, self.in_job, self._cut_window))
        if distributed:
            self._part(
                "destroy", lambda: patches.wrap(torch.distributed, "destroy_process_group", self._around_destroy)
            )
        if self.known.capabilities["wait_points"]:
            self._counters.seen("wait", "n_wait", "runq_wait")
        if not self.known.capabilities["other_profilers"]:
            self.known.capabilities["profiler"] = False  # not without the means to make room for the user's own
        if self.options.sample_hz:
            self._sampler = Sampler(self.options.sample_hz, self._on_sample, self.guard)
            self._sampler.start()

    def _part(self, name: str, install: Callable[[], bool | None]) -> None:
        """Install one part, and keep whether that worked: what this torch lacks must not cost the other parts."""
        failed: bool | None = False
        answer = self.guard.call(f"{name.replace('_', ' ')} cannot be recorded here", install, failed)
        self.known.capabilities[name] = answer is not False

    def _hook_optimizers(self) -> None:
        self._hooks = OptimizerHooks(self._on_optimizer)

    def _uninstall(self) -> None:
        if self._sampler is not None:
            self._sampler.stop()
        if self._hooks is not None:
            self._hooks.remove()
        self._patches.undo()

    # ---- steps

    def in_job(self) -> bool:
        """Whether this is the recorded thread of the recorded process, and the recording runs: wrappers may outlive it, in a forked child too."""
        return self.active and threading.get_ident() == self.thread and os.getpid() == self.pid

    def boundary(self, end_ns: int, samples: float | None = None) -> None:
        """A step has ended at `end_ns`: write its line, do what belongs between steps, begin the next."""
        with self.guard.on("a step could not be written"):
            self._write_line(end_ns, samples)
        self.step_number += 1
        self._between_steps()
        self._begin_step()

    def mark_step(self, samples: float | None) -> None:
        """A boundary that the user states: from the first one on, optimizers end no step."""
        now = time.perf_counter_ns()
        if self.in_job():
            self.state_steps()
            self.boundary(now, samples)

    def state_steps(self) -> None:
        """The user says what a step is: the steps guessed before are taken back, and the first one reaches back to the start."""
        if self.manual or not self.in_job():
            return
        self.manual = True
        if self.step_number:
            with self.guard.on("the steps guessed before the first explicit one could not be taken back"):
                self.windows.drop()
                self._folder.discard(STEPS_FILE)
            self.step_number = 0
            self._start_ns = self._first_start_ns
            self._counters.begin_step_at_first()
            self._perturbed = True

    def _begin_step(self) -> None:
        self._counters.begin_step()
        self._start_ns = time.perf_counter_ns()
        self._first_start_ns = self._first_start_ns or self._start_ns

    def _write_line(self, end_ns: int, samples: float | None) -> None:
        line: dict[str, Any] = {"i": self.step_number, "t0": self._start_ns, "t1": end_ns, **self._counters.line()}
        stated = samples if samples is not None else self.options.samples_per_step
        if stated is not None:
            line["samples"] = stated
        if "samples" in line:
            self._samples[line["samples"]] += 1
        line["profiled"] = self.windows.is_open
        line["perturbed"] = self._perturbed
        self._perturbed = False
        self._folder.line(STEPS_FILE, line)
        self._folder.flush(STEPS_FILE)

    def _between_steps(self) -> None:
        self._open_folder()
        if self.step_number == LOOK_AT_STEP - 1:
            self._issued_before = self.guard.call("collectives are not counted", self._flight.issued, 0)
        if self.step_number == LOOK_AT_STEP:
            self._look_at_job()
        with self.guard.on("the flight recorder could not be read in time"):
            if self.known.capabilities.get("flight_recorder") and self._flight.is_due():
                self._read_flight_recorder()
        with self.guard.on("a profiler window could not be opened, closed or saved"):
            if self.known.capabilities.get("profiler") and self.windows.turn(self.step_number):
                self._perturbed = True
        if time.monotonic() - self._flushed_s > FLUSH_S:
            self._flushed_s = time.monotonic()
            with self.guard.on("a part of the streams could not be written"):
                self._folder.flush()

    def _look_at_job(self) -> None:
        began = time.perf_counter_ns()
        self._remember_group()
        with self.guard.on("the strategy could not be found out"):
            here = self._here()
            communicates = self._flight.issued() > self._issued_before
            known = self.known
            known.found = find_out(
                list(self._optimizers), here.world_size if here else 1, self._autocast, communicates=communicates
            )
            if known.found.unknown and not self.options.strategy:
                self.guard.warn("the strategy is not described in this version", known.found.unknown)
            if self._sampler is not None and known.found.device == "cuda":
                import torch

                known.capabilities["nvml"] = self._sampler.watch_gpu(torch.cuda.current_device())
        self._write_rank(finished=False)
        self.known.overhead["detect_ms"] = (time.perf_counter_ns() - began) / 1e6

    # ---- profiler windows

    def _save_window(self, window: OpenWindow, last_step: int, result: Any) -> None:
        self._read_flight_recorder()
        if self._folder.path is None:
            return
        redaction = self._records.redaction
        path = self._folder.path / trace_file_name(window.first_step, last_step, window.level)
        self.windows.profiler.export(result, path, redaction.trace_file if redaction else None)

    def _cut_window(self) -> None:
        self._perturbed = True
        self.windows.close(self.step_number)
        self.guard.warn("a window was cut short", "the training started a profiler of its own")

    # ---- what torch calls

    def span(self, name: str) -> Any | None:
        """A span for the trace, None while no window is open."""
        if not self.windows.is_open:
            return None
        import torch

        return torch.profiler.record_function(name)

    def runq_ns(self) -> int:
        """Core waiting of the training thread so far."""
        return self._counters.runq.ns()

    def excuse_runq(self, waited_ns: int) -> None:
        """Core waiting that was no loss: the thread had asked to sleep."""
        self._counters.runq_wait_ns += waited_ns

    def on_wait(self, start_ns: int, took_ns: int, runq_ns: int, what: str) -> None:
        """The training thread was blocked in communication."""
        self._counters.wait_ns += took_ns
        self._counters.waits += 1
        self._counters.runq_wait_ns += runq_ns
        self._folder.line(WAITS_FILE, {"t": start_ns, "d": took_ns, "what": what, "i": self.step_number})

    def on_backward(self, took_ns: int) -> None:
        """A backward pass has ended."""
        self._counters.seen("bwd")
        self._counters.backward_ns += took_ns

    def _on_optimizer(self, optimizer: Any, took_ns: int, ends_step: bool) -> None:
        now = time.perf_counter_ns()
        if not self.in_job():
            return
        self._counters.seen("opt")
        self._optimizers.add(optimizer)
        self._counters.optimizer_ns += took_ns
        if ends_step and not self.manual:
            self.boundary(now)

    def _on_sample(self, time_ns: int, counters: Mapping[str, float]) -> None:
        self._folder.line(SAMPLES_FILE, {"t": time_ns, **counters})

    def _around_destroy(self, original: Any) -> Any:
        @functools.wraps(original)
        def destroy_process_group(*arguments: Any, **keywords: Any) -> Any:
            if self.active and os.getpid() == self.pid:
                self._remember_group()
                self._read_flight_recorder()
                self._open_folder()
            return original(*arguments, **keywords)

        return destroy_process_group

    # ---- who we are, and what is written about it

    def _here(self) -> identity.Identity | None:
        """Rank and world size. The process group knows best: a launcher may have started one process that spawned the ranks."""
        if self.known.identity is None:
            self.known.identity = identity.from_process_group() or identity.from_environment()
        return self.known.identity

    def _remember_group(self) -> None:
        with self.guard.on("the process groups could not be remembered"):
            if identity.from_process_group() is None:
                return
            import torch.distributed as dist

            self._here()
            self.known.groups = process_groups() or self.known.groups
            self.known.backend = str(dist.get_backend())

    def _read_flight_recorder(self) -> None:
        if not self.known.capabilities.get("flight_recorder") or identity.from_process_group() is None:
            return
        began = time.perf_counter_ns()
        with self.guard.on("collectives are missing"):
            for entry in self._flight.new_entries():
                self._folder.line(COLLECTIVES_FILE, entry)
        cost = self.known.overhead.get("flight_recorder_ms", 0.0)
        self.known.overhead["flight_recorder_ms"] = cost + (time.perf_counter_ns() - began) / 1e6

    def _open_folder(self, *, last_chance: bool = False) -> None:
        """Make the folder as soon as the rank is known: at once where a launcher says so, else at the first boundary."""
        if self._folder.path is not None or self._failures >= PATIENCE or not (last_chance or self._is_known()):
            return
        self._failures += 1
        with self.guard.on(f"the recording could not be written to {self._root}"):
            here = self._here()
            if here is None:
                here = self.known.identity = identity.Identity(0, 1)
            self._run_id = self._run_id or self._agree_on_run_id(here)
            run = self._records.run(self.known, self._run_id)
            name = f"{run.name}-n{run.world_size}-{identity.short(self._run_id)}"
            path = claim_rank_folder(self._root, name, rank=here.rank, number=self._number)
            self._folder.open(path, run, self._records.rank(self.known, self.guard.warnings, finished=False))

    def _is_known(self) -> bool:
        """Whether rank and world size are settled: a launcher that says 1 may have started one process that will spawn the ranks."""
        if self.step_number or identity.from_process_group() is not None:
            return True
        stated = identity.from_environment()
        return stated is not None and stated.world_size > 1

    def _agree_on_run_id(self, here: identity.Identity) -> str:
        run_id = identity.run_id_from_environment()
        if run_id is None and here.world_size > 1:
            ask = functools.partial(identity.run_id_from_store, here.rank, self._number)
            return self.guard.call("the ranks could not agree on a run id", ask, "") or identity.new_run_id()
        return run_id or identity.new_run_id()

    def _write_rank(self, *, finished: bool) -> None:
        with self.guard.on("what is known about the rank could not be written"):
            profiler = self.windows.profiler
            costs = {"profiler_stop_ms": profiler.stop_ns / 1e6, "export_ms": profiler.export_ns / 1e6}
            if self._sampler is not None:
                costs["sampler_ms"] = self._sampler.cpu_ns / 1e6
            self.known.overhead |= costs
            self.known.local_batch = self._constant_batch()
            self._folder.write_rank(self._records.rank(self.known, self.guard.warnings, finished=finished))

    def _constant_batch(self) -> float | None:
        if not self._samples:
            return self.options.samples_per_step
        samples, count = self._samples.most_common(1)[0]
        return samples if count >= CONSTANT * self._samples.total() else None
