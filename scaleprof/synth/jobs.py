"""Jobs that need no file, by name: what differs from the defaults of `Spec`."""

from collections.abc import Mapping
from typing import Any

_TWO_CLOCKS: Mapping[str, Any] = {"clock_offset_ms": (0.0, 12.5), "clock_drift_ppm": (0.0, 2.0)}

BUILT_IN: Mapping[str, Mapping[str, Any]] = {
    "ddp": {
        "ranks": 4,
        "ranks_per_host": 2,
        "late_rank": 2,
        "late_ms": 3.0,
        **_TWO_CLOCKS,
    },
    "large": {
        "name": "large",
        "ranks": 8,
        "ranks_written": 1,
        "steps": 9,
        "layers": 32,
        "kernels_per_layer": 20,
        "jitter": 0.02,
        "compute_ms": 200.0,
        "gradient_bytes": 2_000_000_000,
        "buckets": 8,
        "stack_events": 10_000,
    },
    "fsdp": {
        "name": "fsdp",
        "strategy": "fsdp",
        "ranks": 4,
        "ranks_per_host": 2,
        "buckets": 12,
        "late_rank": 1,
        "late_ms": 4.0,
        "late_cause": "throttle",
        "inter_bandwidth_gbps": 20.0,
        **_TWO_CLOCKS,
    },
    "tp": {
        "name": "tp",
        "ranks": 4,
        "tensor": 4,
        "late_rank": 3,
        "late_ms": 12.0,
        "late_cause": "pause",
        "late_every": 2,
    },
    "pipeline": {
        "name": "pipeline",
        "ranks": 4,
        "pipeline": 4,
        "micro_batches": 8,
        "ranks_per_host": 2,
        **_TWO_CLOCKS,
    },
    "mesh": {
        "name": "mesh",
        "ranks": 16,
        "ranks_per_host": 8,
        "tensor": 2,
        "pipeline": 2,
        "micro_batches": 4,
        "layers": 8,
        "inter_bandwidth_gbps": 20.0,
        "inter_alpha_us": 25.0,
        "late_rank": 5,
        "late_ms": 5.0,
        "late_cause": "input",
        **_TWO_CLOCKS,
    },
    "damaged": {
        "name": "damaged",
        "ranks": 8,
        "ranks_per_host": 4,
        "late_rank": 6,
        "late_ms": 3.0,
        "dialect": "oneline2026",
        "drop": 0.05,
        "lose": ("seq",),
        "cut_ranks": (3,),
        "late_ranks": (5,),
        "late_start_steps": 2,
        "missing_ranks": (7,),
        "exit_us": 5.0,
        **_TWO_CLOCKS,
    },
}
"""`ddp`: small, with a late rank on the second host; `large`: one rank of 8 with 5 MB per step and 5 MB more; `fsdp`, `tp`, `pipeline`: one
strategy each; `mesh`: all of them but FSDP, over two hosts whose clocks disagree; `damaged`: what recordings lose, each once."""
