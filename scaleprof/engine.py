"""Map a function over items: here, or in processes. Nothing of the project is known in this file.

Processes are spawned, not forked: a fork of a process with threads (a notebook, a test with torch) can hang.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_serial(function: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[tuple[int, Answer]]:
    """Answers with the index of their item, one after the other."""
    for index, item in enumerate(items):
        yield index, function(item)


def map_processes(
    function: Callable[[Item], Answer], items: Sequence[Item], *, workers: int
) -> Iterator[tuple[int, Answer]]:
    """Answers with the index of their item, as they come. Items are started in the given order; `function` must be importable."""
    # Imported here: it costs more than a small analysis, which needs no processes.
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    with ProcessPoolExecutor(min(workers, len(items)), mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(function, item): index for index, item in enumerate(items)}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
