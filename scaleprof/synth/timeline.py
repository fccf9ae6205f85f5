"""When everything of a job happens, on the true clock: the plan of a step, run for all steps and ranks.

The host launches one kernel every `launch_us`, in order. A kernel starts when its launch has returned, its stream is free and what it waits
for has ended; an operation of communication has arrived then, and ends its transfer after the last arrival, on each rank as much later as the rank
is slow to leave. What waits for nothing of its step waits for the step before. Loops are over steps and segments; ranks and kernels are columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scaleprof.intervals import Ints
from scaleprof.synth.mesh import Mesh, mesh_of
from scaleprof.synth.order import Node, order_of
from scaleprof.synth.plan import MAIN_STREAM, Plan, Segment, plans_of
from scaleprof.synth.spec import Spec
from scaleprof.trace import Floats, Kind

BEGIN_NS = 1_800_000_000_000_000_000
"""True time at which every synthetic job begins: the same spec gives the same bytes."""
_PPM = 1e-6
_EXITS = 1  # apart from the seed of the jitter


@dataclass(frozen=True)
class Timeline:
    """The times of a job. The first step is the one that runs before the first step of the account."""

    spec: Spec
    mesh: Mesh
    plans: tuple[Plan, ...]
    """By pipeline stage."""
    start_ns: Ints
    """Of every kernel, in the order of launch: (ranks, steps, kernels), as many as the longest plan has."""
    end_ns: Ints
    met_ns: Ints
    """When the last rank arrived, of every operation in the order of launch: (ranks, steps, operations)."""
    host_start_ns: Ints
    """When the host begins a step: (ranks, steps + 1), the last one is where the last step ends."""
    done_ns: Ints
    """When the device has finished a step: (ranks, steps)."""

    @property
    def steps(self) -> int:
        """Steps, with the one that runs before the account."""
        return int(self.done_ns.shape[1])

    @property
    def plan(self) -> Plan:
        """The plan of the first stage."""
        return self.plans[0]

    def plan_of(self, rank: int) -> Plan:
        """What a rank does in a step."""
        return self.plans[self.mesh.stage(rank)]

    def input_ns(self, rank: int, step: int) -> int:
        """How long a rank's host waits for its batch."""
        return self.spec.ns(self.spec.input_ms) + _late_ns(self.spec, "input", rank, step)

    def pause_ns(self, rank: int, step: int) -> int:
        """How long a rank's host pauses before the launch of `Plan.pause_at`."""
        return _late_ns(self.spec, "pause", rank, step)

    def launches(self, rank: int, step: int) -> Ints:
        """When the host begins to launch each kernel of a step."""
        plan = self.plan_of(rank)
        first = int(self.host_start_ns[rank, step]) + self.input_ns(rank, step)
        launches = first + self.spec.launch_ns * np.arange(plan.kernels, dtype=np.int64)
        launches[plan.pause_at :] += self.pause_ns(rank, step)
        return launches


def is_late(spec: Spec, step: int) -> bool:
    """Whether the late rank is late in a step."""
    return spec.late_ms > 0 and step % spec.late_every == 0


def simulate(spec: Spec) -> Timeline:
    """The whole job."""
    job = _Job(spec)
    for step in range(spec.steps + 1):
        job.run(step)
    return Timeline(spec, job.mesh, job.plans, job.start, job.end, job.met, job.host, job.done)


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


def _late_ns(spec: Spec, cause: str, rank: int, step: int) -> int:
    applies = spec.late_cause == cause and rank == spec.late_rank and is_late(spec, step)
    return spec.ns(spec.late_ms) if applies else 0


