"""One recording: from the start of the training function to its end, on one rank.

Everything here runs behind the guard. The order at a boundary matters: the step's end was taken before, then its line is written, windows are
closed or opened, files written; only then the next step begins, so that none of this is part of a step.
"""

import dataclasses
import functools
import os
import platform
import socket
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaleprof.clock import ClockAnchor
from scaleprof.collect import identity
from scaleprof.collect.counters import RunQueue, StepCounters
from scaleprof.collect.flight import FlightRecorder
from scaleprof.collect.folder import RankFolder, unique_run_folder
from scaleprof.collect.guard import Guard
from scaleprof.collect.inputs import InputPoints
from scaleprof.collect.job import Found, find_out, process_groups
from scaleprof.collect.kineto import Profiler, redacted
from scaleprof.collect.options import Options
from scaleprof.collect.patching import Patches
from scaleprof.collect.sampler import Sampler
from scaleprof.collect.steps import OptimizerHooks
from scaleprof.collect.waits import WaitPoints
from scaleprof.run import (
    COLLECTIVES_FILE,
    SAMPLES_FILE,
    STEPS_FILE,
    WAITS_FILE,
    Emulated,
    ProcessGroup,
    RankInfo,
    RunInfo,
    trace_file_name,
)

WINDOW_STEPS = 50  # steps in a window of annotations
LOOK_AT_STEP = 2  # the job is looked at after this many steps: by then optimizers and wrappers exist
FLUSH_S = 5.0


