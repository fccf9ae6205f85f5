"""Independent tasks on several workers: how good a schedule is, and how good one can be (`method` 6.5)."""

import heapq
from collections.abc import Sequence


def lower_bound(durations: Sequence[float], workers: int) -> float:
    """No schedule ends sooner: neither before the work is shared out evenly nor before the longest task has ended."""
    return max(sum(durations) / workers, max(durations, default=0.0))


def longest_first(durations: Sequence[float], workers: int) -> tuple[float, list[int]]:
    """When the last task ends if each worker that is free takes the longest one left, and who takes each.

    At most 4/3 - 1/(3 workers) of the best possible (Graham 1969).
    """
    free = [(0.0, worker) for worker in range(workers)]
    taken = [0] * len(durations)
    for task in sorted(range(len(durations)), key=lambda task: -durations[task]):
        ends, worker = heapq.heappop(free)
        taken[task] = worker
        heapq.heappush(free, (ends + durations[task], worker))
    return max(ends for ends, _ in free), taken
