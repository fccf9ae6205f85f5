"""A rank within its share: operations and steps in any case, then the longest events, and curves in at most a fifth of it."""

from dataclasses import replace

import numpy as np
import pytest

from scaleprof.clock import RankClock
from scaleprof.errors import InputError
from scaleprof.export.flows import Links
from scaleprof.export.selection import EVER
from scaleprof.export.shard import (
    OPERATION_BYTES,
    POINT_BYTES,
    RANK_BYTES,
    SAID_BYTES,
    TRACK_BYTES,
    Plan,
    Shard,
    shard_of,
)
from scaleprof.export.thinning import SLICE_BYTES
from scaleprof.export.tracks import Split, Track
from scaleprof.trace import UNKNOWN, Kind, Trace
from tests.making import HOST, STREAM_7, STREAM_20, Event, Made, Step, make_trace

NOTHING = np.zeros(0, dtype=np.int64)
NO_LINKS = Links(NOTHING, NOTHING, NOTHING.astype(bool), NOTHING.astype(bool), NOTHING)
STEP = SLICE_BYTES + len('"step 0"') + len('"step"') + SAID_BYTES
"""A step's bytes."""
OPERATION = SLICE_BYTES + len('"sum"') + len('"COLLECTIVE,collective"') + OPERATION_BYTES + TRACK_BYTES
"""Those of the only operation, the first on its track."""
KERNEL = SLICE_BYTES + len('"gemm"') + len('"COMPUTE,compute"')
FIXED = RANK_BYTES + STEP + OPERATION


def plan(allowed_bytes: int, **changed: object) -> Plan:
    unknown = np.full(1, UNKNOWN, dtype=np.int64)
    everything = Plan(
        RankClock("host", 0, 0), 0, EVER, None, Split(unknown, unknown, unknown, unknown), NO_LINKS, {}, allowed_bytes
    )
    return replace(everything, **changed)  # type: ignore[arg-type]


def made(*kernels: tuple[int, int], host: tuple[tuple[int, int], ...] = (), **of_trace: object) -> Trace:
    """Kernels and calls of the host (start, length), one operation from 500 to 510, one step."""
    events = [Event(STREAM_7, Kind.COMPUTE, start, dur, "gemm") for start, dur in kernels]
    events += [Event(HOST, Kind.OP, start, dur, "aten") for start, dur in host]
    events.append(Event(STREAM_20, Kind.COLLECTIVE, 500, 10, "sum"))
    return make_trace(Made(events, [Step(0, 1000)], **of_trace))  # type: ignore[arg-type]


def shown(shard: Shard) -> dict[str, list[tuple[int, int]]]:
    """By track, start and end of its slices."""
    return {track.label: times(track) for track in shard.tracks}


def times(track: Track) -> list[tuple[int, int]]:
    return list(zip(track.start.tolist(), track.end.tolist(), strict=True))


def test_a_rank_that_fits_is_shown_whole_on_the_files_clock() -> None:
    clock = RankClock("host", 300, 0)
    shard = shard_of(made((100, 50), (200, 20), host=((90, 200),)), plan(1 << 20, clock=clock, origin_ns=-1_000))
    assert shown(shard) == {
        "steps": [(700, 1700)],
        "stream 7": [(800, 850), (900, 920)],
        "stream 20": [(1200, 1210)],
        "python": [(790, 990)],
    }
    assert (shard.left_out.count, shard.left_out.of, shard.points_left_out) == (0, 3, 0)


def test_what_lies_outside_the_window_is_no_part_of_it() -> None:
    shard = shard_of(made((100, 50), (150, 10), (300, 20)), plan(1 << 20, window=(150, 300)))
    assert shown(shard) == {"steps": [(0, 1000)], "stream 7": [(150, 160)]}
    assert shard.left_out.of == 1


@pytest.mark.parametrize(("room", "kept"), [(3, [1, 2, 3]), (2, [2, 3]), (1, [3]), (0, [])])
def test_operations_and_steps_stay_and_the_longest_events(room: int, kept: list[int]) -> None:
    trace = made((100, 1), (200, 2), (300, 3))
    allowed = FIXED + room * KERNEL + (TRACK_BYTES if room else 0)
    for more, count in ((0, room), (-1, max(room - 1, 0))):
        if room == 0 and more:
            continue
        shard = shard_of(trace, plan(allowed + more))
        lengths = [end - start for start, end in shown(shard).get("stream 7", [])]
        assert lengths == (kept if not more else [1, 2, 3][3 - count :]), more
        assert shown(shard)["stream 20"] == [(500, 510)] and shown(shard)["steps"] == [(0, 1000)]
        assert (shard.left_out.count, shard.left_out.of) == (3 - count, 3)


def test_a_kernel_stays_before_a_call_of_the_host_that_lasts_ten_times_as_long() -> None:
    shard = shard_of(made((100, 3), host=((90, 30),)), plan(FIXED + KERNEL + TRACK_BYTES))
    assert "stream 7" in shown(shard) and "python" not in shown(shard)
    assert (shard.left_out.longest_busy_ns, shard.left_out.longest_host_ns) == (0, 30)


def test_a_share_that_does_not_hold_the_operations_is_named() -> None:
    with pytest.raises(InputError, match=r"rank 0: its steps and operations alone need 0\.022 MB.*raise --budget"):
        shard_of(made((100, 1)), plan(FIXED - 1))
    assert shard_of(made((100, 1)), plan(FIXED)).left_out.count == 1


def test_curves_take_a_fifth_at_most() -> None:
    trace = made((100, 1), counters={"power": [float(value) for value in range(1000)]})
    # A fifth of 40,000 bytes has room for 50 values: every twentieth of a thousand.
    shard = shard_of(trace, plan(40_000))
    assert shard.series[0].values.tolist() == [20.0 * place for place in range(50)]
    assert shard.points_left_out == 950
    assert 40_000 * 0.2 // POINT_BYTES == 50


def test_curves_take_no_more_than_operations_leave() -> None:
    trace = made((100, 1), counters={"power": [1.0] * 20})
    shard = shard_of(trace, plan(FIXED + 10 * POINT_BYTES))
    assert len(shard.series[0]) == 10 and shard.points_left_out == 10
    assert shown(shard).get("stream 7") is None, "and events get what curves leave"


def test_a_rank_without_anything_is_empty() -> None:
    trace = make_trace(Made())
    nothing = Split(NOTHING, NOTHING, NOTHING, NOTHING)
    shard = shard_of(trace, plan(1 << 20, split=nothing))
    assert (list(shard.tracks), list(shard.series), shard.left_out.of) == ([], [], 0)


def test_a_track_costs_what_its_longest_event_does_not() -> None:
    trace = made((100, 3), (200, 1))
    assert "stream 7" not in shown(shard_of(trace, plan(FIXED + KERNEL + TRACK_BYTES - 1)))
    assert shown(shard_of(trace, plan(FIXED + KERNEL + TRACK_BYTES)))["stream 7"] == [(100, 103)]
    assert shown(shard_of(trace, plan(FIXED + 2 * KERNEL + TRACK_BYTES)))["stream 7"] == [(100, 103), (200, 201)]
