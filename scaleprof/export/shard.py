"""One rank as a viewer shows it: slices on tracks and curves, within its share of the bytes. A detail: it sees events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.clock import RankClock
from scaleprof.errors import InputError
from scaleprof.export.flows import Links
from scaleprof.export.lanes import Lane, event_lanes, texts_of, told_lanes
from scaleprof.export.placing import on_clock_of_run
from scaleprof.export.selection import inside
from scaleprof.export.series import Meaning, Series, series_of, thinned
from scaleprof.export.thinning import LeftOut, bytes_of, longest
from scaleprof.export.tracks import Split, Track, operations_of, tracks_of_lane
from scaleprof.intervals import Ints
from scaleprof.trace import Ids, Kind, Trace

SERIES_SHARE = 0.2
"""Most of a rank's bytes that curves may take."""
POINT_BYTES = 160
"""A value of a curve has no more in the file; likewise the next two, besides a slice's name and category."""
OPERATION_BYTES = 1_100
"""An operation with its parts, what is said of it, and arrows."""
SAID_BYTES = 150
"""What is said of a step or task."""
TRACK_BYTES = 600
"""A track's name and place."""
RANK_BYTES = 20_000
"""What is said of the rank, and the tracks beside its events."""


@dataclass(frozen=True)
class Plan:
    """How a rank is exported."""

    clock: RankClock
    origin_ns: int
    window: tuple[int, int]
    """In ns of the file."""
    steps: tuple[int, int] | None
    """The first and the last one, if some were chosen."""
    split: Split
    links: Links
    meanings: Mapping[str, Meaning]
    """What sampled values are."""
    allowed_bytes: int

    def placed(self, times_ns: Ints) -> Ints:
        """Times of the rank in ns of the file."""
        return on_clock_of_run(self.clock, times_ns) - self.origin_ns


@dataclass(frozen=True)
class Shard:
    """One rank."""

    tracks: Sequence[Track]
    series: Sequence[Series]
    left_out: LeftOut
    points_left_out: int


def shard_of(trace: Trace, plan: Plan) -> Shard:
    """What is exported of a rank. Raises InputError where not even its steps and operations fit."""
    start = plan.placed(trace.events.start_ns)
    end = plan.placed(trace.events.start_ns + trace.events.dur_ns)
    told = told_lanes(trace, plan.placed, plan.window, plan.steps)
    sampled = series_of(trace.samples, plan.placed(trace.samples.time_ns), plan.window, plan.meanings)
    rows = inside(start, end, plan.window)
    cost = bytes_of(texts_of(trace))[trace.events.name[rows]]
    cost[_first_shown(trace.events.lane[rows], (end - start)[rows])] += TRACK_BYTES
    needed = np.isin(rows, trace.comm.row)
    left = plan.allowed_bytes - _bytes_of(told) - int((cost[needed] + OPERATION_BYTES).sum())
    if left < 0:
        raise InputError(
            f"rank {trace.rank}: its steps and operations alone need {(plan.allowed_bytes - left) / 1e6:.2g} MB, and its share of the budget is "
            f"{plan.allowed_bytes / 1e6:.2g} MB: raise --budget, or choose fewer --ranks or --steps"
        )
    series = thinned(sampled, int(min(left, SERIES_SHARE * plan.allowed_bytes)) // POINT_BYTES)
    points = sum(map(len, series))
    is_busy = trace.on_device[rows] | (trace.kinds[rows] == Kind.COMPUTE)
    kept, left_out = longest(
        rows[~needed], (end - start)[rows[~needed]], is_busy[~needed], cost[~needed], left - points * POINT_BYTES
    )
    chosen = np.sort(np.concatenate((rows[needed], kept)))
    operations = operations_of(trace, plan.split, plan.links, plan.placed)
    tracks = [
        track for lane in (*told, *event_lanes(trace, chosen, start, end)) for track in tracks_of_lane(lane, operations)
    ]
    return Shard(tracks, series, left_out, sum(map(len, sampled)) - points)


def _first_shown(lane: Ids, dur: Ints) -> Ints:
    """Of each lane the longest event: while any is shown that is, and with it the track."""
    order = np.lexsort((-dur, lane))
    first: Ints = order[np.append(True, lane[order][1:] != lane[order][:-1])[: len(order)]]
    return first


def _bytes_of(lanes: Sequence[Lane]) -> int:
    """The most that lanes take which are shown in any case."""
    total = RANK_BYTES
    for lane in lanes:
        beside = SAID_BYTES if lane.operation is None else OPERATION_BYTES
        total += int(bytes_of(lane.texts)[lane.name].sum()) + beside * len(lane)
    return total
