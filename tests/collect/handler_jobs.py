"""Jobs of two ranks with a profiler of their own: `python -m tests.collect.handler_jobs JOB FOLDER`."""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import scaleprof
from scaleprof.launch.ranks import fork_ranks

STEPS = 14
SLEEP_S = 0.02
PAUSE_S = 1.2
"""Between the two windows of `windows`: no step may last as long."""


def train(profiler: Any, steps: int, *, accumulate: int = 1, pause_after: int = -1) -> None:
    """One batch after the other; the profiler hears of each."""
    torch.set_num_threads(1)
    model = DistributedDataParallel(torch.nn.Linear(64, 64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for number in range(steps):
        time.sleep(SLEEP_S)
        model(torch.randn(8, 64)).sum().backward()
        if (number + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
        if number == pause_after:
            time.sleep(PAUSE_S)
        profiler.step()


def profiler_of(handler: Any, **schedule: int) -> Any:
    return torch.profiler.profile(schedule=torch.profiler.schedule(**schedule), on_trace_ready=handler)


def windows(folder: Path) -> None:
    """Two windows of three steps, with a long pause in a step that no window holds."""
    dist.init_process_group("gloo")
    with profiler_of(scaleprof.trace_handler(folder, samples_per_step=8), wait=2, warmup=1, active=3, repeat=2) as prof:
        train(prof, STEPS, pause_after=6)
    dist.destroy_process_group()


def accumulating(folder: Path) -> None:
    """Four batches to a step of the optimizer, and a window that begins and ends in the middle of one."""
    dist.init_process_group("gloo")
    with profiler_of(scaleprof.trace_handler(folder, samples_per_step=32), wait=1, warmup=1, active=16, repeat=1) as p:
        train(p, 20, accumulate=4)
    dist.destroy_process_group()


def both(folder: Path) -> None:
    """Recorded, and profiled by the training itself, into the same folder."""

    @scaleprof.profile(folder, sample_hz=0)
    def recorded() -> None:
        dist.init_process_group("gloo")
        with profiler_of(scaleprof.trace_handler(folder), wait=7, warmup=1, active=3, repeat=1) as prof:
            train(prof, STEPS)
        dist.destroy_process_group()

    recorded()


JOBS: dict[str, Callable[[Path], None]] = {"windows": windows, "accumulating": accumulating, "both": both}


def main(name: str, folder: Path) -> None:
    """Run one job on two ranks; exit code 1 if a rank failed."""
    settings = {"SCALEPROF_RUN_ID": "test-run", "OMP_NUM_THREADS": "1"}
    failures = fork_ranks(partial(JOBS[name], folder), 2, environment=settings, timeout_s=60)
    os._exit(1 if failures else 0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
