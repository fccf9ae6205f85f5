"""The jobs of the study of strategies: one model whose layers take a known time and send real gradients, activations and parameters.

The whole job takes 16 samples a step, whatever the strategy, so that every strategy is scaled strongly from the same one rank. This file is used
inside the training process: it needs torch.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import scaleprof
from scaleprof.launch.emulated import EmulatedLayer

SAMPLES = 16
LAYERS = 8
WIDTH, TOKENS = 32, 24
"""Activations of a layer: 16 samples of 24 tokens of 32 numbers are 49 kB, little enough that their arithmetic takes no time."""
GRADIENT_MB = 6.4
MICRO_BATCHES = 8
TRIALS = (5, 3, 4, 2, 6, 2, 3, 5)
"""Steps of each independent task, of 2 samples each."""


@dataclass(frozen=True)
class Setting:
    """What all jobs have in common."""

    folder: str
    steps: int
    ms_per_sample: float
    """The emulated compute of a forward and backward pass for one sample through the whole model on one rank."""
    redact: bool = False
    prefix: str = "emulated"
    """What the names of the runs begin with."""


class Layer(nn.Module):
    """A layer that takes its time: large parameters that only travel, two small linear layers that compute, and the rest asleep."""

    def __init__(self, ms_per_sample: float, *, norm: type[nn.Module] | None = None) -> None:
        super().__init__()
        rows = math.isqrt(int(GRADIENT_MB * 1e6 / LAYERS) // 4 - 8 * WIDTH * WIDTH) // 4 * 4
        self.emulated = EmulatedLayer(rows * rows, ms_per_sample)
        self.emulated.weight = nn.Parameter(
            torch.zeros(rows, rows)
        )  # a matrix: what compresses gradients compresses matrices
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.norm = norm(TOKENS) if norm is not None else nn.Identity()

    def forward(self, samples: Tensor) -> Tensor:
        """Samples x tokens x width, later."""
        added: Tensor = self.down(torch.relu(self.up(self.norm(self.emulated(samples)))))
        return samples + added


class EmulatedNet(nn.Module):
    """All layers, or those of one stage of a pipeline."""

    def __init__(self, ms_per_sample: float, layers: int = LAYERS, *, norm: type[nn.Module] | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(ms_per_sample / LAYERS, norm=norm) for _ in range(layers)])

    def forward(self, samples: Tensor) -> Tensor:
        """Samples x tokens x width, later."""
        for layer in self.layers:
            samples = layer(samples)
        return samples


def _nothing() -> None:
    """Nothing to begin with."""


@dataclass
class Trained:
    """What a strategy makes of the model."""

    parameters: list[nn.Parameter]
    samples: int
    """Of one rank and step."""
    step: Callable[[Tensor], None]
    compute_ms: float
    """The emulated compute of one rank and step."""
    begin: Callable[[], None] = _nothing
    """What is done once the recording runs: a hook that is registered before has no spans."""


def train(strategy: str, setting: Setting) -> None:
    """Train for some steps with a strategy over gloo, recorded."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if strategy == "tasks":
        _train_tasks(setting)
        return
    dist.init_process_group("gloo")
    made = STRATEGIES[strategy](setting)
    optimizer = torch.optim.SGD(made.parameters, lr=1e-4, foreach=False)
    samples = torch.ones(made.samples, TOKENS, WIDTH)
    name = f"{setting.prefix}-{strategy}"
    with scaleprof.profile(
        setting.folder,
        name=name,
        samples_per_step=made.samples,
        redact=setting.redact,
        windows=scaleprof.Windows(skip=3),
    ) as profiler:
        profiler.emulated(compute_ms_per_step=made.compute_ms, link=os.environ.get("SCALEPROF_LINK", ""))
        made.begin()
        for _ in range(setting.steps):
            optimizer.zero_grad()
            made.step(samples)
            optimizer.step()
    dist.barrier()
    dist.destroy_process_group()


