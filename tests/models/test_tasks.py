"""Schedules of independent tasks, on paper and against trying every one."""

from itertools import product

import numpy as np
import pytest

from scaleprof.models.tasks import longest_first, lower_bound


def test_grahams_example_on_paper() -> None:
    # Longest first takes 3, 3 | 2, 2 | 2 = 7; the best is 3 + 3 and 2 + 2 + 2.
    assert longest_first([3, 3, 2, 2, 2], 2) == (7, [0, 1, 0, 1, 0])
    assert lower_bound([3, 3, 2, 2, 2], 2) == 6
    assert lower_bound([9, 1, 1], 3) == 9, "nobody can share the longest"
    assert longest_first([], 3) == (0.0, [])
    assert lower_bound([], 3) == 0


@pytest.mark.parametrize("seed", range(40))
def test_longest_first_is_within_grahams_bound_of_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    workers, durations = int(rng.integers(1, 4)), rng.integers(1, 20, int(rng.integers(1, 8))).tolist()
    best = min(
        max(sum(d for d, at in zip(durations, taken, strict=True) if at == worker) for worker in range(workers))
        for taken in product(range(workers), repeat=len(durations))
    )
    found, taken = longest_first(durations, workers)
    assert found == max(
        sum(d for d, at in zip(durations, taken, strict=True) if at == worker) for worker in range(workers)
    )
    assert lower_bound(durations, workers) <= best <= found <= best * (4 / 3 - 1 / (3 * workers)) + 1e-9
