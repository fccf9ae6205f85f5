"""Jobs made by hand whose collectives take known times: one trace of torch.profiler for each rank, with NCCL's metadata."""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BASE_NS = 1_700_000_000_000_000_000
STREAM, COMPUTE_STREAM = 20, 7
GAP_US = 50.0


@dataclass(frozen=True)
class Operation:
    """One collective of one group."""

    op: str
    """As NCCL's metadata calls it: `allreduce`, `_allgather_base`, ..."""
    elements: int
    """Of the large side."""
    transfer_us: float
    ranks: tuple[int, ...]
    dtype: str = "Float"
    name: str = "0"
    description: str = ""
    early_us: Mapping[int, float] | None = None
    """How much earlier than the last rank these come: what they wait."""
    under_compute: bool = False


def write_ranks(folder: Path, world: int, operations: Sequence[Operation], *, steps: int = 1) -> Path:
    """The traces of all ranks: the operations one after the other in each step, between two kernels of compute."""
    for rank in range(world):
        events: list[dict[str, Any]] = []
        at, number = 100.0, 1
        for step in range(steps):
            begun = at
            events += _kernel("gemm", at, 40, number, stream=COMPUTE_STREAM)
            at, number = at + GAP_US, number + 1
            for one in operations:
                early = max((one.early_us or {}).values(), default=0.0)
                arrival = at + early - (one.early_us or {}).get(rank, 0.0)
                end = at + early + one.transfer_us
                if rank in one.ranks:
                    events += _kernel(
                        _NAMES.get(one.op, "AllReduce"), arrival, end - arrival, number, stream=STREAM, **_said(one)
                    )
                    if one.under_compute:
                        events += _kernel("gemm", arrival, end - arrival, number + 1, stream=COMPUTE_STREAM)
                at, number = end + GAP_US, number + 2
            events += _kernel("gemm", at, 40, number, stream=COMPUTE_STREAM)
            at, number = at + GAP_US, number + 1
            events.append(_complete(f"ProfilerStep#{step}", "user_annotation", begun - 10, at - begun + 5))
            at += GAP_US
        trace = {"schemaVersion": 1, "baseTimeNanoseconds": BASE_NS, "traceEvents": events}
        trace["distributedInfo"] = {"backend": "nccl", "rank": rank, "world_size": world}
        (folder / f"rank{rank}.json.gz").write_bytes(gzip.compress(json.dumps(trace).encode()))
    return folder


_NAMES = {
    "_allgather_base": "ncclDevKernel_AllGather_RING_LL",
    "_reduce_scatter_base": "ncclDevKernel_ReduceScatter_Sum_f32_RING_LL",
}


def _said(one: Operation) -> dict[str, Any]:
    small = one.elements // len(one.ranks)
    sides = {"_allgather_base": (small, one.elements), "_reduce_scatter_base": (one.elements, small)}
    into, out = sides.get(one.op, (one.elements, one.elements))
    return {
        "Collective name": one.op,
        "In msg nelems": into,
        "Out msg nelems": out,
        "dtype": one.dtype,
        "Group size": len(one.ranks),
        "Process Group Name": one.name,
        "Process Group Description": one.description,
        "Process Group Ranks": str(list(one.ranks)),
    }


def _complete(name: str, category: str, ts: float, dur: float, **more: Any) -> dict[str, Any]:
    return {"ph": "X", "cat": category, "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": dur, **more}


def _kernel(name: str, ts: float, dur: float, number: int, *, stream: int, **said: Any) -> list[dict[str, Any]]:
    """A launch and what it started."""
    name = name if name == "gemm" or name.startswith("nccl") else f"ncclDevKernel_{name}_Sum_f32_RING_LL"
    launch = _complete("cudaLaunchKernel", "cuda_runtime", ts - 5, 3, args={"correlation": number})
    known = {"correlation": number, "stream": stream, **said}
    return [launch, _complete(name, "kernel", ts, dur, args=known) | {"pid": 0, "tid": stream}]
