"""The training job of the demo and of the recorded samples: data parallel, compute emulated, gradients real.

It is a training script like any other: `torchrun --nproc-per-node 2 -m scaleprof.launch.demo_job --mode strong` runs it, and so does
`scaleprof sweep`. The ranks of a study are forked and call `train` (`study.py`). It needs torch.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import scaleprof
from scaleprof.launch.emulated import EmulatedModel

Mode = Literal["strong", "weak"]


@dataclass(frozen=True)
class Job:
    """What one run trains, the same on every rank."""

    mode: Mode = "strong"
    """`strong` splits one global batch over the ranks, `weak` gives each rank the same batch."""
    batch: int = 16
    """Samples a step: of the whole job when strong, of each rank when weak."""
    steps: int = 15
    layers: int = 8
    ms_per_sample: float = 100.0
    """The emulated compute of a forward and backward pass for one sample."""
    gradient_mb: float = 6.4
    """The size of all gradients, in MB (1e6 bytes)."""
    folder: str = "traces/"
    name: str = "emulated"
    redact: bool = False

    def local_batch(self, world_size: int) -> int:
        """Samples a step of one rank."""
        return max(1, self.batch // world_size) if self.mode == "strong" else self.batch


def train(job: Job) -> None:
    """Train for some steps with DistributedDataParallel over gloo, recorded."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    samples = torch.ones(job.local_batch(dist.get_world_size()), 1)
    model = EmulatedModel(layers=job.layers, ms_per_sample=job.ms_per_sample, gradient_mb=job.gradient_mb)
    parallel = DistributedDataParallel(model, bucket_cap_mb=model.bucket_mb)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=1e-3)
    with scaleprof.profile(job.folder, name=job.name, samples_per_step=len(samples), redact=job.redact) as profiler:
        profiler.emulated(
            compute_ms_per_step=job.ms_per_sample * len(samples),
            link=os.environ.get("SCALEPROF_LINK", ""),
        )
        for _ in range(job.steps):
            optimizer.zero_grad()
            parallel(samples).sum().backward()
            optimizer.step()
    dist.barrier()
    dist.destroy_process_group()


def _job(arguments: Sequence[str] | None = None) -> Job:
    defaults = Job()
    parser = argparse.ArgumentParser(description="A data-parallel job whose compute is emulated.")
    parser.add_argument("--mode", choices=get_args(Mode), default=defaults.mode)
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--layers", type=int, default=defaults.layers)
    parser.add_argument("--ms-per-sample", type=float, default=defaults.ms_per_sample)
    parser.add_argument("--gradient-mb", type=float, default=defaults.gradient_mb)
    parser.add_argument("--folder", default=defaults.folder)
    parser.add_argument("--name", default=defaults.name)
    parser.add_argument("--redact", action="store_true")
    return Job(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    train(_job())
