"""Clocks: from a rank's monotonic clock to unix time, and from one rank's time to another's, with the error of each.

Step lines are written on the monotonic clock, which no time service sets back; profilers write unix time. An anchor ties the two.
Between hosts nothing ties clocks until an offset is measured: an unmeasured offset is `None`, never 0.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

STEPPED_NS = 1_000_000  # two anchors of one rank that disagree by more than this: somebody set the clock during the run


@dataclass(frozen=True)
class ClockAnchor:
    """One reading of the monotonic clock between two of the unix clock, all in ns."""

    real_before_ns: int
    mono_ns: int
    real_after_ns: int

    @classmethod
    def now(cls) -> "ClockAnchor":
        """The tightest of five readings."""
        readings = [cls(time.time_ns(), time.perf_counter_ns(), time.time_ns()) for _ in range(5)]
        return min(readings, key=lambda anchor: anchor.real_after_ns - anchor.real_before_ns)

    @property
    def offset_ns(self) -> int:
        """What to add to a monotonic time to get unix time."""
        return (self.real_before_ns + self.real_after_ns) // 2 - self.mono_ns

    @property
    def half_width_ns(self) -> int:
        """How far the true offset can be from `offset_ns`."""
        return (self.real_after_ns - self.real_before_ns + 1) // 2


def mono_to_unix_offset_ns(anchors: Sequence[ClockAnchor]) -> int:
    """The offset of the tightest anchor: the monotonic clock is the one to trust, so one anchor serves the whole run."""
    return min(anchors, key=lambda anchor: anchor.half_width_ns).offset_ns


def clock_was_set_ns(anchors: Sequence[ClockAnchor]) -> int:
    """By how much the unix clock moved against the monotonic one during the run, if by more than drift explains; else 0."""
    if len(anchors) < 2:
        return 0
    moved = anchors[-1].offset_ns - anchors[0].offset_ns
    elapsed_s = (anchors[-1].mono_ns - anchors[0].mono_ns) / 1e9
    allowed_ns = STEPPED_NS + int(elapsed_s * 500_000)  # 500 ppm: the most a time service slews
    return moved if abs(moved) > allowed_ns else 0


@dataclass(frozen=True)
class RankClock:
    """One rank's clock against the run's reference clock."""

    host: str
    """Ranks of one host share a clock. An unknown host stands alone."""
    offset_ns: int | None
    """What to subtract from this rank's times; None where nothing measured it."""
    bound_ns: int | None
    """Guaranteed largest error of `offset_ns`; None where unknown."""


def clocks_of_hosts(hosts: dict[int, str | None]) -> dict[int, RankClock]:
    """Clocks before any measurement: ranks on the first rank's host agree with it exactly, all others are unknown."""
    if not hosts:
        return {}
    reference = hosts[min(hosts)]
    first = min(hosts)
    clocks = {}
    for rank, host in hosts.items():
        shared = rank == first or (host is not None and host == reference)
        clocks[rank] = RankClock(host or f"unknown host of rank {rank}", 0 if shared else None, 0 if shared else None)
    return clocks
