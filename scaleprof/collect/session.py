"""One recording: from the start of the training function to its end, on one rank.

Everything here runs behind the guard. The order at a boundary matters: the step's end was taken before, then its line is written, windows are
closed or opened, files written; only then the next step begins, so that none of this is part of a step.
"""

import functools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from scaleprof.clock import ClockAnchor
from scaleprof.collect.cost import OwnCost
from scaleprof.collect.found.job import LOOK_AFTER_STEPS, Looks, Seen, find_out, watch_autocast
from scaleprof.collect.guard import Guard, in_words
from scaleprof.collect.machine.clocks import HostClocks
from scaleprof.collect.machine.sampler import Sampler
from scaleprof.collect.options import Options
from scaleprof.collect.patching import Patches
from scaleprof.collect.profiling.kineto import OpenWindow, Profiler
from scaleprof.collect.profiling.rolling import RollingWindows
from scaleprof.collect.watching.compiling import hide_from_compiler
from scaleprof.collect.watching.counters import RunQueue, StepCounters
from scaleprof.collect.watching.device import STEPS_LATER, DeviceWaits
from scaleprof.collect.watching.flight import FlightRecorder
from scaleprof.collect.watching.inputs import InputPoints
from scaleprof.collect.watching.pauses import Pauses
from scaleprof.collect.watching.peers import PointToPoint
from scaleprof.collect.watching.spans import NamedSpans
from scaleprof.collect.watching.steps import OptimizerHooks
from scaleprof.collect.watching.tasks import Tasks
from scaleprof.collect.watching.waits import WaitPoints
from scaleprof.collect.written.output import READ_S, Output
from scaleprof.run import (
    DEVICE_FILE,
    P2P_FILE,
    PAUSES_FILE,
    SAMPLES_FILE,
    STEPS_FILE,
    WAITS_FILE,
    trace_file_name,
)

