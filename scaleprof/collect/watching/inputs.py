"""The time a step waits for its data, and how many samples come: from torch's DataLoader, or from the loader given to `prof.steps()`."""

import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol, TypeVar, cast

from scaleprof.collect.guard import Guard
from scaleprof.collect.patching import Patches
from scaleprof.collect.watching.counters import StepCounters

Batch = TypeVar("Batch")

SPAN = "scaleprof::input"
_LOST = "time spent waiting for input is missing"


class Job(Protocol):
    """What is asked of the recording."""

    def in_job(self) -> bool:
        """Whether this is the recorded thread of the recorded process, and the recording runs."""

    def span(self, name: str) -> Any | None:
        """A span for the trace, None while no window is open."""


class InputPoints:
    """Measures every `next` of a DataLoader on the training thread; loaders inside loaders count once."""

    def __init__(self, counters: StepCounters, guard: Guard, job: Job) -> None:
        self.batches = 0
        self.shape: dict[str, Any] | None = None
        """Shape and type of the first tensor in the last batch."""
        self._counters = counters
        self._guard = guard
        self._job = job
        self._depth = 0
        self._trained_on = False
        self._without_gradients = 0

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
            if not self._job.in_job():
                return original(iterator)
            return self._measure(lambda: original(iterator))

        return measured_next

    def _measure(self, fetch: Any) -> Any:
        span = self._guard.call(_LOST, lambda: self._job.span(SPAN), None) if not self._depth else None
        self._depth += 1
        start = time.perf_counter_ns()
        try:
            with span if span is not None else nullcontext():
                batch = fetch()
        finally:
            self._depth -= 1
            if not self._depth:
                with self._guard.on(_LOST):
                    self._counters.input_ns += time.perf_counter_ns() - start
                    self._counters.seen("data")
        if not self._depth:
            with self._guard.on("samples could not be counted in the batches"):  # a batch may be anything
                self._count(first_tensor(batch))
        return batch

    def settle(self) -> None:
        """A step ends: batches fetched without gradients were an evaluation's, unless the step took no others."""
        if not self._trained_on:
            self._counters.batch_samples += self._without_gradients
        self._trained_on, self._without_gradients = False, 0

    def _count(self, tensor: Any | None) -> None:
        import torch

        samples = int(tensor.shape[0]) if tensor is not None and len(tensor.shape) else 0
        if not torch.is_grad_enabled():
            self._without_gradients += samples
            return
        self._trained_on = True
        self.batches += 1
        self._counters.batch_samples += samples
        if tensor is not None:
            shape = [int(size) for size in tensor.shape]
            self.shape = {"shape": shape, "dtype": str(getattr(tensor, "dtype", ""))}


def first_tensor(batch: Any) -> Any | None:
    """The first thing in a batch that has a shape; None where there is none."""
    if isinstance(getattr(batch, "shape", None), Sequence):
        return batch
    if isinstance(batch, Mapping):
        parts: Iterable[Any] = batch.values()
    elif isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        parts = batch
    else:
        return None
    return next((tensor for part in parts if (tensor := first_tensor(part)) is not None), None)
