"""The picture of ranks by steps: what is folded, what is kept, and what is far off, with answers on paper."""

import numpy as np
import pytest

from scaleprof.analyses.stragglers import rank_grid, ranks
from scaleprof.analyses.stragglers.rank_grid import far_cells, far_ranks, grid_of, order_of
from scaleprof.results import Chart, Layer
from tests.making import Made, Step, make_view


def chart_of(*busy: list[int]) -> Chart:
    """Of ranks that are busy for so many ns in each step."""
    made = [
        Made(steps=[Step(1000 * n, 1000 * n + 500, blocked=500 - one) for n, one in enumerate(rank)]) for rank in busy
    ]
    result = ranks.conclude(make_view(made), None)
    assert result is not None
    return result.charts[0]


def layer(chart: Chart, name: str) -> Layer:
    return next(one for one in chart.layers if one.name == name)


def test_the_margins_are_the_median_of_a_step_and_the_mean_of_a_rank() -> None:
    chart = chart_of([100] * 8, [100] * 8, [100] * 7 + [140])
    above = layer(chart, "busy time, median over ranks (ms)")
    assert above.x == list(range(8))
    assert above.y == [1e-4] * 8
    # Rank 2 is busy for (7 x 100 + 140) / 8 = 105: an outlier, as all others are equal.
    far = layer(chart, "mean of rank, outlier")
    assert (far.x, far.y, far.text) == (["rank 2"], [0.05], ["+5.0 %"])
    assert layer(chart, "mean of rank").text == ["0.0 %", "0.0 %"]
    assert chart.layers[0].order == [2, 0, 1]
    [mark] = [one for one in chart.layers if one.style == "marks"]
    assert (mark.x, mark.y, mark.text) == ([7], ["rank 2"], ["rank 2, step 7: +40.0 %"])
    assert chart.layers[0].z is not None and chart.layers[0].z[2][7] == 0.4


def test_of_many_steps_neighbours_share_a_column_and_the_farthest_stands_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rank_grid, "MOST_CELLS", 6)  # three columns for two ranks, so each is of three steps
    busy = np.full((2, 8), 100.0)
    busy[0] = [130, 130, 130, 100, 95, 101, 100, 160]
    steady = np.array([False] * 3 + [True] * 4 + [False])
    grid = grid_of([0, 1], np.arange(10, 18), busy, steady, set())
    assert (grid.steps, grid.width) == ([10, 13, 16], 3)
    # Nothing in the first column is steady, so all of it counts; of the last one step 16 does.
    assert np.round(grid.cells, 6).tolist() == [[0.3, -0.05, 0.0], [0.0, 0.0, 0.0]]
    assert grid.steady.tolist() == [False, True, True]
    assert grid.median_ms.tolist() == pytest.approx([115.0, (100 + 97.5 + 100.5) / 3, 100.0])


def test_a_large_run_is_shown_as_a_whole_in_bounded_size() -> None:
    busy = np.full((1024, 1000), 100.0)
    busy[700] = 109.0
    grid = grid_of(list(range(1024)), np.arange(1000), busy, np.ones(1000, dtype=bool), {3, 700})
    assert len(grid.ranks) == rank_grid.MOST_ROWS
    assert grid.ranks == sorted(grid.ranks)
    assert {3, 700} <= set(grid.ranks)
    assert grid.cells.size <= rank_grid.MOST_CELLS
    assert grid.steps[-1] + grid.width >= 1000
    assert np.max(np.diff(grid.ranks)) < 16, "the sample is even"
    assert np.round(grid.cells[grid.ranks.index(700)], 6).tolist() == [0.09] * len(grid.steps)


def test_a_rank_is_far_by_what_ranks_usually_differ() -> None:
    # Median 100, absolute deviations 1 1 0 1 1 20: their median is 1, so the last one's score is 20 / 1.4826 = 13.5.
    assert far_ranks(np.array([99.0, 101, 100, 99, 101, 120])).tolist() == [False] * 5 + [True]
    # Median 100, deviations 10 10 0 10 10 20: 20 / 14.8 is no outlier.
    assert not far_ranks(np.array([90.0, 110, 100, 90, 110, 120])).any()
    assert not far_ranks(np.array([100.0, 200.0])).any(), "of two ranks neither is the odd one"
    assert not far_ranks(np.array([100.0, 100, 100, 101])).any(), "1 % is too little to be named"


def test_outlier_cells_are_of_steady_steps_and_apart_from_one_another() -> None:
    busy = np.full((4, 20), 100.0)
    busy[1] += 10  # a slow rank is no outlier cell
    busy[:, 9] += 30  # nor is a slow moment of all ranks
    busy[2, 4], busy[3, 5], busy[0, 15], busy[0, 19] = 150, 145, 140, 190
    steady = np.ones(20, dtype=bool)
    steady[19] = False
    marks = far_cells([4, 5, 6, 7], np.arange(20), busy, steady)
    # The median of all times is 100; rank 7's cell is beside that of rank 6.
    assert [(mark.rank, mark.step, round(mark.deviation, 6)) for mark in marks] == [(6, 4, 0.5), (4, 15, 0.4)]


def test_equal_ranks_keep_their_order() -> None:
    assert order_of(np.array([1.0, 3.0, 1.0, 3.0])) == [1, 3, 0, 2]
