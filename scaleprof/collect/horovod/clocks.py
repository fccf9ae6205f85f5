"""The clocks of the hosts of a Horovod job against that of rank 0, from rounds in which all ranks meet.

Nobody leaves a round before everybody has come to it. So on one true clock each rank comes before rank 0 leaves, and leaves after rank 0 came:
every round bounds the offset between the two from both sides, and the tightest bounds of all rounds hold (Cristian 1989, a round trip taken apart).
A round is an all-gather of a few numbers, not `hvd.barrier()`, because it can be given up: where a rank does not come, nobody waits longer than the
budget.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

from scaleprof.clock import ClockAnchor, ClockOffset, HostClock
from scaleprof.collect.guard import Guard
from scaleprof.collect.horovod.calls import OWN_TENSORS
from scaleprof.collect.machine.clocks import BUDGET_S, SWITCH, UNSYNCHRONISED, HostClocks, clock_id
from scaleprof.collect.written.about import Known

ROUNDS = 10
_STALL = "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"
"""Where this is set Horovod ends the job when one rank alone waits for an operation: no place for one that may be given up."""


class HorovodClocks(HostClocks):
    """Measures once at the start and once at the end, where the job has several hosts; without a store, in rounds of Horovod's own."""

    def __init__(self, known: Known, guard: Guard) -> None:
        super().__init__(known, 0, guard)

    def _measure(self, phase: str) -> bool:
        if phase in self._done or self._failed:
            return False
        self._failed = True
        met = False
        with self._guard.on(UNSYNCHRONISED):
            import horovod.torch as hvd

            if hvd.is_initialized():
                self._done.add(phase)
                self._known.clock = self._known.clock or HostClock(clock_id())
                met = self._wanted(hvd)
                if met:
                    self._meet(hvd, phase)
            self._failed = False
        return met

    def _wanted(self, hvd: Any) -> bool:
        switch = os.environ.get(SWITCH, "").lower()
        if hvd.size() < 2 or switch in ("0", "off", "false"):
            return False
        if float(os.environ.get(_STALL) or 0) > 0:
            self._guard.warn(UNSYNCHRONISED, f"{_STALL} is set")
            return False
        return switch == "always" or bool(hvd.local_size() != hvd.size())

    def _meet(self, hvd: Any, phase: str) -> None:
        began = time.monotonic()
        deadline = began + BUDGET_S
        anchor = ClockAnchor.now()
        here: list[tuple[int, int]] = []
        for number in range(ROUNDS):
            came = time.perf_counter_ns()
            if _gathered(hvd, f"{phase}.{number}", [came], deadline) is None:
                raise TimeoutError(f"not all ranks came to round {number + 1} within {BUDGET_S:g} s")
            here.append((came, time.perf_counter_ns()))
        anchored = (anchor.real_before_ns, anchor.mono_ns, anchor.real_after_ns)
        mine = [*anchored, *(time for round in here for time in round)]
        all_ranks = _gathered(hvd, f"{phase}.times", mine, time.monotonic() + BUDGET_S)
        host = _gathered(hvd, f"{phase}.hosts", [int(clock_id(), 16)], time.monotonic() + BUDGET_S)
        spent_ms = (time.monotonic() - began) * 1e3
        self._known.overhead["clock_sync_ms"] = self._known.overhead.get("clock_sync_ms", 0.0) + spent_ms
        if all_ranks is None or host is None:
            raise TimeoutError(f"the times of all ranks did not come within {BUDGET_S:g} s")
        reference = f"{host[0]:08x}"
        own, before = clock_id(), self._known.clock
        offsets = before.offsets if before else ()
        if own != reference:
            theirs = all_ranks[: len(mine)]
            there = list(zip(theirs[3::2], theirs[4::2], strict=True))
            offsets = (*offsets, offset_of_rounds(here, there, anchor, ClockAnchor(*theirs[:3])))
        self._known.clock = HostClock(own, reference, offsets)


def offset_of_rounds(
    here: Sequence[tuple[int, int]], there: Sequence[tuple[int, int]], anchor: ClockAnchor, anchor_there: ClockAnchor
) -> ClockOffset:
    """From the times at which this rank and rank 0 came to each round and left it, in ns of each one's monotonic clock."""
    apart = anchor.offset_ns - anchor_there.offset_ns
    least = max(came - left for (came, _), (_, left) in zip(here, there, strict=True)) + apart
    most = min(left - came for (_, left), (came, _) in zip(here, there, strict=True)) + apart
    return ClockOffset(
        mono_ns=here[-1][1],
        unix_ns=here[-1][1] + anchor.offset_ns,
        offset_ns=(least + most) // 2,
        bound_ns=max(most - least + 1, 0) // 2 + anchor.half_width_ns + anchor_there.half_width_ns,
        rounds=len(here),
    )


def _gathered(hvd: Any, name: str, numbers: Sequence[int], deadline: float) -> list[int] | None:
    """The numbers of all ranks, those of rank 0 first; None where a rank did not come before the deadline."""
    import torch

    tensor = torch.tensor(numbers, dtype=torch.int64)
    handle = hvd.allgather_async(tensor, name=f"{OWN_TENSORS}clock.{name}")
    while not hvd.poll(handle):
        if time.monotonic() > deadline:
            return None
        time.sleep(0)  # others may need the core to come
    found: list[int] = hvd.synchronize(handle).tolist()
    return found
