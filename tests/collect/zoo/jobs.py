"""The jobs: each builds its model and gives a function for one step. Every rank of every job calls the same code, as under torchrun."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from tests.collect.zoo.models import BLOCKS, CLASSES, LENGTH, WIDTH, Images, Net

BATCH = 8
MICRO_BATCHES = 4
PER_MICRO_BATCH = BATCH // MICRO_BATCHES
Step = Callable[[], None]


def _batches(size: int = BATCH, *, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end, from a real DataLoader."""
    made = torch.Generator().manual_seed(seed)
    inputs = torch.randn(8 * BATCH, LENGTH, WIDTH, generator=made)
    labels = torch.randint(0, CLASSES, (8 * BATCH, LENGTH), generator=made)
    while True:
        yield from DataLoader(TensorDataset(inputs, labels), batch_size=size)


def _loss(outputs: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(outputs.reshape(-1, CLASSES).float(), labels.reshape(-1))


def _plain_step(model: nn.Module, optimizer: Any, *, seed: int | None = None) -> Step:
    batches = _batches(seed=dist.get_rank() if seed is None and dist.is_initialized() else seed or 0)

    def step() -> None:
        inputs, labels = next(batches)
        optimizer.zero_grad()
        _loss(model(inputs), labels).backward()
        optimizer.step()

    return step


def _adam(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-3, **options)


def single() -> Step:
    model = Net()
    return _plain_step(model, _adam(model))


def ddp(hook: Any = None, state: Any = None, **options: Any) -> Step:
    model = DistributedDataParallel(Net(), **options)
    if hook is not None:
        model.register_comm_hook(state, hook)
    return _plain_step(model, _adam(model))


def ddp_fp16() -> Step:
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

    return ddp(fp16_compress_hook)


def ddp_bf16() -> Step:
    """torch refuses its `bf16_compress_hook` by name without CUDA: the same code under a name of ours."""
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

    def our_bf16_hook(state: Any, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        return default_hooks._compress_hook(torch.bfloat16, dist.group.WORLD, bucket)

    return ddp(our_bf16_hook)


def ddp_powersgd() -> Step:
    from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook

    state = PowerSGDState(None, matrix_approximation_rank=1, start_powerSGD_iter=2)
    return ddp(powerSGD_hook, state, bucket_cap_mb=100)


def ddp_static() -> Step:
    return ddp(static_graph=True)


def ddp_accumulate() -> Step:
    model = DistributedDataParallel(Net())
    optimizer, batches = _adam(model), _batches(PER_MICRO_BATCH, seed=dist.get_rank())

    def step() -> None:
        optimizer.zero_grad()
        for number in range(MICRO_BATCHES):
            inputs, labels = next(batches)
            with model.no_sync() if number < MICRO_BATCHES - 1 else contextlib.nullcontext():
                (_loss(model(inputs), labels) / MICRO_BATCHES).backward()
        optimizer.step()

    return step


def ddp_syncbn() -> Step:
    from scaleprof.launch.sync_batch_norm import CpuSyncBatchNorm

    model = DistributedDataParallel(Images(CpuSyncBatchNorm))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(torch.randn(BATCH, 3, 12, 12)), torch.randint(0, CLASSES, (BATCH,))).backward()
        optimizer.step()

    return step


def fsdp1() -> Step:
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    from tests.collect.zoo.models import Block

    policy, device = ModuleWrapPolicy({Block}), torch.device("cpu")
    model = FullyShardedDataParallel(Net(), auto_wrap_policy=policy, device_id=device)
    return _plain_step(model, _adam(model))


def _sharded(model: Net, mesh: Any, **options: Any) -> Net:
    from torch.distributed.fsdp import fully_shard

    for block in model.blocks:
        fully_shard(block, mesh=mesh, **options)
    fully_shard(model, mesh=mesh, **options)
    return model


def _mesh(**sizes: int) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh("cpu", tuple(sizes.values()), mesh_dim_names=tuple(sizes))


def fsdp2() -> Step:
    model = _sharded(Net(), _mesh(dp=dist.get_world_size()))
    return _plain_step(model, _adam(model))


def fsdp2_mixed() -> Step:
    from torch.distributed.fsdp import MixedPrecisionPolicy

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    model = _sharded(Net(), _mesh(dp=dist.get_world_size()), mp_policy=policy)
    return _plain_step(model, _adam(model))


def hsdp() -> Step:
    model = _sharded(Net(), _mesh(replicate=dist.get_world_size() // 2, shard=2))
    return _plain_step(model, _adam(model))


def zero1() -> Step:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    model = DistributedDataParallel(Net())
    return _plain_step(model, ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=1e-3))


def _tensor_parallel(model: Net, mesh: Any) -> Net:
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    for block in model.blocks:
        parallelize_module(block, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    return model


def tp() -> Step:
    model = _tensor_parallel(Net(), _mesh(tp=dist.get_world_size()))
    return _plain_step(model, _adam(model), seed=1)  # the ranks share their samples


def tp_sp() -> Step:
    """Sequence parallelism: between the linear layers every rank holds its part of the sequence."""
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module

    mesh, model = _mesh(tp=dist.get_world_size()), Net()
    for block in model.blocks:
        plan = {
            "norm": SequenceParallel(),
            "up": ColwiseParallel(input_layouts=Shard(1)),
            "down": RowwiseParallel(output_layouts=Shard(1)),
        }
        parallelize_module(block, mesh, plan)
    end = {"norm": SequenceParallel(), "head": ColwiseParallel(input_layouts=Shard(1), output_layouts=Replicate())}
    parallelize_module(model, mesh, end)
    optimizer, batches = _adam(model), _batches(seed=1)

    def step() -> None:
        inputs, labels = next(batches)
        optimizer.zero_grad()
        mine = inputs.chunk(dist.get_world_size(), dim=1)[dist.get_rank()]
        _loss(model(mine), labels).backward()
        optimizer.step()

    return step


def fsdp2_tp() -> Step:
    mesh = _mesh(dp=dist.get_world_size() // 2, tp=2)
    model = _sharded(_tensor_parallel(Net(), mesh["tp"]), mesh["dp"])
    return _plain_step(model, _adam(model, foreach=False), seed=mesh["dp"].get_local_rank())


def ddp_tp() -> Step:
    from torch.distributed._composable.replicate import replicate

    mesh = _mesh(dp=dist.get_world_size() // 2, tp=2)
    model = _tensor_parallel(Net(), mesh["tp"])
    replicate(model, device_mesh=mesh["dp"])  # type: ignore[call-arg]
    return _plain_step(model, _adam(model, foreach=False), seed=mesh["dp"].get_local_rank())


def replicate_composable() -> Step:
    from torch.distributed._composable.replicate import replicate

    model = replicate(Net())
    return _plain_step(model, _adam(model))


def _pipeline(schedule: str, *, chunks: int = 1, mesh: Any = None) -> Step:
    """`chunks` stages a rank, in the order of the ranks, over and over; with a mesh each pipeline trains a replica."""
    from torch.distributed import pipelining

    group = mesh["pp"].get_group() if mesh is not None else dist.group.WORLD
    ranks, rank = group.size(), group.rank()
    numbers = [rank + chunk * ranks for chunk in range(chunks)]
    last = chunks * ranks - 1
    parts: list[nn.Module] = [Net(BLOCKS // (last + 1), has_end=number == last) for number in numbers]
    if mesh is not None:
        parts = [
            DistributedDataParallel(part, process_group=mesh["dp"].get_group(), find_unused_parameters=True)
            for part in parts
        ]
    stages = [
        pipelining.PipelineStage(part, number, last + 1, torch.device("cpu"), group=group)
        for part, number in zip(parts, numbers, strict=True)
    ]
    kind = getattr(pipelining, schedule)
    run = kind(stages if "Interleaved" in schedule else stages[0], n_microbatches=MICRO_BATCHES, loss_fn=_loss)
    optimizer = _adam(nn.ModuleList(parts))
    batches = _batches(seed=mesh["dp"].get_local_rank() if mesh is not None else 0)

    def step() -> None:
        inputs, labels = next(batches)
        optimizer.zero_grad()
        given = [inputs] if 0 in numbers else []
        wanted = {"target": labels, "losses": []} if last in numbers else {}
        run.step(*given, **wanted)
        optimizer.step()

    return step


def pp_gpipe() -> Step:
    return _pipeline("ScheduleGPipe")


def pp_1f1b() -> Step:
    return _pipeline("Schedule1F1B")


def pp_interleaved() -> Step:
    return _pipeline("ScheduleInterleaved1F1B", chunks=BLOCKS // dist.get_world_size())


def pp_zero_bubble() -> Step:
    return _pipeline("ScheduleInterleavedZeroBubble", chunks=BLOCKS // dist.get_world_size())


def ddp_pp() -> Step:
    return _pipeline("ScheduleGPipe", mesh=_mesh(dp=dist.get_world_size() // 2, pp=2))


JOBS: dict[str, Callable[[], Step]] = {
    job.__name__: job
    for job in (
        single, ddp, ddp_fp16, ddp_bf16, ddp_powersgd, ddp_static, ddp_accumulate, ddp_syncbn, replicate_composable, zero1,
        fsdp1, fsdp2, fsdp2_mixed, hsdp, tp, tp_sp, fsdp2_tp, ddp_tp, pp_gpipe, pp_1f1b, pp_interleaved, pp_zero_bubble, ddp_pp,
    )
}  # fmt: skip
"""`tasks` is `single` on several ranks."""
