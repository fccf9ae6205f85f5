"""Clocks: from a rank's monotonic clock to unix time, and from one rank's time to another's, with the error of each.

Step lines are written on the monotonic clock, which no time service sets back; profilers write unix time. An anchor ties the two.
Between hosts nothing ties clocks until an offset is measured: an unmeasured offset is `None`, never 0.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STEPPED_NS = 1_000_000  # two anchors of one rank that disagree by more than this: somebody set the clock during the run
MOST_DRIFT_PPM = 1000  # two time services that each slew as fast as they may, 500 ppm, against one another
UNMEASURED_PPM = 100  # two crystals of the usual 50 ppm: what a drift that was not measured may be


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
class ClockOffset:
    """One measurement of a host's unix clock against that of rank 0's host, all in ns."""

    mono_ns: int
    """When, on this host's monotonic clock; the same moment on its unix clock is `unix_ns`."""
    unix_ns: int
    offset_ns: int
    """This host's unix clock minus that of rank 0's host."""
    bound_ns: int
    """Guaranteed largest error of `offset_ns`: half the least round trip, and what reading two clocks at once costs."""
    rounds: int = 1

    @classmethod
    def of_rounds(
        cls, rounds: Sequence[tuple[int, int, int]], here: ClockAnchor, there: ClockAnchor
    ) -> "ClockOffset | None":
        """From round trips (sent here, seen there, back here; each on its own monotonic clock): the shortest counts.

        The other side saw it at some time between sending and coming back, so half a round trip is the largest error (Cristian 1989).
        """
        if not rounds:
            return None
        sent, seen, back = min(rounds, key=lambda one: one[2] - one[0])
        middle = (sent + back) // 2
        return cls(
            mono_ns=middle,
            unix_ns=middle + here.offset_ns,
            offset_ns=middle + here.offset_ns - (seen + there.offset_ns),
            bound_ns=(back - sent + 1) // 2 + here.half_width_ns + there.half_width_ns,
            rounds=len(rounds),
        )


@dataclass(frozen=True)
class HostClock:
    """Which clock a rank has, and how far that is from the clock of rank 0's host."""

    id: str
    """The same on ranks that share a clock; says nothing else about the host."""
    reference: str = ""
    """The id of rank 0's clock; empty where rank 0 was never heard."""
    offsets: tuple[ClockOffset, ...] = ()
    """At the start and at the end; on one rank of each host, and none on those that share rank 0's clock."""


@dataclass(frozen=True)
class RankClock:
    """One rank's clock against the run's reference clock."""

    host: str
    """Ranks of one host share a clock. An unknown host stands alone."""
    offset_ns: int | None
    """What to subtract from this rank's times at `at_ns`; None where nothing measured it."""
    bound_ns: int | None
    """Guaranteed largest error of `offset_ns`; None where unknown."""
    at_ns: int = 0
    """This rank's unix time of the first measurement."""
    drift_ppm: float | None = 0.0
    """By how much `offset_ns` grows, in millionths of the time; None where it was measured only once."""
    until_ns: int = 0
    """This rank's unix time of the last measurement."""
    half_width_ns: int | None = None
    """Of the 95 % interval around `offset_ns`, from the ends of collectives; None where there is no more than the bound."""

    @property
    def error_ns(self) -> int | None:
        """Half of the 95 % interval; where nothing but a bound is known, that."""
        return self.half_width_ns if self.half_width_ns is not None else self.bound_ns

    def offset_at(self, time_ns: int) -> int | None:
        """What to subtract from this rank's times around this one of them."""
        if self.offset_ns is None:
            return None
        return self.offset_ns + round((time_ns - self.at_ns) * (self.drift_ppm or 0.0) / 1e6)

    def bound_at(self, time_ns: int) -> int | None:
        """Largest error of `offset_at`: outside what was measured it grows as clocks may drift."""
        if self.bound_ns is None or self.drift_ppm == 0.0:
            return self.bound_ns
        outside_ns = max(self.at_ns - time_ns, time_ns - self.until_ns, 0)
        return self.bound_ns + round(outside_ns * UNMEASURED_PPM / 1e6)


def clocks_of_hosts(
    hosts: Mapping[int, str | None], recorded: Mapping[int, HostClock | None] | None = None
) -> dict[int, RankClock]:
    """Every rank's clock: ranks on the reference's host agree with it exactly, others as measured, those never measured are unknown.

    The reference is the clock of rank 0's host, of the lowest rank's where rank 0 was never heard of.
    """
    if not hosts:
        return {}
    told = {rank: clock for rank, clock in (recorded or {}).items() if clock is not None}
    keys = _ids(hosts, told)
    first = min(hosts)
    heard = next((clock.reference for clock in told.values() if clock.reference), None)
    reference = heard if heard is not None and any(clock.offsets for clock in told.values()) else keys[first]
    measured: dict[str | None, list[ClockOffset]] = {}  # the ranks of a host may have taken turns
    for clock in told.values():
        measured[clock.id] = [*measured.get(clock.id, ()), *clock.offsets]
    clocks = {}
    for rank, host in hosts.items():
        name, key = host or f"unknown host of rank {rank}", keys[rank]
        shared = key == reference if reference is not None else rank == first
        clocks[rank] = RankClock(name, 0, 0) if shared else _measured(name, measured.get(key, ()))
    return clocks


def _ids(hosts: Mapping[int, str | None], told: Mapping[int, HostClock]) -> dict[int, str | None]:
    return {rank: told[rank].id if rank in told else host for rank, host in hosts.items()}


def shared_clocks(hosts: Mapping[int, str | None], recorded: Mapping[int, HostClock | None]) -> list[tuple[int, ...]]:
    """The ranks of each clock; a rank of which no host is known stands alone."""
    ids = _ids(hosts, {rank: clock for rank, clock in recorded.items() if clock is not None})
    found: dict[str | int, list[int]] = {}
    for rank in sorted(ids):
        name = ids[rank]
        found.setdefault(rank if name is None else name, []).append(rank)
    return [tuple(ranks) for ranks in found.values()]


def _measured(host: str, offsets: Sequence[ClockOffset]) -> RankClock:
    """A line through the first and the last measurement; unknown without any, and where somebody set a clock in between."""
    unknown = RankClock(host, None, None, drift_ppm=None)
    if not offsets:
        return unknown
    first = min(offsets, key=lambda offset: offset.unix_ns)
    last = max(offsets, key=lambda offset: offset.unix_ns)
    elapsed_ns, moved_ns = last.unix_ns - first.unix_ns, last.offset_ns - first.offset_ns
    if elapsed_ns <= 0:
        return RankClock(host, first.offset_ns, first.bound_ns, first.unix_ns, None, first.unix_ns)
    if abs(moved_ns) > STEPPED_NS + elapsed_ns * MOST_DRIFT_PPM // 1_000_000:
        return unknown
    bound_ns = max(first.bound_ns, last.bound_ns)  # of a line between two points, each within its own bound
    return RankClock(host, first.offset_ns, bound_ns, first.unix_ns, moved_ns / elapsed_ns * 1e6, last.unix_ns)
