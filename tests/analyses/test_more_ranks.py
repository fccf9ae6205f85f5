"""What the run at each size says of other sizes."""

import pytest

from scaleprof.align import RunView
from scaleprof.analyses.scaling.more_ranks import replays_of
from scaleprof.analyses.scaling.study import Size
from scaleprof.models.statistics import Interval
from scaleprof.trace import Kind
from tests.analyses.making_graphs import late_rank, ranked, view_of
from tests.making import HOST


def size_of(view: RunView | None, ranks: int, per_sample_ms: float) -> Size:
    """A size at which a sample costs a rank so much."""
    rate = Interval(ranks / per_sample_ms, None, None)
    views = (view,) if view is not None else ()
    return Size(ranks, views, 8.0, Interval(0.0, None, None), rate, None, "", None, None, None, None, None, None)


def test_more_ranks_send_what_a_ring_sends() -> None:
    """A step of 200 ms on 2 ranks, of which 130 are computed (90 of them before the operation) and 60 are a ring all-reduce, the rest is idle."""
    view = view_of([late_rank(0), late_rank(1)])
    alone, two = replays_of("weak", [size_of(None, 1, 20.0), size_of(view, 2, 25.0)])
    assert alone is None
    assert two is not None and two.of == 2
    # Bytes of a ring: 0 on one rank, then 2 (N - 1) / N of them: 1, 3/2, 7/4. Without any one rank goes on at 90, the other at 100 ms.
    steps = {1: (140 + 150) / 2, 2: 200, 4: 230, 8: 245}
    for ranks, took in steps.items():
        place = two.ranks.tolist().index(ranks)
        assert two.times[place] == pytest.approx(25.0 * took / 200, rel=1e-6)
    assert two.ranks[-1] == 2 * 2**6


def test_a_batch_of_all_ranks_is_divided() -> None:
    view = view_of([late_rank(0), late_rank(1)])
    _, two = replays_of("strong", [size_of(None, 1, 20.0), size_of(view, 2, 25.0)])
    assert two is not None
    # Of four ranks each computes half: 45 ms before the operation of 90 ms and 20 after it, and rests 10; a sample is twice the part of its batch.
    place = two.ranks.tolist().index(4)
    assert two.times[place] == pytest.approx(25.0 * (45 + 90 + 20 + 10) / 200 * 2, rel=1e-6)


def test_a_run_without_a_graph_or_a_mixed_study_says_nothing() -> None:
    blind = view_of([ranked(rank, [(HOST, Kind.COMPUTE, 0, 10)], issued=[], waits=[], length=20) for rank in range(2)])
    assert replays_of("weak", [size_of(blind, 2, 25.0)]) == (None,)
    assert replays_of("mixed", [size_of(blind, 2, 25.0)]) == ()
