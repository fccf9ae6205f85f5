"""Record a job that Horovod joins: `@scaleprof.horovod.profile("traces/")` on the training function, before it calls `hvd.init()`.

What comes out is a run directory as of any recording, with the coordinator's timeline in the folder of rank 0.
"""

import os
from collections.abc import Mapping

from scaleprof.collect import recording
from scaleprof.collect.guard import Guard
from scaleprof.collect.horovod.horovod import HorovodSession
from scaleprof.collect.options import Options, Windows
from scaleprof.collect.session import Session
from scaleprof.run import Level

__all__ = ["profile", "session"]


class profile(recording.profile):  # noqa: N801  a decorator reads as a verb
    """Record a training function, or a `with` block, of a Horovod job into a run directory below `folder`.

    Every rank writes when it handed which tensor to Horovod (unix ns, bytes, type) and how long it was blocked in `synchronize` (ns); rank 0
    also the coordinator's timeline, from `hvd.init()` on. An analysis joins them: each fused operation once, on each rank from the last of its
    tensors to its end on the wire. Where Horovod is missing, everything else is recorded, with a warning.

    To be entered before `hvd.init()`: Horovod begins a timeline later only if `HOROVOD_TIMELINE=DYNAMIC` stood in the environment then. It is put
    there here, and taken away at the end; a recording that begins too late has no timeline, with a warning.

    The options are those of `scaleprof.profile`, and `rank_ticks`: have the timeline say of every operation which rank announced it when, as
    `HOROVOD_CACHE_CAPACITY=0` does, at the price of a full negotiation each step. The ranks' own notes say the same without it.

    Errors of the recorder become one warning each, those of the training pass through. In a job on several hosts a rank that does not record costs
    the others a second at the first step, in which clocks are compared: `SCALEPROF_CLOCK_SYNC=0` leaves that out.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] = "traces/",
        *,
        level: Level = "timeline",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        windows: Windows | None = None,
        strategy: str | None = None,
        samples_per_step: float | None = None,
        flops_per_step: float | None = None,
        sample_hz: float = 2.0,
        redact: bool = False,
        measure_cost: bool = True,
        rank_ticks: bool = False,
    ) -> None:
        super().__init__(
            folder,
            level=level,
            name=name,
            tags=tags,
            windows=windows,
            strategy=strategy,
            samples_per_step=samples_per_step,
            flops_per_step=flops_per_step,
            sample_hz=sample_hz,
            redact=redact,
            measure_cost=measure_cost,
        )
        self._rank_ticks = rank_ticks

    def _again(self) -> "profile":
        fresh = super()._again()
        assert isinstance(fresh, profile)
        fresh._rank_ticks = self._rank_ticks
        return fresh

    def _session(self, options: Options, number: int, guard: Guard) -> Session:
        return HorovodSession(options, number, guard, rank_ticks=self._rank_ticks)


session = profile
"""The same as a `with` block: inside a function that is recorded it is a part of that recording, and its `step()` says where a step ends."""
