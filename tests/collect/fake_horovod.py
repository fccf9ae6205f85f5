"""A Horovod of one process that stands in `sys.modules`: its functions, by name and in the modules that import them by name, and its timeline."""

import json
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch


class Job:
    """What the fake Horovod was asked, and how it behaves."""

    def __init__(self, size: int = 2, local_size: int = 2) -> None:
        self.size, self.local_size = size, local_size
        self.is_up = False
        self.dynamic = False
        self.timeline: Path | None = None
        self.calls: list[str] = []
        self.hangs_in_start = False
        self.late = False
        """Other ranks never come to an all-gather."""
        self.results: dict[int, Any] = {}

    def issue(self, name: str, result: Any) -> int:
        self.calls.append(name)
        self.results[len(self.calls)] = result
        return len(self.calls)


def install(monkeypatch: pytest.MonkeyPatch, job: Job) -> Any:
    """The module `horovod.torch`."""
    modules = {name: types.ModuleType(name) for name in (
        "horovod", "horovod.common", "horovod.common.basics", "horovod.torch", "horovod.torch.mpi_ops",
        "horovod.torch.compression", "horovod.torch.optimizer",
    )}  # fmt: skip
    modules["horovod"].__version__ = "0.28.1"  # type: ignore[attr-defined]
    basics = _basics(job)
    ops = modules["horovod.torch.mpi_ops"]
    for name, function in _operations(job, basics).items():
        setattr(ops, name, function)
        setattr(modules["horovod.torch"], name, function)
    modules["horovod.common.basics"].HorovodBasics = type(basics)  # type: ignore[attr-defined]
    for name in ("allreduce_async_", "synchronize"):
        setattr(modules["horovod.torch.optimizer"], name, getattr(ops, name))
    for name, value in _compressors().items():
        setattr(modules["horovod.torch.compression"], name, value)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    return modules["horovod.torch"]


def _basics(job: Job) -> Any:
    class HorovodBasics:
        def init(self) -> None:
            import os

            job.dynamic = os.environ.get("HOROVOD_TIMELINE") == "DYNAMIC"
            job.is_up = True

        def shutdown(self) -> None:
            job.calls.append("shutdown")
            job.is_up = False

        def start_timeline(self, path: str) -> None:
            if job.hangs_in_start:
                time.sleep(1.0)
            if not job.dynamic:
                raise ValueError("Set HOROVOD_TIMELINE=DYNAMIC to enable dynamic timeline usage.")
            job.calls.append("start_timeline")
            job.timeline = Path(path)
            job.timeline.write_text("[\n" + json.dumps({"name": "process_name", "ph": "M", "pid": 0, "args": {}}))

        def stop_timeline(self) -> None:
            job.calls.append("stop_timeline")
            assert job.timeline is not None
            job.timeline.write_text(job.timeline.read_text() + "]")

    return HorovodBasics()


def _operations(job: Job, basics: Any) -> dict[str, Any]:
    def allreduce_async_(tensor: Any, average: Any = None, name: str | None = None, process_set: Any = None) -> int:
        return job.issue(f"allreduce.{name}", tensor)

    def grouped_allreduce_async(tensors: Any, average: Any = None, name: str | None = None) -> int:
        return job.issue(f"grouped_allreduce.{name}", tensors)

    def allgather_async(tensor: Any, name: str | None = None) -> int:
        return job.issue(f"allgather.{name}", torch.cat([tensor] * job.size))

    def synchronize(handle: int) -> Any:
        time.sleep(0.002)
        return job.results.pop(handle)

    return {
        "allreduce_async_": allreduce_async_,
        "grouped_allreduce_async": grouped_allreduce_async,
        "allgather_async": allgather_async,
        "synchronize": synchronize,
        "poll": lambda handle: not job.late,
        "barrier": lambda: None,
        "init": lambda: basics.init(),
        "shutdown": lambda: basics.shutdown(),
        "start_timeline": basics.start_timeline,
        "stop_timeline": basics.stop_timeline,
        "is_initialized": lambda: job.is_up,
        "rank": lambda: 0,
        "size": lambda: job.size,
        "local_rank": lambda: 0,
        "local_size": lambda: job.local_size,
        "gloo_enabled": lambda: True,
    }


def _compressors() -> dict[str, Any]:
    class Compressor:
        pass

    class NoneCompressor(Compressor):
        @staticmethod
        def compress(tensor: Any) -> Any:
            return tensor, None

        @staticmethod
        def decompress(tensor: Any, ctx: Any) -> Any:
            return tensor

    class FP16Compressor(Compressor):
        @staticmethod
        def compress(tensor: Any) -> Any:
            return tensor.half(), tensor.dtype

        @staticmethod
        def decompress(tensor: Any, ctx: Any) -> Any:
            return tensor.to(ctx)

    return {"Compressor": Compressor, "NoneCompressor": NoneCompressor, "FP16Compressor": FP16Compressor}