class Session:
    """Records one call of a training function (or one `with` block)."""

    def __init__(self, options: Options, number: int, guard: Guard) -> None:
        self.options = options
        self.guard = guard
        self.pid, self.thread = os.getpid(), threading.get_ident()
        self.manual = False
        self.step_number = 0
        self.active = False
        self.emulated: Emulated | None = None
        self.overslept_ns = 0
        """By how much emulated compute has lasted longer than asked for, so far."""
        self._number = number
        self._folder = RankFolder()
        self._patches = Patches()
        self._profiler = Profiler()
        self._flight = FlightRecorder()
        self._counters = StepCounters(RunQueue())
        self._anchors = [ClockAnchor.now()]
        self._identity: identity.Identity | None = None
        self._groups: tuple[ProcessGroup, ...] = ()
        self._found = Found()
        self._optimizers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._capabilities: dict[str, bool] = {}
        self.inputs = InputPoints(self._counters)
        self._costs = {"flight_recorder_ms": 0.0, "detect_ms": 0.0}
        self._hooks: OptimizerHooks | None = None
        self._sampler: Sampler | None = None
        self._perturbed = True  # the first step holds the start of the recording
        self._samples: float | None = None
        self._last_batch: float | None = None
        self._backend: str | None = None
        self._flushed_s = time.monotonic()
        self._start_ns = self._first_start_ns = 0

    # ---- the life of a recording

    def start(self) -> None:
        """Install everything; from here on the training function runs."""
        with self.guard.on("the recording could not be started"):
            self._install()
        self.active = True
        with self.guard.on("the folder for the recording could not be made"):
            self._open_folder(last_chance=False)
        self._begin_step()

    def finish(self, error: BaseException | None) -> None:
        """Take everything out again and write what is left; safe to call twice and in a forked child."""
        if not self.active or os.getpid() != self.pid:
            return
        self.active = False
        with self.guard.on("the last profiler window was lost"):
            self._close_window()
        with self.guard.on("not everything could be put back as it was"):
            self._uninstall()
        with self.guard.on("the end of the recording could not be written"):
            self._remember_group()
            self._read_flight_recorder()
            self._anchors.append(ClockAnchor.now())
            self._open_folder(last_chance=True)
            self._folder.flush()
            ended = (
                None if error is None or isinstance(error, GeneratorExit) else f"{type(error).__name__}: {error}"[:300]
            )
            self._folder.write_rank(dataclasses.replace(self._rank_info(), exception=self._shown(ended), finished=True))
        self._counters.runq.close()

    def _install(self) -> None:
        import torch

        self._capabilities = {
            "profiler": Profiler.available(),
            "flight_recorder": FlightRecorder.available(),
            "run_queue": self._counters.runq.available,
            "wait_points": torch.distributed.is_available(),
        }
        self._hooks = OptimizerHooks(self._on_optimizer)
        WaitPoints(self._counters.runq.ns, self._on_wait, self._on_backward, self._span).install(self._patches)
        self.inputs.install(self._patches)
        if torch.distributed.is_available():
            self._patches.wrap(torch.distributed, "destroy_process_group", self._around_destroy)
        self._patches.wrap(torch.autograd.profiler.profile, "_prepare_trace", self._around_users_profiler)
        if self.options.sample_hz:
            here = self._current_identity()
            device = ((here.local_rank if here else None) or 0) if torch.cuda.is_available() else None
            self._sampler = Sampler(self.options.sample_hz, self._on_sample, device)
            self._sampler.start()

    def _uninstall(self) -> None:
        if self._sampler is not None:
            self._sampler.stop()
        if self._hooks is not None:
            self._hooks.remove()
        self._patches.undo()

    # ---- steps

    def boundary(self, end_ns: int, samples: float | None = None) -> None:
        """A step has ended at `end_ns`: write its line, do what belongs between steps, begin the next."""
        if not self.active or os.getpid() != self.pid or threading.get_ident() != self.thread:
            return
        with self.guard.on("a step could not be written"):
            self._write_line(end_ns, samples)
        self.step_number += 1
        with self.guard.on("work between two steps failed"):
            self._between_steps()
        self._begin_step()

    def mark_step(self, samples: float | None) -> None:
        """A boundary that the user states: from the first one on, optimizers end no step."""
        now = time.perf_counter_ns()
        if not self.manual:
            self.manual = True
            with self.guard.on("the steps guessed before the first explicit one could not be taken back"):
                self._forget_guessed_steps()
        self.boundary(now, samples)

    def _forget_guessed_steps(self) -> None:
        """The first explicit step says what a step is: it reaches back to the start of the recording."""
        if not self.step_number:
            return
        self._close_window()
        self._folder.discard(STEPS_FILE)
        self.step_number = 0
        self._start_ns = self._first_start_ns
        self._counters.begin_step_at_first()
        self._perturbed = True

    def runq_ns(self) -> int:
        """Core waiting of the training thread so far."""
        return self._counters.runq.ns()

    def excuse_runq(self, waited_ns: int) -> None:
        """Core waiting that was no loss: the thread had asked to sleep."""
        self._counters.runq_wait_ns += waited_ns

    def _begin_step(self) -> None:
        self._counters.begin_step()
        self._start_ns = time.perf_counter_ns()
        self._first_start_ns = self._first_start_ns or self._start_ns

    def _write_line(self, end_ns: int, samples: float | None) -> None:
        line: dict[str, Any] = {"i": self.step_number, "t0": self._start_ns, "t1": end_ns, **self._counters.line()}
        stated = samples if samples is not None else self.options.samples_per_step
        if stated is not None:
            line["samples"] = stated
        self._samples = line.get("samples", self._samples)
        line["profiled"] = self._profiler.window is not None
        line["perturbed"] = self._perturbed
        self._perturbed = False
        self._folder.line(STEPS_FILE, line)
        self._folder.flush(STEPS_FILE)

    def _between_steps(self) -> None:
        self._open_folder(last_chance=False)
        if self.step_number == LOOK_AT_STEP:
            self._look_at_job()
        if self._capabilities.get("flight_recorder") and self._flight.is_due():
            self._read_flight_recorder()
        self._turn_windows()
        if time.monotonic() - self._flushed_s > FLUSH_S:
            self._flushed_s = time.monotonic()
            self._folder.flush()

    def _look_at_job(self) -> None:
        began = time.perf_counter_ns()
        self._remember_group()
        here = self._current_identity()
        communicates = bool(self._groups) and self._counters.waits > 0
        with self.guard.on("the strategy could not be found out"):
            self._found = find_out(list(self._optimizers), here.world_size if here else 1, communicates=communicates)
            if self._found.unknown:
                self.guard.warn("the strategy is not described in this version", self._found.unknown)
        self._folder.write_rank(dataclasses.replace(self._rank_info(), finished=False))
        self._costs["detect_ms"] = (time.perf_counter_ns() - began) / 1e6

    # ---- profiler windows

    def _turn_windows(self) -> None:
        """Close the window that is full and open the one that is due."""
        options, window = self.options, self._profiler.window
        if options.level == "light" or not self._capabilities.get("profiler"):
            return
        due_full = options.level == "full" and options.windows.opens_at(self.step_number)
        if window is not None:
            most = options.windows.steps if window.level == "full" else WINDOW_STEPS
            if self.step_number - window.first_step < most and not due_full:
                return
            self._close_window()
        if self.step_number < options.windows.skip:
            return
        if self._profiler.others_active():
            self.guard.warn("a window was skipped", "another profiler is active")
            return
        self._profiler.start(self.step_number, "full" if due_full else "timeline")
        self._perturbed = True

    def _close_window(self) -> None:
        window = self._profiler.window
        if window is None:
            return
        self._perturbed = True
        result = self._profiler.stop()
        self._read_flight_recorder()
        if result is None:
            self.guard.warn("a window was lost", "another profiler was started in it")
        elif self.step_number > window.first_step and self._folder.path is not None:
            name = trace_file_name(window.first_step, self.step_number - 1, window.level)
            self._profiler.export(result, self._folder.path / name, redact=self.options.redact)

    def _span(self, name: str) -> Any | None:
        if self._profiler.window is None:
            return None
        import torch

        return torch.profiler.record_function(name)

    # ---- what torch calls

    def _on_optimizer(self, optimizer: Any, took_ns: int, ends_step: bool) -> None:
        self._optimizers.add(optimizer)
        self._counters.optimizer_ns += took_ns
        if ends_step and not self.manual:
            self.boundary(time.perf_counter_ns())

    def _on_wait(self, start_ns: int, took_ns: int, runq_ns: int, what: str) -> None:
        self._counters.wait_ns += took_ns
        self._counters.waits += 1
        self._counters.runq_wait_ns += runq_ns
        self._folder.line(WAITS_FILE, {"t": start_ns, "d": took_ns, "what": what, "i": self.step_number})

    def _on_backward(self, took_ns: int) -> None:
        self._counters.backward_ns += took_ns

    def _on_sample(self, time_ns: int, counters: Mapping[str, float]) -> None:
        self._folder.line(SAMPLES_FILE, {"t": time_ns, **counters})

    def _around_destroy(self, original: Any) -> Any:
        def destroy_process_group(*arguments: Any, **keywords: Any) -> Any:
            if os.getpid() == self.pid:
                with self.guard.on("the process groups could not be remembered before they were destroyed"):
                    self._remember_group()
                    self._read_flight_recorder()
                    self._open_folder(last_chance=False)
            return original(*arguments, **keywords)

        return functools.update_wrapper(destroy_process_group, original)

    def _around_users_profiler(self, original: Any) -> Any:
        def prepare_trace(*arguments: Any, **keywords: Any) -> Any:
            if self._profiler.window is not None and os.getpid() == self.pid:
                with self.guard.on("a window was lost to another profiler"):
                    self._close_window()
                    self.guard.warn("a window was cut short", "the training started a profiler of its own")
            return original(*arguments, **keywords)

        return functools.update_wrapper(prepare_trace, original)

    # ---- who we are, and what is written about it

    def _current_identity(self) -> identity.Identity | None:
        if self._identity is None:
            self._identity = identity.from_environment() or identity.from_process_group()
        return self._identity

    def _remember_group(self) -> None:
        import torch.distributed as dist

        self._current_identity()
        if dist.is_available() and dist.is_initialized():
            self._groups = process_groups() or self._groups
            self._backend = str(dist.get_backend())

    def _read_flight_recorder(self) -> None:
        if not self._capabilities.get("flight_recorder") or not self._group_is_up():
            return
        began = time.perf_counter_ns()
        for entry in self._flight.new_entries():
            self._folder.line(COLLECTIVES_FILE, entry)
        self._costs["flight_recorder_ms"] += (time.perf_counter_ns() - began) / 1e6

    @staticmethod
    def _group_is_up() -> bool:
        import torch.distributed as dist

        return dist.is_available() and dist.is_initialized()

    def _open_folder(self, *, last_chance: bool) -> None:
        """Make the folder as soon as the rank is known; at the end an unknown rank is rank 0 of 1."""
        if self._folder.path is not None:
            return
        here = self._current_identity()
        if here is None:
            if not last_chance and self.step_number == 0:
                return
            here = self._identity = identity.Identity(0, 1)
        run_id = identity.run_id_from_environment()
        if run_id is None and here.world_size > 1 and self._group_is_up():
            run_id = self.guard.call("no common run id was found", lambda: identity.run_id_from_store(here.rank), None)
        elif run_id is None and here.world_size > 1 and not last_chance:
            return
        run = self._run_info(here, run_id or identity.new_run_id())
        name = f"{run.name}-n{here.world_size}-{identity.short(run.run_id or '')}"
        self._folder.open(unique_run_folder(Path(self.options.folder), name, self._number), run, self._rank_info())

    def _run_info(self, here: identity.Identity, run_id: str) -> RunInfo:
        return RunInfo(
            name=self.options.name or identity.script_name(),
            world_size=here.world_size,
            series=os.environ.get("SCALEPROF_SERIES") or None,
            repeat=int(os.environ.get("SCALEPROF_REPEAT", "0") or 0),
            run_id=run_id,
            started_at=self._anchors[0].real_before_ns / 1e9,
            tags=dict(self.options.tags),
            level=self.options.level,
            strategy=self.options.strategy,
            flops_per_step=self.options.flops_per_step,
        )

    def _rank_info(self) -> RankInfo:
        import torch

        here = self._current_identity() or identity.Identity(0, 1)
        on_gpu = torch.cuda.is_available()
        redact = self.options.redact
        return RankInfo(
            rank=here.rank,
            world_size=here.world_size,
            host=identity.short(socket.gethostname()) if redact else socket.gethostname(),
            pid=self.pid,
            local_rank=here.local_rank,
            device="cuda" if on_gpu else "cpu",
            device_name=torch.cuda.get_device_name(torch.cuda.current_device())
            if on_gpu
            else platform.processor() or platform.machine(),
            backend=self._backend,
            framework="pytorch",
            level=self.options.level,
            strategy=self.options.strategy or self._found.strategy,
            model=self._found.model,
            precision=self._found.precision,
            parameters=self._found.parameters,
            local_batch=self._samples,
            flops_per_step=self.options.flops_per_step,
            process_groups=self._groups,
            anchors=tuple(self._anchors),
            details=self._found.details,
            versions={"torch": torch.__version__, "python": platform.python_version()},
            capabilities=self._capabilities,
            overhead=self._overhead(),
            warnings=tuple(self._shown(warning) or "" for warning in self.guard.warnings),
            emulated=self.emulated,
        )

    def _overhead(self) -> dict[str, float]:
        costs = dict(self._costs)
        costs |= {"profiler_stop_ms": self._profiler.stop_ns / 1e6, "export_ms": self._profiler.export_ns / 1e6}
        if self._sampler is not None:
            costs["sampler_ms"] = self._sampler.cpu_ns / 1e6
        return costs

    def _shown(self, text: str | None) -> str | None:
        return redacted(text) if text and self.options.redact else text
