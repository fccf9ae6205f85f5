"""The description of a synthetic job: a flat TOML file or a built-in name, and `field=value` on the command line.

Ranks are laid out as in torch's mesh (pipeline, data, tensor), the last one innermost: neighbours share tensors, and each stage is a block of ranks.

Times are stated in ms and us and become whole ns here, multiples of the dialect's own resolution, so that every later sum is exact.
"""

import dataclasses
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaleprof.errors import OptionError
from scaleprof.synth.dialects import DIALECTS, Dialect
from scaleprof.synth.fields import check_range, check_type, check_word, parsed
from scaleprof.synth.jobs import BUILT_IN

MOST_KERNELS = 1 << 28
"""Kernels of a whole job, over ranks and steps: 16 bytes each in memory while it is written."""
MOST_RANKS = 1 << 16
_LONGEST_MS = 3_600_000.0  # an hour: beyond that a time is a slip of the pen
_QUARTERS = 4  # a launch is divided in four when its events are laid out
STRATEGIES = ("ddp", "fsdp")
CAUSES = ("compute", "throttle", "input", "pause")
DROPPED = ("kernels", "all")
LOST = ("seq", "group", "sizes", "params", "ranks")


def _zero() -> tuple[float, ...]:
    return (0.0,)


@dataclass(frozen=True)
class Spec:
    """A job on GPUs. Data-parallel unless it says otherwise: gradients in buckets, one ring all-reduce each as soon as the backward pass has
    filled it, or sharded parameters; with `tensor` and `pipeline` its ranks also share the model."""

    name: str = "ddp"
    """What the run and its series are called; its folder is `<name>-n<ranks>`."""
    ranks: int = 4
    """Processes, one GPU each."""
    ranks_per_host: int = 8
    """Ranks that share a host, and so a clock."""
    steps: int = 8
    """Steps that the truth speaks of; one more runs before them, from whose end the first is counted."""
    strategy: str = "ddp"
    """What data-parallel ranks do: `ddp` (all-reduce the gradients) or `fsdp` (gather the parameters, scatter the gradients)."""
    tensor: int = 1
    """Ranks that share the tensors of a layer: two all-reduces a layer and pass, which nothing hides."""
    pipeline: int = 1
    """Stages of the pipeline, run as 1F1B. Data-parallel ranks are ranks / (tensor * pipeline)."""
    micro_batches: int = 1
    """Parts of a rank's batch, each with its own forward and backward pass."""
    layers: int = 12
    """Layers of the model, all stages together; stages get as equal a share as can be."""
    kernels_per_layer: int = 4
    """Kernels of a layer in the forward pass, and as many in the backward pass."""
    buckets: int = 4
    """Gradient buckets, or units of FSDP, of each stage: neighbouring layers. No more than the stage has layers."""
    compute_ms: float = 40.0
    """Kernels of a step of one rank, together; with a pipeline, of a stage with the average number of layers."""
    forward_share: float = 0.3
    """Part of the compute that is the forward pass."""
    optimizer_share: float = 0.05
    """Part of the compute that is the optimizer; what is left is the backward pass."""
    gradient_bytes: int = 400_000_000
    """Gradients of a rank in float32, all buckets together, before FSDP shards them; with a pipeline, of an average stage."""
    activation_bytes: int = 16_777_216
    """What a stage passes on for one micro-batch, and what each all-reduce of tensor parallelism sums, in bfloat16."""
    alpha_us: float = 10.0
    """Latency of one hop of the ring."""
    bandwidth_gbps: float = 40.0
    """Bandwidth between neighbours of the ring, in GB/s (1e9)."""
    inter_alpha_us: float = 0.0
    """Latency of a hop in groups that span hosts; 0 is the same as within a host."""
    inter_bandwidth_gbps: float = 0.0
    """Bandwidth in groups that span hosts, in GB/s; 0 is the same as within a host."""
    exit_us: float = 0.0
    """Mean of the time by which each rank leaves an operation later than its end; drawn from an exponential distribution."""
    launch_us: float = 4.236
    """Host time to launch one kernel."""
    run_ahead: int = 0
    """Steps that the host may be ahead of the device; 0 waits for the device at the end of every step."""
    input_ms: float = 1.0
    """Time the host waits for the next batch, at the start of a step."""
    copy_ms: float = 0.5
    """Copy of the batch to the device, before the forward pass of the first stage."""
    late_rank: int = 0
    """The rank that is later than the others, if `late_ms` says so."""
    late_ms: float = 0.0
    """By how much it is late in each step that it is late in."""
    late_cause: str = "compute"
    """Why: `compute` (a longer forward pass), `throttle` (all kernels slower, together by that much), `input` (its batch comes later), `pause` (its
    host pauses between two launches of the forward pass)."""
    late_every: int = 1
    """It is late in each so many-th step only."""
    clock_offset_ms: tuple[float, ...] = field(default_factory=_zero)
    """How far each host's clock is ahead of the true time; hosts that are not listed are right."""
    clock_drift_ppm: tuple[float, ...] = field(default_factory=_zero)
    """By how much each host's clock runs fast, in us a second."""
    samples: int = 32
    """Samples a rank takes per step."""
    jitter: float = 0.0
    """Spread (one sigma, as a part) of a rank's compute from step to step."""
    seed: int = 0
    """Of everything that is drawn: jitter, exits, what is dropped."""
    stack_events: int = 0
    """Python frames and memory events per step that only fill the file, as a trace with stacks is filled."""
    dialect: str = "native"
    """How the trace files are written: see `DIALECTS`."""
    gz: bool = True
    """Compress the trace files."""
    ranks_written: int = 0
    """Write only the files of the first so many ranks, as if the others were lost; 0 writes all."""
    missing_ranks: tuple[int, ...] = ()
    """Ranks whose files are lost."""
    communication_only: bool = False
    """Small files: steps, communication, and each segment of compute as one kernel, without operators."""
    drop: float = 0.0
    """Part of the communication kernels whose events are missing from a rank's file, each drawn alone."""
    drop_what: str = "kernels"
    """What is missing then: `kernels` on the device only, or `all`, what the host says of them too."""
    lose: tuple[str, ...] = ()
    """What the files do not say: `seq` (numbers of operations), `group` (which group), `sizes` (how many elements), `ranks` (who is in the groups),
    `params` (nothing at all about operations)."""
    cut_ranks: tuple[int, ...] = ()
    """Ranks whose trace file ends in the middle of an event, as a killed process leaves it."""
    cut_share: float = 0.6
    """After which part of its bytes."""
    task_ms: tuple[float, ...] = ()
    """Independent tasks, by their time: each rank takes every so many-th, one after the other. The job then has nothing else, and no traces."""
    late_ranks: tuple[int, ...] = ()
    """Ranks whose profiler begins later than the others'."""
    late_start_steps: int = 1
    """By how many steps."""

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            check_type(one.name, getattr(self, one.name), one.type)
        _check_words(self)
        _check_numbers(self)
        _check_together(self)

    @property
    def form(self) -> Dialect:
        """The dialect itself."""
        return DIALECTS[self.dialect]

    @property
    def hosts(self) -> int:
        """How many hosts the ranks need."""
        return -(-self.ranks // self.ranks_per_host)

    @property
    def data(self) -> int:
        """Ranks that take different samples and hold the same part of the model."""
        return self.ranks // (self.tensor * self.pipeline)

    @property
    def launch_ns(self) -> int:
        """Host time to launch one kernel, which divides in four."""
        part = _QUARTERS * self.form.quantum_ns
        return max(part, round(self.launch_us * 1e3 / part) * part)

    def ns(self, ms: float) -> int:
        """A time in whole ns, a multiple of what the dialect can write."""
        quantum = self.form.quantum_ns
        return round(ms * 1e6 / quantum) * quantum

    def cost_ns(self, op: str, bytes: int, ranks: int, *, across: bool = False) -> int:
        """What an operation of so many bytes takes once all ranks are there, in ns; `across`: its group spans hosts.

        A ring: n-1 hops of alpha and (n-1)/n of the bytes, twice for an all-reduce; a transfer is one hop and all bytes.
        """
        hops = {"all_reduce": 2 * (ranks - 1), "send": 1, "recv": 1}.get(op, ranks - 1)
        part = 1.0 if op in ("send", "recv") else hops / ranks
        alpha_us = self.inter_alpha_us if across and self.inter_alpha_us else self.alpha_us
        gbps = self.inter_bandwidth_gbps if across and self.inter_bandwidth_gbps else self.bandwidth_gbps
        return self.ns(hops * alpha_us / 1e3 + part * bytes / gbps / 1e6)


def load_spec(given: str, settings: Sequence[tuple[str, str]] = ()) -> Spec:
    """The spec in a TOML file or of a built-in name, with the settings ("ranks", "8") in place of what it says."""
    values: dict[str, Any] = dict(BUILT_IN[given]) if given in BUILT_IN else _from_file(Path(given))
    known = {one.name: one.type for one in dataclasses.fields(Spec)}
    unknown = [name for name in (*values, *(name for name, _ in settings)) if name not in known]
    if unknown:
        raise OptionError(f"a synthetic job has no field {unknown[0]!r}; there are: {', '.join(known)}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    values |= {name: parsed(name, text, known[name]) for name, text in settings}
    return Spec(**values)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        names = ", ".join(BUILT_IN)
        raise OptionError(f"{path}: there is no such file, and the built-in jobs are {names}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: cannot be read as a description of a job ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{path}: is no TOML ({error})") from error


def _check_words(spec: Spec) -> None:
    if not re.fullmatch(r"\w[\w.-]*", spec.name):
        raise OptionError(f"name must be a word that a folder can have, not {spec.name!r}")
    if spec.dialect not in DIALECTS:
        raise OptionError(f"there is no dialect {spec.dialect!r}; there are: {', '.join(DIALECTS)}")
    check_word("strategy", spec.strategy, STRATEGIES)
    check_word("late_cause", spec.late_cause, CAUSES)
    check_word("drop_what", spec.drop_what, DROPPED)
    for word in spec.lose:
        check_word("lose", word, LOST)


def _check_numbers(spec: Spec) -> None:
    bounds: list[tuple[float, float, tuple[str, ...]]] = [
        (1, MOST_RANKS, ("ranks", "ranks_per_host", "tensor", "pipeline")),
        (1, 1_000_000, ("steps", "layers", "kernels_per_layer", "samples", "micro_batches", "late_every")),
        (0, 10_000_000, ("stack_events",)),
        (0, 8, ("run_ahead",)),
        (0, spec.ranks, ("ranks_written",)),
        (0, spec.ranks - 1, ("late_rank",)),
        (0, 2**62, ("seed",)),
        (0, _LONGEST_MS, ("input_ms", "copy_ms", "late_ms", "alpha_us", "exit_us", "inter_alpha_us")),
        (0, _LONGEST_MS, ("inter_bandwidth_gbps",)),
        (0.001, _LONGEST_MS, ("compute_ms", "launch_us", "bandwidth_gbps")),
        (0, 0.3, ("jitter",)),
        (0, 1, ("drop",)),
        (0.001, 0.998, ("forward_share", "optimizer_share")),
        (0.001, 0.999, ("cut_share",)),
        (1, spec.layers, ("buckets", "pipeline")),
        (0, spec.steps - 1, ("late_start_steps",) if spec.late_ranks else ()),
        (4 * spec.buckets, 2**50, ("gradient_bytes",)),
        (2, 2**50, ("activation_bytes",)),
    ]
    for least, most, names in bounds:
        for name in names:
            check_range(name, getattr(spec, name), least, most)
    for name in ("missing_ranks", "cut_ranks", "late_ranks"):
        for rank in getattr(spec, name):
            check_range(name, rank, 0, spec.ranks - 1)
    for time_ms in spec.task_ms:
        check_range("task_ms", time_ms, 0.001, _LONGEST_MS)
    for name, most in (("clock_offset_ms", _LONGEST_MS), ("clock_drift_ppm", 1000.0)):
        if any(abs(value) > most for value in getattr(spec, name)):
            raise OptionError(f"{name} must lie within {most:g} of 0")


def _check_together(spec: Spec) -> None:
    if spec.ranks % (spec.tensor * spec.pipeline):
        raise OptionError(
            f"{spec.ranks} ranks cannot be divided in {spec.pipeline} pipeline stages of {spec.tensor} tensor-parallel ranks:"
            " ranks must be a multiple of tensor * pipeline"
        )
    if spec.forward_share + spec.optimizer_share > 0.999:
        raise OptionError(
            "forward_share and optimizer_share leave nothing for the backward pass: together at most 0.999"
        )
    per_layer = 1 if spec.communication_only else spec.kernels_per_layer
    layers = -(-spec.layers // spec.pipeline)
    kernels = 2 * layers * per_layer * spec.micro_batches * spec.ranks * (spec.steps + 1)
    if kernels > MOST_KERNELS:
        raise OptionError(
            f"this job has {kernels:,} kernels, more than {MOST_KERNELS:,}: take fewer ranks, steps or layers"
        )
