"""What every collective carries: read from c10d's flight recorder, which torch keeps by itself, on gloo and NCCL alike.

The recorder is a ring: it is read before it can run over, and entries seen before are dropped by their number. Adapter for torch 2.13
(dump version 2.10); another torch may lack it or name things differently, then there is nothing, with a warning.
"""

import json
import os
import time
from typing import Any

RING_ENTRIES = 2000  # torch's default


class FlightRecorder:
    """New entries since the last reading, of those made after it was built: the ring still holds what was before the recording."""

    def __init__(self) -> None:
        self._since_ns = time.time_ns()
        self._last = -1
        self._read_until = 0
        size = os.environ.get("TORCH_FR_BUFFER_SIZE") or os.environ.get("TORCH_NCCL_TRACE_BUFFER_SIZE") or ""
        self._read_at = (int(size) if size.isdecimal() else RING_ENTRIES) * 3 // 4

    @staticmethod
    def available() -> bool:
        """Whether this torch has a flight recorder that can be read."""
        import torch

        return torch.distributed.is_available() and hasattr(torch._C._distributed_c10d, "_dump_fr_trace_json")

    def is_due(self) -> bool:
        """Whether so many collectives were issued that the ring may soon run over."""
        return self.issued() - self._read_until > self._read_at

    def new_entries(self) -> list[dict[str, Any]]:
        """Entries not seen before, in order. Costs about 20 us an entry in the ring."""
        import torch

        self._read_until = self.issued()
        dump = json.loads(torch._C._distributed_c10d._dump_fr_trace_json(True, False))  # type: ignore[attr-defined]
        entries = [
            entry
            for entry in dump.get("entries", [])
            if entry["record_id"] > self._last and entry["time_created_ns"] >= self._since_ns
        ]
        entries.sort(key=lambda entry: int(entry["record_id"]))
        if entries:
            self._last = entries[-1]["record_id"]
        return entries

    @staticmethod
    def issued() -> int:
        """How many collectives this process has issued so far."""
        import torch.distributed as dist

        if not dist.is_initialized():
            return 0
        groups: list[Any] = list(dist.distributed_c10d._world.pg_map)
        return sum(int(group._get_sequence_number_for_group()) for group in groups)
