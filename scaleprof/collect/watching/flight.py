"""What every collective carries: read from c10d's flight recorder, which torch keeps by itself, on gloo and NCCL alike.

The recorder is a ring: it is read before it can run over, and entries seen before are dropped by their number. What other versions of torch
call things is put into the words of 2.13 (dump version 2.10) here, and nowhere else; where nothing can be read there is nothing, with a warning.
gloo has no reduce-scatter and carries it out as an all-reduce, under which name it stands in the recorder too: the calls are watched.
"""

import functools
import json
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from scaleprof.collect.guard import Guard
from scaleprof.collect.patching import Patches

RING_ENTRIES = 2000  # torch's default
_DUMPS = ("_dump_fr_trace_json", "_dump_nccl_trace_json")
"""What gives the ring as JSON: since torch 2.13 of every backend, before it of NCCL alone."""
_KEPT = (
    "record_id", "collective_seq_id", "p2p_seq_id", "is_p2p", "process_group", "profiling_name", "input_sizes", "output_sizes",
    "input_dtypes", "output_dtypes", "time_created_ns", "time_discovered_started_ns", "time_discovered_completed_ns", "duration_ms", "state",
)  # fmt: skip
"""Of an entry; the rest says nothing about the transfer."""
_OLD_KEYS = {"seq_id": "collective_seq_id", "pg_name": "process_group", "pg_id": "process_group"}
_REDUCE_SCATTERS = (
    "_reduce_scatter_base", "reduce_scatter", "reduce_scatter_single", "reduce_scatter_single_coalesced", "reduce_scatter_tensor_coalesced",
)  # fmt: skip
_FUNCTIONAL = (
    "reduce_scatter_single",
    "reduce_scatter_single_coalesced",
    "reduce_scatter_tensor",
    "reduce_scatter_tensor_coalesced",
)
MOST_CALLS = 2 * RING_ENTRIES
"""Reduce-scatters remembered until the ring is read."""


class FlightRecorder:
    """New entries since the last reading, of those made after it was built: the ring still holds what was before the recording."""

    def __init__(self) -> None:
        self.lost = 0
        """Entries that the ring had lost before they were read."""
        self._since_ns = time.time_ns()
        self._last = -1
        self._read_until = 0
        self._reduce_scatters: deque[tuple[int, int]] = deque(maxlen=MOST_CALLS)
        size = os.environ.get("TORCH_FR_BUFFER_SIZE") or os.environ.get("TORCH_NCCL_TRACE_BUFFER_SIZE") or ""
        self._read_at = (int(size) if size.isdecimal() else RING_ENTRIES) * 3 // 4

    @staticmethod
    def available() -> bool:
        """Whether this torch has a flight recorder that can be read."""
        return _dump() is not None

    def install(self, patches: Patches, in_job: Callable[[], bool], guard: Guard) -> None:
        """Watch the calls of reduce-scatters."""
        import torch
        import torch.distributed._functional_collectives as functional

        around = functools.partial(self._around, in_job)
        for owner, names in ((torch.distributed.ProcessGroup, _REDUCE_SCATTERS), (functional, _FUNCTIONAL)):
            for name in names:
                if hasattr(owner, name):
                    patches.wrap(owner, name, around)

    def is_due(self) -> bool:
        """Whether so many collectives were issued that the ring may soon run over."""
        since = self.issued() - self._read_until
        return since > self._read_at or since < 0  # less than before: a group was destroyed, and its count with it

    def new_entries(self) -> list[dict[str, Any]]:
        """Entries not seen before, in order. Costs about 20 us an entry in the ring."""
        dump = _dump()
        if dump is None:
            return []
        self._read_until = self.issued()
        held = json.loads(dump(True, False)).get("entries", [])
        entries = [_in_our_words(entry) for entry in held if entry["record_id"] > self._last]
        entries = [entry for entry in entries if entry["time_created_ns"] >= self._since_ns]
        entries.sort(key=lambda entry: int(entry["record_id"]))
        if entries:
            first = entries[0]["record_id"]
            self.lost += first - self._last - 1 if self._last >= 0 else 0
            self._last = entries[-1]["record_id"]
        self._name_reduce_scatters(entries)
        return entries

    @staticmethod
    def issued() -> int:
        """How many collectives this process has issued so far."""
        import torch.distributed as dist

        if not dist.is_initialized():
            return 0
        groups: list[Any] = list(dist.distributed_c10d._world.pg_map)
        return sum(int(group._get_sequence_number_for_group()) for group in groups)

    def _around(self, in_job: Callable[[], bool], original: Callable[..., Any]) -> Callable[..., Any]:
        import torch

        compiling = torch.compiler.is_compiling

        @functools.wraps(original)
        def reduce_scatter(*arguments: Any, **keywords: Any) -> Any:
            if compiling() or not in_job():
                return original(*arguments, **keywords)
            start = time.time_ns()
            try:
                return original(*arguments, **keywords)
            finally:
                self._reduce_scatters.append((start, time.time_ns()))

        return reduce_scatter

    def _name_reduce_scatters(self, entries: list[dict[str, Any]]) -> None:
        """An all-reduce of gloo's that was issued within a call of a reduce-scatter is one. Calls and entries are both in order of time."""
        calls = sorted(self._reduce_scatters)
        place = 0
        for entry in entries:
            if entry["profiling_name"] != "gloo:all_reduce":
                continue
            while place < len(calls) and calls[place][1] < entry["time_created_ns"]:
                place += 1
            if place < len(calls) and calls[place][0] <= entry["time_created_ns"]:
                entry["profiling_name"] = "gloo:reduce_scatter"
        self._reduce_scatters.clear()


def _dump() -> Callable[[bool, bool], Any] | None:
    import torch

    if not torch.distributed.is_available():
        return None
    functions = (getattr(torch._C._distributed_c10d, name, None) for name in _DUMPS)
    return next((function for function in functions if function is not None), None)


def _in_our_words(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry with the keys of torch 2.13, those that say something about the transfer."""
    renamed = {_OLD_KEYS.get(key, key): value for key, value in entry.items()}
    kept = {key: renamed[key] for key in _KEPT if renamed.get(key) not in (None, 0, False) or key == "record_id"}
    return {"time_created_ns": 0, "profiling_name": "", **kept}
