"""torch's own SyncBatchNorm on the CPU: its function for autograd is torch's, only the five kernels below it, which exist for GPUs alone, are these.

For samples and tests, which have no GPU: importing this file gives the process the kernels. `nn.SyncBatchNorm` itself refuses CPU tensors, and
DistributedDataParallel refuses it, so the module around the function is one of ours.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules._functions import SyncBatchNorm

_LIBRARY: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]  # kept: kernels go when it goes


def _others(x: Tensor) -> list[int]:
    return [dimension for dimension in range(x.dim()) if dimension != 1]


def _wide(values: Tensor, x: Tensor) -> Tensor:
    return values.view([1, -1, *([1] * (x.dim() - 2))])


def batch_norm_stats(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    mean, variance = x.mean(_others(x)), x.var(_others(x), unbiased=False)
    return mean, (variance + eps).rsqrt()


def batch_norm_gather_stats_with_counts(
    x: Tensor,
    means: Tensor,
    invstds: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float,
    eps: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    share = (counts / counts.sum()).view(-1, 1)
    mean = (means * share).sum(0)
    variance = ((invstds.pow(-2) - eps + means.pow(2)) * share).sum(0) - mean.pow(2)
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance, momentum)
    return mean, (variance + eps).rsqrt()


def batch_norm_elemt(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, eps: float
) -> Tensor:
    assert weight is not None and bias is not None
    return (x - _wide(mean, x)) * _wide(invstd * weight, x) + _wide(bias, x)


def batch_norm_backward_reduce(
    grad: Tensor, x: Tensor, mean: Tensor, invstd: Tensor, weight: Tensor | None, of_x: bool, of_w: bool, of_b: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    total = grad.sum(_others(x))
    moved = (grad * (x - _wide(mean, x))).sum(_others(x))
    return total, moved, moved * invstd, total.clone()


def batch_norm_backward_elemt(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    invstd: Tensor,
    weight: Tensor | None,
    total: Tensor,
    moved: Tensor,
    count: Tensor,
) -> Tensor:
    assert weight is not None
    number = count.sum()
    centred = x - _wide(mean, x)
    return (grad - _wide(total / number, x) - centred * _wide(invstd.pow(2) * moved / number, x)) * _wide(
        invstd * weight, x
    )


for kernel in (
    batch_norm_stats,
    batch_norm_gather_stats_with_counts,
    batch_norm_elemt,
    batch_norm_backward_reduce,
    batch_norm_backward_elemt,
):
    _LIBRARY.impl(kernel.__name__, kernel, "CPU")


class CpuSyncBatchNorm(nn.BatchNorm2d):
    """What `nn.SyncBatchNorm` does in training, without its check of the device."""

    def forward(self, x: Tensor) -> Tensor:
        group = dist.group.WORLD
        assert group is not None
        arguments = (self.weight, self.bias, self.running_mean, self.running_var, self.eps, self.momentum)
        return SyncBatchNorm.apply(x, *arguments, group, group.size())  # type: ignore[no-any-return, no-untyped-call]
