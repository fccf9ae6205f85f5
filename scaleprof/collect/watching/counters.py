"""What adds up during one step: blocked, input, optimizer and backward time, cores waited for. Differences between two readings make a line."""

import os
import time
from dataclasses import dataclass, field
from typing import Any

_SCHEDSTAT = "/proc/thread-self/schedstat"


class RunQueue:
    """How long the calling thread could run but had no core, from the kernel's schedstat; absent on other systems."""

    def __init__(self) -> None:
        try:
            # Opened by the training thread: the file stands for the thread that opened it.
            self._file: int | None = os.open(_SCHEDSTAT, os.O_RDONLY)
        except OSError:
            self._file = None

    @property
    def available(self) -> bool:
        """Whether this system tells."""
        return self._file is not None

    def ns(self) -> int:
        """Total so far, 0 where unknown."""
        if self._file is None:
            return 0
        try:
            return int(os.pread(self._file, 64, 0).split()[1])
        except OSError:  # a training may close every file that it did not open
            self._file = None
            return 0

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@dataclass
class StepCounters:
    """Sums since the start of the recording; `line` takes the difference to the last boundary."""

    runq: RunQueue
    wait_ns: int = 0
    waits: int = 0
    input_ns: int = 0
    optimizer_ns: int = 0
    backward_ns: int = 0
    backward_passes: int = 0
    runq_wait_ns: int = 0
    """Cores waited for while blocked in communication or in an emulated sleep: no fault of the machine's."""
    batch_samples: int = 0
    _absent: set[str] = field(default_factory=lambda: {"data", "bwd", "micro", "opt", "wait", "n_wait", "runq_wait"})
    """What nothing has measured yet: absent from the lines, not 0."""
    _before: dict[str, int] = field(default_factory=dict)
    _first: dict[str, int] = field(default_factory=dict)

    def begin_step(self) -> None:
        """Remember everything as it stands."""
        self._before = self._now()
        self._first = self._first or self._before

    def begin_step_at_first(self) -> None:
        """Go back to what the first step began with."""
        self._before = self._first

    @property
    def untouched(self) -> bool:
        """Whether nothing of the training's has been counted since the step began: no batch, no backward pass."""
        now = {"samples": self.batch_samples, "data": self.input_ns, "micro": self.backward_passes}
        return all(self._before.get(name) == value for name, value in now.items())

    def line(self) -> dict[str, Any]:
        """What this step added, in the keys of a step line; absent where not recorded."""
        line = {name: value - self._before[name] for name, value in self._now().items() if name not in self._absent}
        if not self.runq.available:
            line.pop("runq", None)
            line.pop("runq_wait", None)
        if not line["samples"]:
            del line["samples"]
        return line

    def seen(self, *names: str) -> None:
        """From now on these are measured: 0 means that there was none."""
        self._absent.difference_update(names)

    def _now(self) -> dict[str, int]:
        return {
            "cpu": time.thread_time_ns(),
            "runq": self.runq.ns(),
            "runq_wait": self.runq_wait_ns,
            "data": self.input_ns,
            "bwd": self.backward_ns,
            "micro": self.backward_passes,
            "opt": self.optimizer_ns,
            "wait": self.wait_ns,
            "n_wait": self.waits,
            "samples": self.batch_samples,
        }
