"""Record jobs of the zoo: `python -m tests.collect.zoo FOLDER LEVEL JOB:RANKS...`, each into FOLDER/JOB-RANKS, from one import of torch."""

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

STEPS = 10


def _train(job: str, folder: Path, level: Level) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with scaleprof.profile(folder, level=level, name=job, sample_hz=0, windows=Windows(skip=3, steps=3)) as prof:
        if job != "tasks":
            dist.init_process_group("gloo")
        if job == "tasks":
            for trial in range(2):
                with prof.task(f"trial {trial}"):
                    step = JOBS["single"]()
                    for _ in range(STEPS // 2):
                        step()
        else:
            step = JOBS[job]()
            for _ in range(STEPS):
                step()
        if dist.is_initialized():
            dist.destroy_process_group()


def main(folder: Path, level: Level, wanted: list[str]) -> int:
    """Record each job, and say which failed; 1 if any did."""
    failed = 0
    for job, _, ranks in (text.partition(":") for text in wanted):
        settings = {"SCALEPROF_RUN_ID": f"zoo-{job}-{ranks}", "OMP_NUM_THREADS": "1"}
        train = partial(_train, job, folder / f"{job}-{ranks}", level)
        for failure in fork_ranks(train, int(ranks), environment=settings, timeout_s=90):
            failed = 1
            print(f"{job} on {ranks}: rank {failure.rank} {failure.reason}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    os._exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))  # type: ignore[arg-type]
