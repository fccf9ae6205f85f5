"""How fast a trace is read, and in how much memory: a generated GPU trace, through our reader, and two things to compare with.

The floor is what any reader pays: reading the file and inflating it. The standard library's `json` is what a straightforward reader uses.
Each measurement runs in a process of its own, so that its peak memory is its own; CPU seconds are counted, so a busy machine matters less.
"""

import argparse
import gzip
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

KERNELS = (
    "ampere_sgemm_128x64_nn",
    "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor>",
    "layer_norm",
)
BASE_US = 4_558_494_690_916


def events(steps: int) -> Iterator[str]:
    """The events of a launch-bound job: per step 400 launches, each with an operator and a kernel, and 20 all-reduces."""
    now, number = float(BASE_US), 0
    for step in range(steps):
        yield _event("user_annotation", f"ProfilerStep#{step}", now, 42_000.0, 1, '"External id": 1')
        for launch in range(420):
            number += 1
            if launch % 21:
                name, stream, more = (
                    KERNELS[launch % 3],
                    7,
                    '"grid": [640, 1, 1], "block": [128, 1, 1], "registers per thread": 32',
                )
            else:
                name, stream = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)", 20
                more = '"Collective name": "allreduce", "In msg nelems": 6553600, "Group size": 8, "dtype": "Float", "Process Group Name": "0"'
            yield _event("cpu_op", "aten::addmm", now, 60.2, 1, f'"External id": {number}')
            yield _event("cuda_runtime", "cudaLaunchKernel", now + 40, 8.1, 1, f'"correlation": {number}')
            device = f'"device": 0, "stream": {stream}, "correlation": {number}, {more}'
            yield _event("kernel", name, now + 55.125, 90.375, stream, device)
            now += 100.0


def _event(category: str, name: str, start_us: float, dur_us: float, thread: int, arguments: str) -> str:
    return (
        f'{{"ph": "X", "cat": "{category}", "name": "{name}", "pid": {0 if category == "kernel" else 4242}, "tid": {thread}, '
        f'"ts": {start_us:.3f}, "dur": {dur_us:.3f}, "args": {{{arguments}}}}}'
    )


def write_trace(path: Path, megabytes: float) -> int:
    """A trace of about that size, as torch.profiler exports it; its size in bytes before compression."""
    step_bytes = sum(len(event) + 2 for event in events(1))
    head = (
        '{"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "generated"}],\n'
        '"distributedInfo": {"backend": "nccl", "rank": 0, "world_size": 8},\n"baseTimeNanoseconds": 0,\n"traceEvents": [\n'
    )
    steps = max(1, round(megabytes * 1e6 / step_bytes))
    size = 0
    # In pieces: a process inherits the peak memory of the one that starts it.
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wb") as file:
        for number, event in enumerate(events(steps)):
            size += file.write(((",\n" if number else head) + event).encode())
        return size + file.write(b"\n]}\n")


def read_with_us(path: Path) -> None:
    """The whole way from a path to the columns of a rank."""
    from scaleprof.readers import find_runs, read_rank

    (run,) = find_runs([path.parent], ())
    (files,) = run.ranks.values()
    assert len(read_rank(files).events) > 1000


def read_with_json(path: Path) -> None:
    """A dictionary per event."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        assert len(json.load(file)["traceEvents"]) > 1000


def read_only(path: Path) -> None:
    """The bytes, inflated in pieces and thrown away."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        while file.read(1 << 20):
            pass


WAYS: dict[str, Callable[[Path], None]] = {"scaleprof": read_with_us, "json": read_with_json, "floor": read_only}


def measure(way: str, path: Path) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of one way, in a fresh process."""
    words = [sys.executable, __file__, "--measure", way, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds, peak_mb = (float(number) for number in done.stdout.split())
    return seconds, peak_mb


def main() -> None:
    """Print one line for each way and kind of file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=60.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        importlib.import_module("scaleprof.readers")  # loading code is not reading
        began = time.process_time()
        WAYS[given.measure[0]](Path(given.measure[1]))
        print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
        return
    print("file       reader      MB per CPU second   peak memory MB")
    for name in ("trace.json", "trace.json.gz"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            size = write_trace(path, given.megabytes)
            for way in WAYS:
                seconds, peak_mb = min(measure(way, path) for _ in range(given.repeats))
                print(
                    f"{path.suffix.lstrip('.'):10s} {way:10s} {size / 1e6 / seconds:18.0f} {peak_mb:16.0f}", flush=True
                )


if __name__ == "__main__":
    main()
