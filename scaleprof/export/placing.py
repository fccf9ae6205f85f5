"""From a rank's own clock to the file's: the run's clock (`method` 2.3), counted from the first thing that any rank recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from scaleprof.align import RunView
from scaleprof.clock import RankClock
from scaleprof.intervals import Ints
from scaleprof.results import Table


@dataclass(frozen=True)
class Placing:
    """Where the times of every rank lie in the file."""

    clocks: Mapping[int, RankClock]
    """With an offset for each rank: where nothing measured it, one that begins a step, or the recording, together with the others."""
    origin_ns: int
    """What the file's times count from: unix time on the run's clock."""
    untold: tuple[int, ...]
    """The ranks whose clock cannot be compared with the others'."""

    def placed(self, rank: int, times_ns: Ints) -> Ints:
        """Times of a rank in ns from the origin; what was in order stays in order."""
        return on_clock_of_run(self.clocks[rank], times_ns) - self.origin_ns


def on_clock_of_run(clock: RankClock, times_ns: Ints) -> Ints:
    """Times of a rank on the run's clock, to whole ns. A clock that drifts less than a second a second keeps every order."""
    assert clock.offset_ns is not None, "a clock that cannot be compared has no place"
    drifted = np.rint((times_ns - clock.at_ns) * ((clock.drift_ppm or 0.0) / 1e6)).astype(np.int64)
    placed: Ints = times_ns - clock.offset_ns - drifted
    return placed


def placing_of(view: RunView) -> Placing:
    """The origin is the first time that any rank recorded whose clock is known, whatever part of the run is exported."""
    extents = {rank: table for rank, table in view.fact("extent").items() if len(table)}
    known = {rank: clock for rank, clock in view.clocks.of_rank.items() if clock.offset_ns is not None}
    firsts = [
        int(on_clock_of_run(known[rank], np.array(table["first_ns"], dtype=np.int64))[0])
        for rank, table in extents.items()
        if rank in known
    ]
    alone = [int(table["first_ns"][0]) for table in extents.values()]
    origin = min(firsts or alone, default=0)
    untold = tuple(rank for rank in view.ranks if rank not in known)
    clocks = dict(known)
    for rank in untold:
        clock = view.clocks.of_rank.get(rank) or RankClock(f"unknown host of rank {rank}", None, None)
        first = int(extents[rank]["first_ns"][0]) if rank in extents else origin
        shift = _by_steps(view, known, rank)
        clocks[rank] = replace(clock, offset_ns=first - origin if shift is None else shift, at_ns=first, drift_ppm=0.0)
    lowest = [
        int(on_clock_of_run(clocks[rank], np.array(extents[rank]["first_ns"], dtype=np.int64))[0])
        for rank in untold
        if rank in extents
    ]
    return Placing(clocks, min([origin, *lowest]), untold)


def _by_steps(view: RunView, known: Mapping[int, RankClock], rank: int) -> int | None:
    """The offset with which this rank begins a step together with a rank whose clock is known; None without such a step."""
    steps = view.fact("steps")
    mine = steps.get(rank)
    if mine is None or not len(mine):
        return None
    for other in sorted(set(known) & set(steps)):
        theirs = steps[other]
        common = np.intersect1d(np.asarray(mine["step"]), np.asarray(theirs["step"]))
        if len(common):
            own = _start_of(mine, int(common[0]))
            return own - int(on_clock_of_run(known[other], np.array([_start_of(theirs, int(common[0]))]))[0])
    return None


def _start_of(steps: Table, step: int) -> int:
    place = int(np.flatnonzero(np.asarray(steps["step"]) == step)[0])
    return int(steps["start_ns"][place])
