"""A job small enough for paper: 2 ranks, 2 steps, 2 buckets; rank 1 is 2 ms late. All times of a step in us since its predecessor's end.

               rank 0             rank 1
idle           0 - 1024           0 - 1024           12 until the host goes on, 1000 for the batch, 12 for the launch of the copy
copy           1024 - 1524        1024 - 1524
forward        1524 - 4524        1524 - 6524        2 kernels, 3000 together; 2000 more on rank 1
backward 1     4524 - 7524        6524 - 9524
all-reduce 1   7524 - 11724       9524 - 11724       2200 after the last arrival: 2 hops of 100, 20 MB at 10 GB/s
backward 2     7524 - 10524       9524 - 12524
all-reduce 2   11724 - 14724      12524 - 14724      rank 0 is ready at 10524, but its stream is not free
optimizer      14724 - 15724      14724 - 15724
"""

from typing import Any

from scaleprof.synth.spec import Spec

FIELDS: dict[str, Any] = {
    "name": "tiny",
    "ranks": 2,
    "ranks_per_host": 1,
    "steps": 2,
    "layers": 2,
    "kernels_per_layer": 1,
    "buckets": 2,
    "compute_ms": 10.0,
    "forward_share": 0.3,
    "optimizer_share": 0.1,
    "gradient_bytes": 40_000_000,
    "alpha_us": 100.0,
    "bandwidth_gbps": 10.0,
    "launch_us": 12.0,
    "input_ms": 1.0,
    "copy_ms": 0.5,
    "late_rank": 1,
    "late_ms": 2.0,
}

WINDOW_US = 15_724
ACCOUNT_US = {
    0: {
        "compute": 10_000,
        "exposed_comm": 4_200,
        "exposed_wait": 800,
        "exposed_transfer": 3_400,
        "exposed_memory": 500,
        "idle": 1_024,
        "comm": 7_200,
        "overlapped": 3_000,
    },
    1: {
        "compute": 12_000,
        "exposed_comm": 2_200,
        "exposed_wait": 0,
        "exposed_transfer": 2_200,
        "exposed_memory": 500,
        "idle": 1_024,
        "comm": 4_400,
        "overlapped": 2_200,
    },
}
WAITS_US = {(1, 0): 2_000, (1, 1): 0, (2, 0): 800, (2, 1): 0}
"""By all-reduce of the step and rank."""
TRANSFER_US = 2_200


def tiny(**changed: Any) -> Spec:
    """The job, or one that differs in some fields."""
    return Spec(**{**FIELDS, **changed})
