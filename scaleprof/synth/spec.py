"""The description of a synthetic job: a flat TOML file or a built-in name, and `field=value` on the command line.

Times are stated in ms and us and become whole ns here, multiples of the dialect's own resolution, so that every later sum is exact.
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from scaleprof.errors import OptionError
from scaleprof.synth.dialects import DIALECTS, Dialect

MOST_KERNELS = 1 << 27
"""Kernels of a whole job, over ranks and steps: 16 bytes each in memory while it is written."""
MOST_RANKS = 1 << 16
_LONGEST_MS = 3_600_000.0  # an hour: beyond that a time is a slip of the pen
_QUARTERS = 4  # a launch is divided in four when its events are laid out


def _zero() -> tuple[float, ...]:
    return (0.0,)


@dataclass(frozen=True)
class Spec:
    """A data-parallel job on GPUs: gradients in buckets, one ring all-reduce each, as soon as the backward pass has filled it."""

    name: str = "ddp"
    """What the run and its series are called; its folder is `<name>-n<ranks>`."""
    ranks: int = 4
    """Processes, one GPU each."""
    ranks_per_host: int = 8
    """Ranks that share a host, and so a clock."""
    steps: int = 8
    """Steps that the truth speaks of; one more runs before them, from whose end the first is counted."""
    layers: int = 12
    """Layers of the model."""
    kernels_per_layer: int = 4
    """Kernels of a layer in the forward pass, and as many in the backward pass."""
    buckets: int = 4
    """Gradient buckets, each of neighbouring layers."""
    compute_ms: float = 40.0
    """Kernels of a step, together."""
    forward_share: float = 0.3
    """Part of the compute that is the forward pass."""
    optimizer_share: float = 0.05
    """Part of the compute that is the optimizer; what is left is the backward pass."""
    gradient_bytes: int = 400_000_000
    """Gradients of a rank in float32, all buckets together."""
    alpha_us: float = 10.0
    """Latency of one hop of the ring."""
    bandwidth_gbps: float = 40.0
    """Bandwidth between neighbours of the ring, in GB/s (1e9)."""
    launch_us: float = 4.236
    """Host time to launch one kernel."""
    run_ahead: int = 0
    """Steps that the host may be ahead of the device; 0 waits for the device at the end of every step."""
    input_ms: float = 1.0
    """Time the host waits for the next batch, at the start of a step."""
    copy_ms: float = 0.5
    """Copy of the batch to the device, before the forward pass."""
    late_rank: int = 0
    """The rank that computes longer than the others, if `late_ms` says so."""
    late_ms: float = 0.0
    """By how much its forward pass is longer, each step."""
    clock_offset_ms: tuple[float, ...] = field(default_factory=_zero)
    """How far each host's clock is ahead of the true time; hosts that are not listed are right."""
    clock_drift_ppm: tuple[float, ...] = field(default_factory=_zero)
    """By how much each host's clock runs fast, in us a second."""
    samples: int = 32
    """Samples a rank takes per step."""
    jitter: float = 0.0
    """Spread (one sigma, as a part) of a rank's compute from step to step."""
    seed: int = 0
    """Of the jitter."""
    stack_events: int = 0
    """Python frames and memory events per step that only fill the file, as a trace with stacks is filled."""
    dialect: str = "native"
    """How the trace files are written: see `DIALECTS`."""
    gz: bool = True
    """Compress the trace files."""
    ranks_written: int = 0
    """Write only the files of the first so many ranks, as if the others were lost; 0 writes all."""

    def __post_init__(self) -> None:
        _check_types(self)
        _check_values(self)

    @property
    def form(self) -> Dialect:
        """The dialect itself."""
        return DIALECTS[self.dialect]

    @property
    def hosts(self) -> int:
        """How many hosts the ranks need."""
        return -(-self.ranks // self.ranks_per_host)

    @property
    def launch_ns(self) -> int:
        """Host time to launch one kernel, which divides in four."""
        part = _QUARTERS * self.form.quantum_ns
        return max(part, round(self.launch_us * 1e3 / part) * part)

    def ns(self, ms: float) -> int:
        """A time in whole ns, a multiple of what the dialect can write."""
        quantum = self.form.quantum_ns
        return round(ms * 1e6 / quantum) * quantum

    def ring_ns(self, bytes: int) -> int:
        """What an all-reduce of so many bytes takes once all ranks are there: 2 (n-1) hops of alpha, 2 (n-1)/n of the bytes at full bandwidth."""
        hops = 2 * (self.ranks - 1)
        return self.ns(hops * self.alpha_us / 1e3 + hops / self.ranks * bytes / self.bandwidth_gbps / 1e6)


BUILT_IN: Mapping[str, Mapping[str, Any]] = {
    "ddp": {
        "ranks": 4,
        "ranks_per_host": 2,
        "late_rank": 2,
        "late_ms": 3.0,
        "clock_offset_ms": (0.0, 12.5),
        "clock_drift_ppm": (0.0, 2.0),
    },
    "large": {
        "name": "large",
        "ranks": 8,
        "ranks_written": 1,
        "steps": 9,
        "layers": 32,
        "kernels_per_layer": 20,
        "jitter": 0.02,
        "compute_ms": 200.0,
        "gradient_bytes": 2_000_000_000,
        "buckets": 8,
        "stack_events": 10_000,
    },
}
"""Jobs that need no file: `ddp`, small, with a late rank on the second host; `large`, one rank of 8 with 5 MB per step and 5 MB more."""


def load_spec(given: str, settings: Sequence[tuple[str, str]] = ()) -> Spec:
    """The spec in a TOML file or of a built-in name, with the settings ("ranks", "8") in place of what it says."""
    values: dict[str, Any] = dict(BUILT_IN[given]) if given in BUILT_IN else _from_file(Path(given))
    known = {one.name: one.type for one in dataclasses.fields(Spec)}
    unknown = [name for name in (*values, *(name for name, _ in settings)) if name not in known]
    if unknown:
        raise OptionError(f"a synthetic job has no field {unknown[0]!r}; there are: {', '.join(known)}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    values |= {name: _parsed(name, text, known[name]) for name, text in settings}
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


def _parsed(name: str, text: str, kind: Any) -> Any:
    """A value from the command line in the type of its field."""
    try:
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        if get_origin(kind) is tuple:
            return tuple(float(part) for part in text.split(","))
        return kind(text)
    except (ValueError, KeyError) as error:
        raise OptionError(f"{name} must be {_spoken(kind)}, not {text!r}") from error


def _spoken(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "numbers with commas between"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}[kind]


def _check_types(spec: Spec) -> None:
    for one in dataclasses.fields(spec):
        value = getattr(spec, one.name)
        if not _is(value, one.type):
            raise OptionError(f"{one.name} must be {_spoken(one.type)}, not {value!r}")


def _is(value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is(part, get_args(kind)[0]) for part in value)
    if kind is float:  # not NaN, not infinite
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _check_values(spec: Spec) -> None:
    if not re.fullmatch(r"\w[\w.-]*", spec.name):
        raise OptionError(f"name must be a word that a folder can have, not {spec.name!r}")
    if spec.dialect not in DIALECTS:
        raise OptionError(f"there is no dialect {spec.dialect!r}; there are: {', '.join(DIALECTS)}")
    _in_range(spec, 1, MOST_RANKS, "ranks", "ranks_per_host")
    _in_range(spec, 1, 1_000_000, "steps", "layers", "kernels_per_layer", "samples")
    _in_range(spec, 0, 10_000_000, "stack_events")
    _in_range(spec, 0, 8, "run_ahead")
    _in_range(spec, 0, spec.ranks, "ranks_written")
    _in_range(spec, 0, spec.ranks - 1, "late_rank")
    _in_range(spec, 0, 2**62, "seed")
    _in_range(spec, 0, _LONGEST_MS, "input_ms", "copy_ms", "late_ms", "alpha_us")
    _in_range(spec, 0.001, _LONGEST_MS, "compute_ms", "launch_us", "bandwidth_gbps")
    _in_range(spec, 0, 0.3, "jitter")
    _in_range(spec, 0.001, 0.998, "forward_share", "optimizer_share")
    _in_range(spec, 1, spec.layers, "buckets")
    _in_range(spec, 4 * spec.buckets, 2**50, "gradient_bytes")
    for name, most in (("clock_offset_ms", _LONGEST_MS), ("clock_drift_ppm", 1000.0)):
        if any(abs(value) > most for value in getattr(spec, name)):
            raise OptionError(f"{name} must lie within {most:g} of 0")
    if spec.forward_share + spec.optimizer_share > 0.999:
        raise OptionError(
            "forward_share and optimizer_share leave nothing for the backward pass: together at most 0.999"
        )
    kernels = 2 * spec.layers * spec.kernels_per_layer * spec.ranks * (spec.steps + 1)
    if kernels > MOST_KERNELS:
        raise OptionError(
            f"this job has {kernels:,} kernels, more than {MOST_KERNELS:,}: take fewer ranks, steps or layers"
        )


def _in_range(spec: Spec, least: float, most: float, *names: str) -> None:
    for name in names:
        value = getattr(spec, name)
        if not least <= value <= most:
            raise OptionError(f"{name} must lie between {least:,.12g} and {most:,.12g}, not {value:,.12g}")
