"""The matrix of the torture suite: strategies, faults, severities, clocks and damage, each with its truth before anything is written."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from scaleprof.intervals import Ints
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import Timeline, simulate

STRATEGIES: dict[str, dict[str, Any]] = {
    "ddp": {},
    "fsdp": {"strategy": "fsdp"},
    "ddp+tp": {"tensor": 2},
    "ddp+pp": {"pipeline": 2, "micro_batches": 4},
    "fsdp+tp": {"strategy": "fsdp", "tensor": 2},
}
NO_FAULT = "none"
FAULTS: dict[str, dict[str, Any]] = {
    "compute": {"late_cause": "compute"},
    "throttle": {"late_cause": "throttle"},
    "input": {"late_cause": "input"},
    "pause": {"late_cause": "pause"},
    "every third step": {"late_cause": "compute", "late_every": 3, "steps": 30},
}
SAID = {
    "compute": "more work in its kernels",
    "throttle": "the same kernels run slower",
    "input": "it waits for its input",
    "pause": "garbage collection",
}
"""The words of each cause; the pauses of synthetic hosts are garbage collections."""
SEVERITIES = (0.02, 0.05, 0.15, 0.4)
"""By what share of a step the late rank is late."""
CLOCKS: dict[str, dict[str, Any]] = {
    "aligned": {},
    "apart": {"clock_offset_ms": (0.0, 3.0), "clock_drift_ppm": (0.0, 50.0)},
}
DAMAGE: dict[str, dict[str, Any]] = {"none": {}, "1 % dropped": {"drop": 0.01}, "seq lost": {"lose": ("seq",)}}
JITTERS = (0.01, 0.005, 0.02)
"""Spread of compute from step to step, by seed."""
MORE_CLEAN = 20
"""Further seeds of clean jobs for each seed: false alarms are to be rare."""
WORTH = 0.01
"""Of a step: what costs less may go unsaid."""
NOISES = 3.0
"""And so may what costs less than so many times by how much the steps of the job without the fault differ."""
BASE: dict[str, Any] = {
    "ranks": 8, "ranks_per_host": 4, "steps": 15, "layers": 6, "kernels_per_layer": 2, "buckets": 3, "exit_us": 2.0,
    "activation_bytes": 4_000_000, "gz": False,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One job."""

    strategy: str
    fault: str
    severity: float
    clocks: str
    damage: str
    seed: int

    @property
    def name(self) -> str:
        """For people, and for `python -m tests.torture --only`."""
        late = f", {self.severity:.0%}" if self.fault != NO_FAULT else ""
        return f"{self.strategy}, {self.fault}{late}, clocks {self.clocks}, damage {self.damage}, seed {self.seed}"

    @property
    def late_rank(self) -> int:
        """Another one with each seed, strategy and severity; input is taken by the first stage of a pipeline only, which is the lower half."""
        place = 3 * self.seed + list(STRATEGIES).index(self.strategy) + round(100 * self.severity)
        return place % (4 if self.fault == "input" and self.strategy == "ddp+pp" else 8)

    @cached_property
    def clean(self) -> Timeline:
        """The same job without its fault, as long and as noisy."""
        return simulate(replace(self.spec_of(0.0), late_cause="compute"))

    @cached_property
    def spec(self) -> Spec:
        """The job."""
        if self.fault == NO_FAULT:
            return self.spec_of(0.0)
        late_ns = self.severity * _step_ns(self.clean)
        if self.fault == "pause":
            late_ns += _ahead_ns(self.clean, self.late_rank)
        return self.spec_of(late_ns / 1e6)

    def spec_of(self, late_ms: float) -> Spec:
        """The job with this lateness."""
        fields = BASE | STRATEGIES[self.strategy] | CLOCKS[self.clocks] | DAMAGE[self.damage]
        fields |= {"seed": self.seed, "jitter": JITTERS[self.seed % len(JITTERS)]}
        if self.fault != NO_FAULT:
            fields |= FAULTS[self.fault] | {"late_rank": self.late_rank, "late_ms": late_ms}
        return Spec(**fields)

    @cached_property
    def cost(self) -> float:
        """By which share of itself the fault makes a step longer, on average: the job beside the same job without it."""
        return _step_ns(simulate(self.spec)) / _step_ns(self.clean) - 1 if self.fault != NO_FAULT else 0.0

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the step times without the fault, as a share of them."""
        times = _times_ns(self.clean)
        return float(times.std() / times.mean())

    @property
    def must_be_found(self) -> bool:
        """Whether the fault costs enough."""
        return self.fault != NO_FAULT and self.cost >= max(WORTH, NOISES * self.noise)


def matrix(seeds: int) -> list[Case]:
    """Every strategy, fault and severity with every seed, clocks and damage in turn; every clean job on all clocks and damage, and more of them."""
    return [case for seed in range(seeds) for case in (*_late(seed), *_clean(seed), *_more_clean(seed))]


def _late(seed: int) -> Iterator[Case]:
    around = [(clocks, damage) for damage in DAMAGE for clocks in CLOCKS]
    cells = product(STRATEGIES, FAULTS, SEVERITIES)
    for place, (strategy, fault, severity) in enumerate(cells):
        # Seven and four are no divisors of six: each cell meets another of the six with each seed, and so do its neighbours.
        clocks, damage = around[(place + place // len(SEVERITIES) + seed) % len(around)]
        yield Case(strategy, fault, severity, clocks, damage, seed)


def _clean(seed: int) -> Iterator[Case]:
    for strategy, clocks, damage in product(STRATEGIES, CLOCKS, DAMAGE):
        yield Case(strategy, NO_FAULT, 0.0, clocks, damage, seed)


def _more_clean(seed: int) -> Iterator[Case]:
    """What is drawn is drawn by the seed alone: clocks and damage do not make another job of a clean one."""
    for strategy, more in product(STRATEGIES, range(1, MORE_CLEAN + 1)):
        yield Case(strategy, NO_FAULT, 0.0, "aligned", "none", 1000 * more + seed)


def quick() -> list[Case]:
    """A few of each, for the tests."""
    strategies, faults = list(STRATEGIES), list(FAULTS)
    late = [
        case
        for case in _late(0)
        if case.severity == SEVERITIES[1 + (strategies.index(case.strategy) + faults.index(case.fault)) % 3]
        and (strategies.index(case.strategy) + 2 * faults.index(case.fault)) % 5 < 3
    ]
    return [*late, *(case for place, case in enumerate(_clean(1)) if place % 5 == 0)]


def _times_ns(job: Timeline) -> Ints:
    """Of the counted steps, mean over ranks."""
    times: Ints = np.diff(job.done_ns, axis=1).mean(axis=0)
    return times


def _step_ns(job: Timeline) -> float:
    return float(_times_ns(job).mean())


def _ahead_ns(job: Timeline, rank: int) -> float:
    """How long after its launch the kernel before which the host may pause starts: a shorter pause is not noticed."""
    place = job.plan_of(rank).pause_at
    ahead = [
        int(job.start_ns[rank, step, place]) - int(job.launches(rank, step)[place]) for step in range(1, job.steps)
    ]
    return float(np.mean(ahead)) - job.spec.launch_ns
