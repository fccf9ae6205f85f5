"""Record jobs of the zoo: `python -m tests.collect.zoo FOLDER LEVEL JOB:RANKS...`, each into FOLDER/JOB-RANKS, from one import of torch.

`python -m tests.collect.zoo FOLDER table` records every job on every number of ranks and prints the table of `README.md` beside this file.
"""

import importlib
import os
import sys
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

import scaleprof
from scaleprof.collect.options import Windows
from scaleprof.launch.ranks import fork_ranks
from scaleprof.run import Level
from tests.collect.zoo.jobs import JOBS
from tests.collect.zoo.paper import sizes
from tests.collect.zoo.table import table

STEPS = 10
_IMPORTED_ONCE = (
    "torch.distributed.fsdp", "torch.distributed.tensor.parallel", "torch.distributed.pipelining", "torch.distributed.optim",
    "torch.distributed.device_mesh", "torch.distributed._composable.replicate", "torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook",
)  # fmt: skip


def _train(job: str, folder: Path, level: Level) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with scaleprof.profile(folder, level=level, name=job, sample_hz=0, windows=Windows(skip=3, steps=3)) as prof:
        if job == "tasks":
            for trial in range(2):
                with prof.task(f"trial {trial}"):
                    step = JOBS["single"]()
                    for _ in range(STEPS // 2):
                        step()
            return
        dist.init_process_group("gloo")
        step = JOBS[job]()
        for _ in range(STEPS):
            step()
        dist.destroy_process_group()


def record(folder: Path, level: Level, wanted: list[str]) -> list[str]:
    """Record each job; a sentence for each rank that failed."""
    for module in _IMPORTED_ONCE:
        importlib.import_module(module)
    failures = []
    for job, _, ranks in (text.partition(":") for text in wanted):
        settings = {"SCALEPROF_RUN_ID": f"zoo-{job}-{ranks}", "OMP_NUM_THREADS": "1"}
        train = partial(_train, job, folder / f"{job}-{ranks}", level)
        for failure in fork_ranks(train, int(ranks), environment=settings, timeout_s=90):
            failures.append(f"{job} on {ranks}: rank {failure.rank} {failure.reason}")
    return failures


def main(arguments: list[str]) -> int:
    """1 if any job failed."""
    folder, level, *wanted = arguments
    every = [f"{job}:{ranks}" for job in [*JOBS, "tasks"] for ranks in sizes(job)]
    failures = record(Path(folder), "timeline" if level == "table" else level, wanted or every)  # type: ignore[arg-type]
    if level == "table":
        sys.stdout.write(table(Path(folder)))
    sys.stderr.write("".join(f"{failure}\n" for failure in failures))
    sys.stdout.flush()
    return int(bool(failures))


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
