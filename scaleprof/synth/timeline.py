"""When everything of a job happens, on the true clock: the plan of a step, run for all steps and ranks.

The host launches one kernel every `launch_us`, in order. A kernel starts when its launch has returned, its stream is free and what it waits
for has ended; a collective has arrived then, and ends on all ranks together, its transfer after the last arrival. Loops are over steps and
segments; ranks and kernels are columns.
"""

from dataclasses import dataclass

import numpy as np

from scaleprof.intervals import Ints
from scaleprof.synth.plan import Plan, Segment, plan_of
from scaleprof.synth.spec import Spec
from scaleprof.trace import Floats, Kind

BEGIN_NS = 1_800_000_000_000_000_000
"""True time at which every synthetic job begins: the same spec gives the same bytes."""
_PPM = 1e-6


@dataclass(frozen=True)
class Timeline:
    """The times of a job. The first step is the one that runs before the first step of the account."""

    spec: Spec
    plan: Plan
    start_ns: Ints
    """Of every kernel, in the order of launch: (ranks, steps, kernels)."""
    end_ns: Ints
    host_start_ns: Ints
    """When the host begins a step: (ranks, steps + 1), the last one is where the last step ends."""
    done_ns: Ints
    """When the device has finished a step: (ranks, steps)."""

    @property
    def steps(self) -> int:
        """Steps, with the one that runs before the account."""
        return int(self.done_ns.shape[1])

    def launches(self, rank: int, step: int) -> Ints:
        """When the host begins to launch each kernel of a step."""
        first = int(self.host_start_ns[rank, step]) + self.spec.ns(self.spec.input_ms)
        return first + self.spec.launch_ns * np.arange(self.plan.kernels, dtype=np.int64)


def simulate(spec: Spec) -> Timeline:
    """The whole job."""
    plan, steps = plan_of(spec), spec.steps + 1
    start = np.zeros((spec.ranks, steps, plan.kernels), dtype=np.int64)
    end = np.zeros_like(start)
    host = np.full((spec.ranks, steps + 1), BEGIN_NS, dtype=np.int64)
    done = np.zeros((spec.ranks, steps), dtype=np.int64)
    free: dict[int, Ints] = {}
    for step in range(steps):
        launched = host[:, step] + spec.ns(spec.input_ms)
        stretch = _stretch(spec, step)
        ends: list[Ints] = []
        for segment, first in zip(plan.segments, plan.first, strict=True):
            here = slice(first, first + len(segment))
            calls = launched[:, None] + spec.launch_ns * np.arange(first + 1, first + 1 + len(segment))
            ready = _latest([*(ends[place] for place in segment.after), free.get(segment.stream, calls[:, 0])])
            start[:, step, here], end[:, step, here] = _run(segment, calls, ready, _durations(spec, segment, stretch))
            ends.append(end[:, step, here.stop - 1])
            free[segment.stream] = ends[-1]
        done[:, step] = _latest(ends)
        launches_end = launched + spec.launch_ns * plan.kernels
        awaited = done[:, step - spec.run_ahead] + spec.launch_ns if step >= spec.run_ahead else launches_end
        host[:, step + 1] = np.maximum(launches_end, awaited)
    return Timeline(spec, plan, start, end, host, done)


def on_host_clock(spec: Spec, rank: int, true_ns: Ints) -> Ints:
    """True times as the clock of a rank's host shows them, as finely as the dialect can write."""
    host, quantum = rank // spec.ranks_per_host, spec.form.quantum_ns
    ahead_ns = np.rint((true_ns - BEGIN_NS) * (_listed(spec.clock_drift_ppm, host) * _PPM)).astype(np.int64)
    shown: Ints = true_ns + offset_ns(spec, rank) + ahead_ns
    return shown // quantum * quantum


def offset_ns(spec: Spec, rank: int) -> int:
    """By how much the clock of a rank's host is ahead when the job begins."""
    return spec.ns(_listed(spec.clock_offset_ms, rank // spec.ranks_per_host))


def drift_ppm(spec: Spec, rank: int) -> float:
    """By how much that clock runs fast."""
    return _listed(spec.clock_drift_ppm, rank // spec.ranks_per_host)


def _listed(values: tuple[float, ...], place: int) -> float:
    return values[place] if place < len(values) else 0.0


def _latest(times: list[Ints]) -> Ints:
    latest: Ints = np.maximum.reduce(times)
    return latest


def _run(segment: Segment, calls: Ints, ready: Ints, dur: Ints) -> tuple[Ints, Ints]:
    """Starts and ends of a segment's kernels by rank: each after its call and after its predecessor, the first after what it waits for."""
    possible = calls.copy()
    possible[:, 0] = np.maximum(possible[:, 0], ready)
    if segment.kind == Kind.COLLECTIVE:
        ended = possible.max() + segment.dur_ns[0]
        return possible, np.broadcast_to(ended, possible.shape)
    before = np.cumsum(dur, axis=1) - dur
    started = np.maximum.accumulate(possible - before, axis=1) + before
    return started, started + dur


def _durations(spec: Spec, segment: Segment, stretch: Floats) -> Ints:
    """By rank and kernel; only compute is late or jitters."""
    dur = np.tile(segment.dur_ns, (spec.ranks, 1))
    if segment.kind != Kind.COMPUTE:
        return dur
    dur[spec.late_rank] += segment.late_ns
    if spec.jitter:
        quantum = spec.form.quantum_ns
        dur = np.rint(dur * stretch[:, None] / quantum).astype(np.int64) * quantum
    return dur


def _stretch(spec: Spec, step: int) -> Floats:
    """By what each rank's compute is stretched in this step; it never shrinks below a tenth."""
    drawn: Floats = np.random.default_rng([spec.seed, step]).normal(1.0, spec.jitter, spec.ranks)
    return np.maximum(drawn, 0.1)
