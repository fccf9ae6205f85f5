"""How long the compute stream of a GPU was blocked in communication, by the device's own clock and without ever synchronising with it.

`Work.wait` returns at once there: it tells the stream to wait. An event before and one after it measure that wait when the device gets there;
they are read two steps later, and only if the device has passed them. One event at each end of a step tells how long the step took the device: what
the recorder itself does between two steps is in none.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

STEPS_LATER = 2
MOST_PENDING = 64
MOST_EVENTS = 8192
"""Steps whose events may be pending, and their events. With more the device is far behind, and the oldest are given up instead of waited for."""
MOST_WAITS = 2000
"""Waits measured in one step."""


@dataclass
class _Step:
    number: int
    begin: Any
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    end: Any = None


class DeviceWaits:
    """Pairs of events around waits, and one event at each boundary; `finished` gives a line for each step that the device has left behind."""

    def __init__(self) -> None:
        self._steps: deque[_Step] = deque()
        self._spare: list[Any] = []
        self._events = 0
        self._stream: Any = None
        self.given_up = 0

    def begin_step(self, number: int) -> None:
        """A step begins on what is now the current stream. Without a device in use nothing happens."""
        if not _device_in_use():
            return
        import torch

        self._stream = torch.cuda.current_stream()
        mark = self._mark()
        if mark is None:
            return
        if self._steps and self._steps[-1].end is None:
            self._events -= 2 + 2 * len(self._steps.pop().pairs)  # it never ended
        self._steps.append(_Step(number, mark))
        self._events += 2
        while len(self._steps) > 1 and (len(self._steps) > MOST_PENDING or self._events > MOST_EVENTS):
            # Its events belong to a device that may still come by: they are not used again.
            self._events -= 2 + 2 * len(self._steps.popleft().pairs)
            self.given_up += 1

    def end_step(self) -> None:
        """The step has ended, and the recorder's own work begins."""
        if self._steps and self._steps[-1].end is None:
            self._steps[-1].end = self._mark()

    def settle(self, patience_s: float) -> None:
        """Give the device that long to pass what is pending: the job has ended. It is looked at, never waited for by its own means."""
        ends = [step.end for step in self._steps if step.end is not None]
        until = time.monotonic() + patience_s
        while ends and not ends[-1].query() and time.monotonic() < until:
            time.sleep(0.001)

    def around(self, wait: Callable[[], Any], stream: Any = None) -> Any:
        """Run `wait`, which makes a stream wait: between two events, if that is the stream which computes."""
        step = self._steps[-1] if self._steps else None
        if step is None or len(step.pairs) >= MOST_WAITS or not self._computes(stream):
            return wait()
        before = self._mark()
        try:
            return wait()
        finally:
            after = self._mark()
            if before is not None and after is not None:
                self._keep(step, before, after)

    def _keep(self, step: _Step, before: Any, after: Any) -> None:
        step.pairs.append((before, after))
        self._events += 2

    def begin(self) -> Any | None:
        """The event before a wait whose end is somewhere else; for `end`."""
        return self._mark() if self._steps else None

    def end(self, before: Any | None) -> None:
        """The event after it."""
        after = self._mark() if before is not None else None
        if after is not None and self._steps:
            self._keep(self._steps[-1], before, after)

    def finished(self, steps_later: int = STEPS_LATER) -> Iterator[Mapping[str, int]]:
        """Lines of steps that ended so many boundaries ago and that the device has passed: `i`, `wait` and `time` in ns, `n_wait`."""
        while len(self._steps) > steps_later and self._steps[0].end is not None and self._steps[0].end.query():
            step = self._steps.popleft()
            self._events -= 2 + 2 * len(step.pairs)
            waits_ms = [before.elapsed_time(after) for before, after in step.pairs]
            yield {
                "i": step.number,
                "wait": round(sum(waits_ms) * 1e6),
                "n_wait": len(waits_ms),
                "time": round(step.begin.elapsed_time(step.end) * 1e6),
            }
            self._spare += [step.begin, step.end, *(event for pair in step.pairs for event in pair)]

    def _computes(self, stream: Any) -> bool:
        import torch

        return bool((torch.cuda.current_stream() if stream is None else stream) == self._stream)

    def _mark(self) -> Any | None:
        """An event recorded on the current stream; none while a graph is being captured, which it would become a part of."""
        import torch

        if torch.cuda.is_current_stream_capturing():
            return None
        event: Any = self._spare.pop() if self._spare else torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


def _device_in_use() -> bool:
    import torch

    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
