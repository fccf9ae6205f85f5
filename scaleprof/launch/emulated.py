"""An emulated device: a model whose compute is a sleep of known length, and whose gradients are real and really sent.

Real compute does not scale on a machine with fewer cores than ranks, and a verdict drawn from it is wrong. A device that sleeps leaves the
cores to the communication, as a GPU does, and the right answer is known in advance. This file is used inside the training process: it needs torch.
"""

from typing import Any

import torch
from torch import nn

from scaleprof.collect import emulated_sleep

BACKWARD_SHARE = 2.0 / 3.0
"""The backward pass of a layer costs twice its forward pass, as for matrix products."""


class EmulatedModel(nn.Sequential):
    """Layers that take a known time: `ms_per_sample` for a forward and backward pass through all of them."""

    def __init__(self, *, layers: int, ms_per_sample: float, gradient_mb: float) -> None:
        elements = max(1, int(gradient_mb * 1e6 / layers) // torch.float32.itemsize)
        super().__init__(*(EmulatedLayer(elements, ms_per_sample / layers) for _ in range(layers)))
        self.bucket_mb = elements * torch.float32.itemsize / 2**20
        """The size of one layer's gradient in DDP's unit: with it as bucket size, every layer is sent as soon as it is ready."""


class EmulatedLayer(nn.Module):
    """One layer: real parameters, a little real arithmetic, and the rest of its time asleep."""

    def __init__(self, elements: int, ms_per_sample: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(elements))
        self.ms_per_sample = ms_per_sample

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """The samples, later."""
        seconds = self.ms_per_sample * samples.shape[0] / 1e3
        # The weight enters before the sleep, so that in the backward pass its gradient is ready after it, as on a real device.
        weighted = samples + self.weight.flatten()[:1]
        slept: torch.Tensor = _emulated_compute(weighted, seconds * (1 - BACKWARD_SHARE), seconds * BACKWARD_SHARE)
        return slept


@torch.library.custom_op("scaleprof::compute", mutates_args=())
def _emulated_compute(samples: torch.Tensor, forward_s: float, backward_s: float) -> torch.Tensor:
    emulated_sleep(forward_s)
    return samples.clone()


def _remember(ctx: Any, inputs: tuple[torch.Tensor, float, float], output: torch.Tensor) -> None:
    ctx.backward_s = inputs[2]


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    emulated_sleep(ctx.backward_s)
    return gradient, None, None


_emulated_compute.register_autograd(_backward, setup_context=_remember)
