"""A data-parallel job that Horovod joins, recorded: `horovodrun -np 2 -H localhost:2 python -m tests.horovod.job FOLDER`.

399,370 parameters in six tensors, so that 1,597,480 bytes of gradients are sent in each step, half as many with fp16 compression. Compute is a sleep
of known length, a third of it in the forward pass, as in the other samples: real compute does not scale on a machine with fewer cores than ranks.
"""

import argparse
import os
import signal
import time
from itertools import pairwise

import horovod.torch as hvd
import torch
from torch import nn

import scaleprof.horovod
from scaleprof.launch.emulated import _emulated_compute

PARAMETERS = 399_370
SIZES = (256, 512, 512, 10)
BACKWARD_SHARE = 2 / 3


class Sleeping(nn.Module):
    """A linear layer behind which the device is busy for a while, in both passes."""

    def __init__(self, inputs: int, outputs: int, seconds: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.seconds = seconds

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        weighted = self.linear(samples)
        slept: torch.Tensor = _emulated_compute(
            weighted, self.seconds * (1 - BACKWARD_SHARE), self.seconds * BACKWARD_SHARE
        )
        return slept


def train(arguments: argparse.Namespace) -> None:
    """Some steps of SGD."""
    torch.set_num_threads(1)
    hvd.init()
    seconds = arguments.batch // hvd.size() * arguments.ms_per_sample / 1e3
    layers = [Sleeping(*pair, seconds / 3) for pair in pairwise(SIZES)]
    model = nn.Sequential(*layers)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    compression = hvd.Compression.fp16 if arguments.fp16 else hvd.Compression.none
    optimizer = hvd.DistributedOptimizer(
        torch.optim.SGD(model.parameters(), lr=1e-3),
        named_parameters=model.named_parameters(),
        compression=compression,
    )
    with scaleprof.horovod.session() as profiler:
        profiler.emulated(compute_ms_per_step=seconds * 1e3)
        for step in range(arguments.steps):
            if arguments.killed and step == arguments.steps - 2:
                os.kill(os.getpid(), signal.SIGKILL)
            samples = torch.randn(arguments.batch // hvd.size(), SIZES[0])
            optimizer.zero_grad()
            if hvd.rank() == arguments.late_rank:
                time.sleep(arguments.late_ms / 1e3)
            model(samples).square().mean().backward()
            optimizer.step()
    if arguments.shut_down:
        hvd.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--name", default="horovod")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--ms-per-sample", type=float, default=40.0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--fp16", action="store_true")
    parser.add_argument("--late-rank", type=int, default=-1)
    parser.add_argument("--late-ms", type=float, default=80.0)
    parser.add_argument("--rank-ticks", action="store_true")
    parser.add_argument("--shut-down", action="store_true")
    parser.add_argument("--level", default="timeline")
    parser.add_argument("--killed", action="store_true", help="all ranks at once, two steps before the end")
    arguments = parser.parse_args()
    recorded = scaleprof.horovod.profile(
        arguments.folder,
        level=arguments.level,
        name=arguments.name,
        windows=scaleprof.Windows(skip=1, steps=2),
        samples_per_step=arguments.batch // int(os.environ["HOROVOD_SIZE"]),
        redact=True,
        rank_ticks=arguments.rank_ticks,
    )
    recorded(train)(arguments)
    assert not {"HOROVOD_TIMELINE", "HOROVOD_CACHE_CAPACITY"} & set(os.environ), "the environment was not put back"


if __name__ == "__main__":
    main()