LAST_STEPS_S = 0.5
"""How long the end of a recording looks whether a device gets through the last steps."""


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
        self.out = Output(options, number, guard)
        self.known = self.out.known
        self._clocks = HostClocks(self.known, number, guard)
        self._patches = Patches()
        self._counters = StepCounters(RunQueue())
        self.windows = RollingWindows(options, guard, self._save_window)
        self.inputs = InputPoints(self._counters, guard, self)
        self.tasks = Tasks(self)
        self.device = DeviceWaits()
        self._pauses = Pauses()
        self.wait_points = WaitPoints(self, guard)
        self._seen = Seen()
        self._looks = Looks()
        self._optimizers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._hooks: OptimizerHooks | None = None
        self._sampler: Sampler | None = None
        self._cost = OwnCost()
        self._is_bare = False
        self._perturbed = True  # the first step holds the start of the recording
        self._issued_before = 0
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
        if error is None and not self.step_number and self._hooks:
            self._hooks.explain_no_step(self._counters.backward_passes)
        self._uninstall()
        if error is not None and not isinstance(error, GeneratorExit):
            self.known.exception = in_words(error)
        with self.guard.on("the last steps' waits on the device and pauses are missing"):
            if error is None:
                self.device.settle(LAST_STEPS_S)
            self._write_asides(steps_later=0)
        if error is None:  # of a job that fails nobody else may come
            self._clocks.at_end()
        with self.guard.on("the clock was not read at the end"):
            self.known.anchors.append(ClockAnchor.now())
        self.out.remember_group()
        self.out.read_flight_recorder()
        self._open_folder(last_chance=True)
        with self.guard.on("the end of the streams could not be written"):
            self.out.folder.flush()
        with self.guard.on("what recording cost is not known"):
            self.known.overhead |= self._costs_ms()
        self.out.write_rank(finished=True)
        self._counters.runq.close()

    def _install(self) -> None:
        import torch

        patches = self._patches
        self._part("hidden_from_compiler", hide_from_compiler)
        self.known.capabilities |= {"run_queue": self._counters.runq.available}
        self._part("profiler", Profiler.available)
        self._part("flight_recorder", FlightRecorder.available)
        self._part("steps", self._hook_optimizers)
        self._part("wait_points", lambda: self.wait_points.install(patches))
        self._part("inputs", lambda: self.inputs.install(patches))
        self._part("pauses", self._pauses.install)
        self._part("autocast", lambda: watch_autocast(patches, self.in_job, self._seen.autocast))
        self._part("named_spans", lambda: NamedSpans(self, self.guard, self._seen).install(patches))
        self._part("other_profilers", lambda: self.windows.install(patches, self.is_ours, self._cut_window))
        if torch.distributed.is_available():
            around = self._around_destroy
            self._part("reduce_scatters", lambda: self.out.flight.install(patches, self.is_ours, self.guard))
            self._part("destroy", lambda: patches.wrap(torch.distributed, "destroy_process_group", around))
            self._part("p2p", lambda: PointToPoint(self.is_ours, self._on_p2p, self.guard).install(patches))
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
        self._hooks = OptimizerHooks(self._on_optimizer, self.guard)

    def _uninstall(self) -> None:
        stop_sampling, unhook = self._sampler and self._sampler.stop, self._hooks and self._hooks.remove
        for part in (stop_sampling, unhook, self._pauses.remove, self._patches.undo):
            with self.guard.on("not everything could be put back as it was"):
                if part:
                    part()

    # ---- steps

    def is_ours(self) -> bool:
        """Whether this is the recorded thread of the recorded process, and the recording runs: wrappers may outlive it, in a forked child too."""
        return self.active and threading.get_ident() == self.thread and os.getpid() == self.pid

    def in_job(self) -> bool:
        """The same, and this is no step in which the hooks are off to see what they cost."""
        return not self._is_bare and self.is_ours()

    def boundary(self, end_ns: int, samples: float | None = None) -> None:
        """A step has ended at `end_ns`: write its line, do what belongs between steps, begin the next."""
        with self.guard.on("how long a step took the device is not known"):
            self.device.end_step()
        with self.guard.on("a step could not be written"):
            self._write_line(end_ns, samples)
        self.step_number += 1
        with self.guard.on("what belongs between two steps was left out"):
            self._between_steps()
        self._begin_step()

    def mark_step(self, samples: float | None) -> None:
        """A boundary that the user states: from the first one on, optimizers end no step."""
        now = time.perf_counter_ns()
        if self.is_ours():
            self.state_steps()
            self.boundary(now, samples)

    def state_steps(self) -> None:
        """The user says what a step is: the steps guessed before are taken back, and the first one reaches back to the start."""
        if self.manual or not self.is_ours():
            return
        self.manual = True
        if self.step_number:
            with self.guard.on("the steps guessed before the first explicit one could not be taken back"):
                self.windows.drop()
                self.out.folder.discard(STEPS_FILE)
            self.step_number = 0
            self._cost, self._looks = OwnCost(), Looks()
            self._start_ns = self._first_start_ns
            self._counters.begin_step_at_first()
            self._perturbed = True

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """What is no training is part of no step: an evaluation, a checkpoint.

        Between two steps the next one begins behind it; a step that has begun to work is marked as perturbed instead. Either way the batches
        of an evaluation are none of the training's.
        """
        number, untouched = self.step_number, self._counters.untouched
        held = self._counters.batch_samples, self._counters.input_ns, self.inputs.batches
        try:
            yield
        finally:
            with self.guard.on("an evaluation or a checkpoint counts as a part of a step"):
                if self.is_ours() and self.step_number == number:
                    self._counters.batch_samples, self._counters.input_ns, self.inputs.batches = held
                    if untouched:
                        self._begin_step()
                    else:
                        self._perturbed = True

    def _begin_step(self) -> None:
        with self.guard.on("what adds up in a step is missing"):
            self._counters.begin_step()
        with self.guard.on("waits on the device are not measured"):
            self.device.begin_step(self.step_number)
        self._is_bare = self._next_is_bare()
        self._start_ns = time.perf_counter_ns()
        self._first_start_ns = self._first_start_ns or self._start_ns

    def _write_line(self, end_ns: int, samples: float | None) -> None:
        self.inputs.settle()
        counted = self._counters.line()
        if self.options.measure_cost:
            self._cost.add(self.step_number, end_ns - self._start_ns, counted["cpu"])
        if self._is_bare:
            counted = {name: counted[name] for name in ("cpu", "runq") if name in counted}
        line: dict[str, Any] = {"i": self.step_number, "t0": self._start_ns, "t1": end_ns, **counted}
        stated = samples if samples is not None else self.options.samples_per_step
        if stated is not None:
            line["samples"] = stated
        if "samples" in line:
            self.out.count_samples(line["samples"])
        line["profiled"] = self.windows.is_open
        line["perturbed"] = self._perturbed or self._is_bare
        self._perturbed = False
        self.out.line(STEPS_FILE, line)
        self.out.folder.flush(STEPS_FILE)

    def _between_steps(self) -> None:
        self._open_folder()
        self._perturbed |= self._clocks.at_start()
        if self._looks.is_due(self.step_number + 1):
            self._issued_before = self.guard.call("collectives are not counted", self.out.flight.issued, 0)
        if self._looks.is_due(self.step_number):
            self._look_at_job()
        self.out.read_flight_recorder_in_time()
        with self.guard.on("waits on the device or pauses are missing"):
            self._write_asides()
        with self.guard.on("a profiler window could not be opened, closed or saved"):
            if self.known.capabilities.get("profiler") and self.windows.turn(
                self.step_number, bare=self._next_is_bare()
            ):
                self._perturbed = True
        self.out.flush_in_time()

    def _next_is_bare(self) -> bool:
        return self.options.measure_cost and OwnCost.is_bare(self.step_number)

    def _look_at_job(self) -> None:
        began = time.perf_counter_ns()
        self.out.remember_group()
        with self.guard.on("the strategy could not be found out"):
            here, known = self.out.here(), self.known
            seen = self._seen
            seen.communicates = self.out.flight.issued() > self._issued_before
            seen.tasks = self.tasks.any
            seen.batch, seen.batches = self.inputs.shape, self.inputs.batches
            found = find_out(list(self._optimizers), here.world_size if here else 1, seen)
            if self._looks.looked() == 1 or found.layout.words or found.strategy != known.found.strategy:
                known.found = found
            if known.found.unknown and not self.options.strategy:
                self.guard.warn("how the ranks share the work is not fully known", known.found.unknown)
            if self._sampler is not None and known.found.device == "cuda":
                import torch

                known.capabilities["nvml"] = self._sampler.watch_gpu(torch.cuda.current_device())
        self.known.overhead |= self._costs_ms()
        self.out.write_rank(finished=False)
        self.known.overhead["detect_ms"] = (time.perf_counter_ns() - began) / 1e6

    def _open_folder(self, *, last_chance: bool = False) -> None:
        self.out.open_folder(settled=last_chance or self.step_number > 0)

    def _costs_ms(self) -> dict[str, float]:
        profiler = self.windows.profiler
        costs = {"profiler_stop_ms": profiler.stop_ns / 1e6, "export_ms": profiler.export_ns / 1e6}
        if self._sampler is not None:
            costs["sampler_ms"] = self._sampler.cpu_ns / 1e6
        return costs | self._cost.overhead()

    # ---- profiler windows

    def _save_window(self, window: OpenWindow, last_step: int, result: Any) -> None:
        if self.is_ours():
            self.out.read_flight_recorder_in_time(READ_S)
        folder, redaction = self.out.folder.path, self.out.records.redaction
        if folder is None:
            return
        path = folder / trace_file_name(window.first_step, last_step, window.level)
        self.windows.profiler.export(result, path, redaction.trace_file if redaction else None)

    def _cut_window(self) -> None:
        self._perturbed = True
        self.windows.close(self.step_number)
        self.guard.warn("a window was cut short", "the training started a profiler of its own")

    # ---- what torch calls

    def span(self, name: str) -> Any | None:
        """A span for the trace, None while no window is open."""
        if not self.windows.is_open or os.getpid() != self.pid:
            return None
        import torch

        return torch.profiler.record_function(name)

    def runq_ns(self) -> int:
        """Core waiting of the training thread so far."""
        return self._counters.runq.ns()

    def excuse_runq(self, waited_ns: int) -> None:
        """Core waiting that was no loss: the thread had asked to sleep."""
        self._counters.runq_wait_ns += waited_ns

    def on_wait(self, start_ns: int, took_ns: int, runq_ns: int, what: Mapping[str, str]) -> None:
        """The training thread was blocked in communication."""
        self._counters.wait_ns += took_ns
        self._counters.waits += 1
        self._counters.runq_wait_ns += runq_ns
        self.out.line(WAITS_FILE, {"t": start_ns, "d": took_ns, **what, "i": self.step_number})

    def on_backward(self, took_ns: int) -> None:
        """A backward pass has ended."""
        self._counters.seen("bwd", "micro")
        self._counters.backward_ns += took_ns
        self._counters.backward_passes += 1
        if self.step_number < LOOK_AFTER_STEPS:
            self._seen.count_backward(self.step_number)

    def _on_p2p(self, line: Mapping[str, Any]) -> None:
        self.out.line(P2P_FILE, {**line, "i": self.step_number})

    def _on_optimizer(self, optimizer: Any, took_ns: int, ends_step: bool) -> None:
        now = time.perf_counter_ns()
        if not self.is_ours():
            return
        self._counters.seen("opt")
        if optimizer not in self._optimizers:
            self._optimizers.add(optimizer)
            self._looks.optimizer_came(self.step_number, self.known.found)
        self._counters.optimizer_ns += took_ns
        if ends_step and not self.manual:
            self.boundary(now)

    def _on_sample(self, time_ns: int, counters: Mapping[str, float]) -> None:
        self.out.line(SAMPLES_FILE, {"t": time_ns, **counters})

    def _write_asides(self, *, steps_later: int = STEPS_LATER) -> None:
        """What the device and the interpreter have told by now."""
        for line in self._pauses.lines():
            self.out.line(PAUSES_FILE, {**line, "i": self.step_number - 1})
        for line in self.device.finished(steps_later):
            self.out.line(DEVICE_FILE, line)
        if self.device.given_up:
            self.guard.warn("times of the device are missing", f"it was too far behind in {self.device.given_up} steps")
            self.device.given_up = 0

    def _around_destroy(self, original: Any) -> Any:
        @functools.wraps(original)
        def destroy_process_group(*arguments: Any, **keywords: Any) -> Any:
            if self.active and os.getpid() == self.pid:
                self.out.remember_group()
                self.out.read_flight_recorder()
                self._open_folder()
                self._clocks.before_destroy(*arguments[:1], **keywords)
            return original(*arguments, **keywords)

        return destroy_process_group