def _train_tasks(setting: Setting) -> None:
    """Independent trials, dealt out to the ranks one after the other."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    samples = torch.ones(2, TOKENS, WIDTH)
    with scaleprof.profile(
        setting.folder,
        name=f"{setting.prefix}-tasks",
        samples_per_step=2,
        redact=setting.redact,
        windows=scaleprof.Windows(skip=2),
    ) as profiler:
        profiler.emulated(compute_ms_per_step=2 * setting.ms_per_sample, link=os.environ.get("SCALEPROF_LINK", ""))
        for number in range(rank, len(TRIALS), ranks):
            with profiler.task(f"trial-{number}"):
                model = EmulatedNet(setting.ms_per_sample)
                optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, foreach=False)
                for _ in range(TRIALS[number]):
                    optimizer.zero_grad()
                    model(samples).square().mean().backward()
                    optimizer.step()


def _made(model: nn.Module, setting: Setting, *, replicas: int, shares: int = 1) -> Trained:
    """Of a model that every rank goes through as a whole: `shares` ranks divide the compute of each layer."""
    samples = SAMPLES // replicas

    def step(inputs: Tensor) -> None:
        model(inputs).square().mean().backward()

    return Trained(list(model.parameters()), samples, step, setting.ms_per_sample * samples / shares)


def _mesh(**sizes: int) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh("cpu", tuple(sizes.values()), mesh_dim_names=tuple(sizes))


def _single(setting: Setting) -> Trained:
    return _made(EmulatedNet(setting.ms_per_sample), setting, replicas=1)


def _ddp(
    setting: Setting, *, hook: Any = None, state: Any = None, one_bucket: bool = False, norm: Any = None
) -> Trained:
    layer_mb = GRADIENT_MB * 1e6 / LAYERS / 2**20
    model = DistributedDataParallel(
        EmulatedNet(setting.ms_per_sample, norm=norm), bucket_cap_mb=100 if one_bucket else layer_mb
    )
    made = _made(model, setting, replicas=dist.get_world_size())
    if hook is None:
        return made
    return replace(made, begin=lambda: model.register_comm_hook(state, hook))


def _ddp_fp16(setting: Setting) -> Trained:
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

    return _ddp(setting, hook=fp16_compress_hook)


def _ddp_powersgd(setting: Setting) -> Trained:
    """One bucket: with several, gloo's two threads run the hook's operations in another order on each rank, and the job fails."""
    from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook

    state = PowerSGDState(None, matrix_approximation_rank=1, start_powerSGD_iter=2)
    return _ddp(setting, hook=powerSGD_hook, state=state, one_bucket=True)


def _ddp_syncbn(setting: Setting) -> Trained:
    from scaleprof.launch.sync_batch_norm import CpuSyncBatchNorm

    return _ddp(setting, norm=CpuSyncBatchNorm)


def _sharded(model: EmulatedNet, mesh: Any) -> EmulatedNet:
    from torch.distributed.fsdp import fully_shard

    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def _fsdp2(setting: Setting) -> Trained:
    ranks = dist.get_world_size()
    return _made(_sharded(EmulatedNet(setting.ms_per_sample), _mesh(dp=ranks)), setting, replicas=ranks)


def _tensor_parallel(model: EmulatedNet, mesh: Any) -> EmulatedNet:
    """Each rank holds its part of every layer's parameters, and takes its part of the layer's time."""
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    for layer in model.layers:
        emulated: Any = layer.emulated
        emulated.ms_per_sample /= mesh.size()
        emulated.weight = nn.Parameter(emulated.weight.detach().chunk(mesh.size())[0].clone())
        parallelize_module(layer, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    return model


def _tp(setting: Setting) -> Trained:
    ranks = dist.get_world_size()
    model = _tensor_parallel(EmulatedNet(setting.ms_per_sample), _mesh(tp=ranks))
    return _made(model, setting, replicas=1, shares=ranks)


def _fsdp2_tp(setting: Setting) -> Trained:
    mesh = _mesh(dp=dist.get_world_size() // 2, tp=2)
    model = _sharded(_tensor_parallel(EmulatedNet(setting.ms_per_sample), mesh["tp"]), mesh["dp"])
    return _made(model, setting, replicas=dist.get_world_size() // 2, shares=2)


def _pipeline(setting: Setting, schedule: str) -> Trained:
    from torch.distributed import pipelining

    rank, ranks = dist.get_rank(), dist.get_world_size()
    part = EmulatedNet(setting.ms_per_sample, LAYERS // ranks)
    stage = pipelining.PipelineStage(part, rank, ranks, torch.device("cpu"))
    run = getattr(pipelining, schedule)(
        stage, n_microbatches=MICRO_BATCHES, loss_fn=lambda outputs, _: outputs.square().mean()
    )

    def step(inputs: Tensor) -> None:
        given = [inputs] if rank == 0 else []
        wanted = {"target": inputs, "losses": []} if rank == ranks - 1 else {}
        run.step(*given, **wanted)

    return Trained(list(part.parameters()), SAMPLES, step, setting.ms_per_sample * SAMPLES / ranks)


STRATEGIES: dict[str, Callable[[Setting], Trained]] = {
    "single": _single,
    "ddp": _ddp,
    "ddp-fp16": _ddp_fp16,
    "ddp-powersgd": _ddp_powersgd,
    "ddp-syncbn": _ddp_syncbn,
    "fsdp2": _fsdp2,
    "tp": _tp,
    "fsdp2-tp": _fsdp2_tp,
    "pp-gpipe": lambda setting: _pipeline(setting, "ScheduleGPipe"),
    "pp-1f1b": lambda setting: _pipeline(setting, "Schedule1F1B"),
}
