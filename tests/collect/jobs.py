"""Jobs of several ranks, run in a process of their own that imports torch once and forks: `python -m tests.collect.jobs JOB FOLDER`."""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel

import scaleprof
from scaleprof.launch.ranks import fork_ranks

STEPS = 10
HIDDEN = 512
GRADIENT_BYTES = (HIDDEN * HIDDEN + HIDDEN) * 4


def _train(*, timer: Path | None = None) -> None:
    torch.set_num_threads(1)
    model = DistributedDataParallel(torch.nn.Linear(HIDDEN, HIDDEN))
    if timer is not None:
        model._set_ddp_runtime_logging_sample_rate(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    waits = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        if dist.get_rank() == 1:
            torch.randn(1500, 1500) @ torch.randn(1500, 1500)  # rank 1 is late, so rank 0 waits
        model(torch.randn(8, HIDDEN)).sum().backward()
        optimizer.step()
        if timer is not None:
            # Values lag one iteration: what is read after step n was measured in it or the one before.
            waits.append(dict(model._get_ddp_logging_data()))
    if timer is not None:
        Path(f"{timer}.{dist.get_rank()}").write_text(json.dumps(waits, default=str))


def data_parallel(folder: Path) -> None:
    """Under a launcher's environment, the group destroyed inside the recorded function."""

    @scaleprof.profile(folder, sample_hz=0)
    def train() -> None:
        dist.init_process_group("gloo")
        _train(timer=folder / "timer")
        dist.destroy_process_group()

    train()


def tasks(folder: Path) -> None:
    """Ranks that never talk to one another."""

    @scaleprof.profile(folder, sample_hz=0)
    def train() -> None:
        model = torch.nn.Linear(4, 4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
            model(torch.randn(2, 4)).sum().backward()
            optimizer.step()

    train()


def sharded_optimizer(folder: Path) -> None:
    """ZeRO-1: the optimizer that shards its state calls an inner one."""
    from torch.distributed.optim import ZeroRedundancyOptimizer

    @scaleprof.profile(folder, sample_hz=0)
    def train() -> None:
        dist.init_process_group("gloo")
        model = DistributedDataParallel(torch.nn.Linear(8, 8))
        optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=0.1)
        for _ in range(6):
            model(torch.randn(2, 8)).sum().backward()
            optimizer.step()
        dist.destroy_process_group()

    train()


def _spawned(rank: int, folder: Path, port: int) -> None:
    @scaleprof.profile(folder, sample_hz=0)
    def train() -> None:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
        _train()
        dist.destroy_process_group()

    train()


def spawned(folder: Path) -> None:
    """Ranks that no launcher gave an environment, as torch.multiprocessing.spawn makes them; the shell is SLURM's only task."""
    import socket

    os.environ |= {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    torch.multiprocessing.spawn(_spawned, (folder, port), nprocs=2)


FORKED: dict[str, Callable[[Path], None]] = {
    "data_parallel": data_parallel,
    "tasks": tasks,
    "sharded_optimizer": sharded_optimizer,
}


def main(name: str, folder: Path) -> None:
    """Run one job on two ranks; exit code 1 if a rank failed."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "spawned":
        spawned(folder)
        return
    settings = {"SCALEPROF_RUN_ID": "test-run", "OMP_NUM_THREADS": "1"}
    failures = fork_ranks(partial(FORKED[name], folder), 2, environment=settings, timeout_s=60)
    os._exit(1 if failures else 0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
