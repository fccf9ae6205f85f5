"""The time a step waits for its data, and how many samples come: from torch's DataLoader, or from the loader given to `prof.steps()`."""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from scaleprof.collect.counters import StepCounters
from scaleprof.collect.guard import Guard
from scaleprof.collect.patching import Patches

Batch = TypeVar("Batch")


class InputPoints:
    """Measures every `next` of a DataLoader on the training thread; loaders inside loaders count once."""

    def __init__(self, counters: StepCounters, guard: Guard, in_job: Callable[[], bool]) -> None:
        self._counters = counters
        self._guard = guard
        self._in_job = in_job
        self._depth = 0

    def install(self, patches: Patches) -> None:
        """Wrap torch's DataLoader."""
        from torch.utils.data.dataloader import _BaseDataLoaderIter

        patches.wrap(_BaseDataLoaderIter, "__next__", self._around_next)

    def timed(self, loader: Iterable[Batch]) -> Iterator[Batch]:
        """The batches of any loader, their waiting time measured."""
        batches = iter(loader)
        while True:
            try:
                batch = self._measure(lambda: next(batches))
            except StopIteration:
                return
            yield cast(Batch, batch)

    def _around_next(self, original: Any) -> Any:
        @functools.wraps(original)
        def measured_next(iterator: Any) -> Any:
            if not self._in_job():
                return original(iterator)
            return self._measure(lambda: original(iterator))

        return measured_next

    def _measure(self, fetch: Any) -> Any:
        self._depth += 1
        start = time.perf_counter_ns()
        try:
            batch = fetch()
        finally:
            self._depth -= 1
            if not self._depth:
                self._counters.input_ns += time.perf_counter_ns() - start
                self._counters.seen("data")
        if not self._depth:
            with self._guard.on("samples could not be counted in the batches"):  # a batch may be anything
                self._counters.batch_samples += samples_in(batch)
        return batch


def samples_in(batch: Any) -> int:
    """The first dimension of the first tensor in a batch; 0 where there is none."""
    shape = getattr(batch, "shape", None)
    if isinstance(shape, Sequence):
        return int(shape[0]) if len(shape) else 0
    if isinstance(batch, Mapping):
        parts: Iterable[Any] = batch.values()
    elif isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        parts = batch
    else:
        return 0
    return next((count for part in parts if (count := samples_in(part))), 0)