class _Job:
    """The times while they are computed, step by step."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.mesh, self.plans = spec, mesh_of(spec), plans_of(spec)
        ranks, steps = spec.ranks, spec.steps + 1
        self.start = np.zeros((ranks, steps, max(plan.kernels for plan in self.plans)), dtype=np.int64)
        self.end = np.zeros_like(self.start)
        self.met = np.zeros((ranks, steps, max(len(plan.operations) for plan in self.plans)), dtype=np.int64)
        self.host = np.full((ranks, steps + 1), BEGIN_NS, dtype=np.int64)
        self.done = np.zeros((ranks, steps), dtype=np.int64)
        self.free: dict[tuple[int, int], Ints] = {}  # by stage and stream
        self.before = {stage: np.full(self.mesh.stage_ranks, BEGIN_NS) for stage in range(self.mesh.stages)}
        self.order = order_of(self.plans)
        self.costs = {
            (stage, place): self._cost(stage, segment)
            for stage, plan in enumerate(self.plans)
            for place, segment in enumerate(plan.segments)
            if segment.communicates
        }
        self.operation = [
            {place: number for number, place in enumerate(p for p, one in enumerate(plan.segments) if one.communicates)}
            for plan in self.plans
        ]

    def run(self, step: int) -> None:
        """One step of all ranks."""
        spec, kernels = self.spec, np.zeros(self.spec.ranks, dtype=np.int64)
        self.launched = self.host[:, step] + spec.ns(spec.input_ms)
        self.launched[spec.late_rank] += _late_ns(spec, "input", spec.late_rank, step)
        self.stretch, self.exits = _stretch(spec, step), self._exits(step)
        self.ends: dict[tuple[int, int], Ints] = {}
        for node in self.order:
            self._run_node(node, step)
        for stage, plan in enumerate(self.plans):
            ranks = self.mesh.ranks_of(stage)
            ends = [self.ends[stage, place] for place in range(len(plan.segments))]
            self.done[ranks, step] = np.maximum.reduce(ends)
            self.before[stage] = self.free[stage, MAIN_STREAM]
            kernels[ranks] = plan.kernels
        launches_end = self.launched + spec.launch_ns * kernels
        launches_end[spec.late_rank] += _late_ns(spec, "pause", spec.late_rank, step)
        awaited = launches_end
        if step >= spec.run_ahead:
            awaited = self.done[:, step - spec.run_ahead] + spec.launch_ns
        self.host[:, step + 1] = np.maximum(launches_end, awaited)

    def _run_node(self, node: Node, step: int) -> None:
        """A segment of one stage, or both sides of a transfer."""
        arrivals = [self._possible(stage, place, step) for stage, place in node]
        segment = self.plans[node[0][0]].segments[node[0][1]]
        if not segment.communicates:
            [(stage, place)], [possible] = node, arrivals
            dur = self._durations(stage, segment, step)
            before = np.cumsum(dur, axis=1) - dur
            started = np.maximum.accumulate(possible - before, axis=1) + before
            self._keep(stage, place, step, started, started + dur)
            return
        first = [arrival[:, 0] for arrival in arrivals]
        met = np.maximum(*first) if segment.kind == Kind.P2P else self._last_of_group(first[0], segment)
        for (stage, place), arrival in zip(node, arrivals, strict=True):
            number = self.operation[stage][place]
            end = met + self.costs[stage, place] + self.exits[stage][:, number]
            self.met[self.mesh.ranks_of(stage), step, number] = met
            self._keep(stage, place, step, arrival, end[:, None])

    def _possible(self, stage: int, place: int, step: int) -> Ints:
        """When each kernel could start, going by its launch, and the first by all that it waits for: (ranks, kernels)."""
        plan, spec, ranks = self.plans[stage], self.spec, self.mesh.ranks_of(stage)
        segment, first = plan.segments[place], plan.first[place]
        kernels = np.arange(first, first + len(segment), dtype=np.int64)
        possible = self.launched[ranks, None] + spec.launch_ns * (kernels + 1)
        pause = _late_ns(spec, "pause", spec.late_rank, step)
        if pause and self.mesh.stage(spec.late_rank) == stage:
            possible[spec.late_rank - ranks.start, kernels >= plan.pause_at] += pause
        waits = [self.ends[stage, other] for other in segment.after] or [self.before[stage]]
        if (stage, segment.stream) in self.free:
            waits.append(self.free[stage, segment.stream])
        possible[:, 0] = np.maximum.reduce([possible[:, 0], *waits])
        return possible

    def _keep(self, stage: int, place: int, step: int, start: Ints, end: Ints) -> None:
        plan, ranks = self.plans[stage], self.mesh.ranks_of(stage)
        first = plan.first[place]
        here = slice(first, first + len(plan.segments[place]))
        self.start[ranks, step, here], self.end[ranks, step, here] = start, end
        self.ends[stage, place] = self.free[stage, plan.segments[place].stream] = end[:, -1]

    def _last_of_group(self, arrival: Ints, segment: Segment) -> Ints:
        """The last arrival in each rank's group."""
        grid = arrival.reshape(self.spec.data, self.spec.tensor)
        last = grid.max(axis=0 if segment.group == "dp" else 1, keepdims=True)
        return np.broadcast_to(last, grid.shape).ravel()

    def _cost(self, stage: int, segment: Segment) -> Ints:
        ranks = self.mesh.ranks_of(stage)
        if segment.kind == Kind.P2P:
            mine = np.arange(ranks.start, ranks.stop) // self.spec.ranks_per_host
            theirs = np.arange(ranks.start, ranks.stop) + segment.peer * self.mesh.stage_ranks
            across = mine != theirs // self.spec.ranks_per_host
        else:
            across = self.mesh.dimensions[segment.group].across[ranks]
        cost: Ints = np.where(across, segment.across_ns, segment.dur_ns[0])
        return cost

    def _exits(self, step: int) -> list[Ints]:
        """By stage: how much later each rank leaves each operation, (ranks, operations)."""
        spec, shape = self.spec, (self.mesh.stage_ranks, self.met.shape[2])
        if not spec.exit_us:
            return [np.zeros(shape, dtype=np.int64)] * self.mesh.stages
        quantum = spec.form.quantum_ns
        drawn = [np.random.default_rng([spec.seed, step, _EXITS, stage]) for stage in range(self.mesh.stages)]
        late = [one.exponential(spec.exit_us * 1e3 / quantum, shape) for one in drawn]
        return [np.rint(one).astype(np.int64) * quantum for one in late]

    def _durations(self, stage: int, segment: Segment, step: int) -> Ints:
        """By rank and kernel; only compute jitters or is late."""
        spec, ranks = self.spec, self.mesh.ranks_of(stage)
        dur = np.tile(segment.dur_ns, (self.mesh.stage_ranks, 1))
        if segment.kind != Kind.COMPUTE:
            return dur
        if spec.jitter:
            quantum = spec.form.quantum_ns
            dur = np.rint(dur * self.stretch[ranks, None] / quantum).astype(np.int64) * quantum
        if is_late(spec, step) and self.mesh.stage(spec.late_rank) == stage:
            dur[spec.late_rank - ranks.start] += segment.late_ns
        return dur


def _stretch(spec: Spec, step: int) -> Floats:
    """By what each rank's compute is stretched in this step; it never shrinks below a tenth."""
    drawn: Floats = np.random.default_rng([spec.seed, step]).normal(1.0, spec.jitter, spec.ranks)
    return np.maximum(drawn, 0.1)


def late_steps(spec: Spec) -> Iterator[int]:
    """The steps in which the late rank is late."""
    return (step for step in range(spec.steps + 1) if is_late(spec, step))
