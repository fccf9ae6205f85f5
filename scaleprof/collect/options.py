"""What a user can say about a recording, checked when said."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from scaleprof.errors import OptionError
from scaleprof.run import LEVELS, Level


@dataclass(frozen=True)
class Windows:
    """When the profiler records every operator, at level `full`; at level `timeline` only `skip` matters.

    All steps after `skip` are profiled, `timeline` windows lying around those of operators, but for one step between two windows.
    """

    skip: int = 5
    """Steps before the first window: warm-up, compilation."""
    steps: int = 3
    """Steps in a window."""
    every: int | None = None
    """Steps from the start of one window to the start of the next; None for one after the other."""
    count: int = 1
    """How many windows."""

    def __post_init__(self) -> None:
        if self.skip < 0 or self.steps < 1 or self.count < 0:
            raise OptionError("Windows takes skip and count from 0 and steps from 1")
        if self.every is not None and self.every <= self.steps:
            raise OptionError(
                f"Windows(every={self.every}) must be more than steps={self.steps}: between two windows lies a step without"
            )

    def opens_at(self, step: int) -> bool:
        """Whether a window of operators begins with this step."""
        period = self.every or self.steps + 1
        number, offset = divmod(step - self.skip, period)
        return step >= self.skip and offset == 0 and number < self.count


@dataclass(frozen=True)
class Options:
    """How to record."""

    folder: str = "traces/"
    """Where the run's own folder is made."""
    level: Level = "timeline"
    """`light`, `timeline` or `full`: how much is recorded."""
    name: str | None = None
    """What the job is called; runs of one name at several world sizes are one series. Without it the script's name."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Anything to keep with the run, such as a commit."""
    windows: Windows = Windows()
    """Which steps the profiler sees every operator in, at level `full`."""
    strategy: str | None = None
    """How the ranks share the work, where what is found is not right: `ddp`, `fsdp2+tp`, `pp-1f1b`."""
    samples_per_step: float | None = None
    """Samples that this rank takes in one step."""
    flops_per_step: float | None = None
    """Floating-point operations of this rank in one step, where counting them is not wanted."""
    sample_hz: float = 2.0
    """Hardware samples a second; 0 for none."""
    redact: bool = False
    """Replace host, user and path names in everything that is written."""
    measure_cost: bool = True
    """Leave the hooks off in 48 steps of a longer training, to see what they cost."""
    enabled: bool = True
    """False records nothing."""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise OptionError(f"level must be one of {', '.join(LEVELS)}, not {self.level!r}")
        if not 0 <= self.sample_hz <= 100:
            raise OptionError(f"sample_hz must lie in 0..100, not {self.sample_hz}")
        for name in ("samples_per_step", "flops_per_step"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise OptionError(f"{name} must be more than 0, not {value}")


def with_environment(options: Options, environment: Mapping[str, str] = os.environ) -> Options:
    """The options with what SCALEPROF, SCALEPROF_DIR, SCALEPROF_NAME and SCALEPROF_COST say; a level nobody knows is an OptionError."""
    word = environment.get("SCALEPROF", "").strip().lower()
    if word in ("0", "off", "false"):
        return replace(options, enabled=False)
    if word and word not in ("1", "on", "true"):
        level = next((level for level in LEVELS if level == word), None)
        if level is None:
            raise OptionError(f"SCALEPROF must be 0 or one of {', '.join(LEVELS)}, not {word!r}")
        options = replace(options, level=level)
    return replace(
        options,
        folder=environment.get("SCALEPROF_DIR") or options.folder,
        measure_cost=options.measure_cost
        and environment.get("SCALEPROF_COST", "").lower() not in ("0", "off", "false"),
        name=environment.get("SCALEPROF_NAME") or options.name,
    )
