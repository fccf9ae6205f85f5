"""Jobs that use torch in less usual ways, forked from one import of torch: `python -m tests.collect.odd_jobs FOLDER` records each into FOLDER/JOB.

Those of `COMPARED` run once more with the recorder switched off; `result` holds what every rank trained, which must not differ, and what the job
has to say.
"""

import functools
import gc
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import scaleprof
from scaleprof.collect.profiling import rolling
from scaleprof.launch.ranks import fork_ranks
from tests.collect.zoo.jobs import _adam, _batches, _loss, _mesh, _plain_step
from tests.collect.zoo.models import CLASSES, LENGTH, WIDTH, Block, Net

STEPS = 8
Job = Callable[[Any], tuple[nn.Module, Any]]
"""Trains, and gives the model and what else it found."""


def _train(make: Callable[[], nn.Module]) -> Job:
    def job(_: Any) -> tuple[nn.Module, Any]:
        model = make()
        step = _plain_step(model, _adam(model, foreach=False))
        for _ in range(STEPS):
            step()
        return model, None

    return job


def _sum(own: Any, state: Any, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    done = dist.all_reduce(bucket.buffer().div_(dist.get_world_size()), async_op=True)
    future: torch.futures.Future[Tensor] = done.get_future().then(lambda reduced: reduced.value()[0])  # type: ignore[union-attr]
    return future


def _hooked(hook: Any, state: Any = None) -> nn.Module:
    model = DistributedDataParallel(Net(), bucket_cap_mb=100)
    model.register_comm_hook(state=state, hook=hook)
    return model


def hook_wrapped() -> nn.Module:
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_wrapper
    from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook

    return _hooked(fp16_compress_wrapper(powerSGD_hook), PowerSGDState(None, start_powerSGD_iter=2))


def hook_without_a_name(_: Any) -> tuple[nn.Module, Any]:
    """torch refuses a hook that has no name, but only when it has kept it."""
    model, said = DistributedDataParallel(Net()), ""
    try:
        model.register_comm_hook(None, functools.partial(_sum, None))
    except AttributeError as error:
        said = str(error)
    return model, said


def hook_built_in() -> nn.Module:
    model = DistributedDataParallel(Net())
    model._register_builtin_comm_hook(dist.BuiltinCommHookType.FP16_COMPRESS)  # type: ignore[attr-defined]
    return model


def fsdp1(strategy: str, **mesh: int) -> nn.Module:
    from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    return FullyShardedDataParallel(
        Net(), sharding_strategy=ShardingStrategy[strategy], auto_wrap_policy=ModuleWrapPolicy({Block}),
        device_id=torch.device("cpu"), use_orig_params=True, device_mesh=_mesh(**mesh) if mesh else None,
    )  # fmt: skip


def fsdp2_without_a_mesh() -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    model = Net()
    for block in model.blocks:
        fully_shard(block)
    fully_shard(model)
    return model


def fsdp2_accumulates(_: Any) -> tuple[nn.Module, Any]:
    """Gradients added up over batches that come from no DataLoader."""
    model: Any = fsdp2_without_a_mesh()
    optimizer = _adam(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        for number in range(4):
            model.set_requires_gradient_sync(number == 3)
            model(torch.randn(2, LENGTH, WIDTH)).square().mean().backward()
        optimizer.step()
    return model, None


def distributed_over(*sizes: int, split: bool) -> Job:
    """A layer of distributed parameters over a mesh whose dimensions have no names."""

    def job(_: Any) -> tuple[nn.Module, Any]:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor import Replicate, Shard, distribute_tensor

        mesh, layer = init_device_mesh("cpu", sizes), nn.Linear(8, 8, bias=False)
        places = [Shard(number) if split else Replicate() for number in range(len(sizes))]
        layer.weight = nn.Parameter(distribute_tensor(layer.weight.detach(), mesh, places))
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(STEPS):
            optimizer.zero_grad()
            layer.weight.square().sum().backward()
            optimizer.step()
        return layer, None

    return job


def ddp_in_halves() -> nn.Module:
    groups = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    return DistributedDataParallel(Net(), process_group=groups[dist.get_rank() // 2])


def by_hand(_: Any) -> tuple[nn.Module, Any]:
    """Data parallelism without any wrapper."""
    model = Net()
    optimizer, batches = _adam(model), _batches(seed=dist.get_rank())
    for _ in range(STEPS):
        inputs, labels = next(batches)
        optimizer.zero_grad()
        _loss(model(inputs), labels).backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            dist.all_reduce(parameter.grad)
        optimizer.step()
    return model, None


def after_something_else(prof: Any) -> tuple[nn.Module, Any]:
    """Steps of another model come first."""
    first = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(first.parameters(), lr=0.1)
    for _ in range(3):
        first(torch.randn(2, 4)).sum().backward()
        optimizer.step()
    return _train(lambda: DistributedDataParallel(Net()))(prof)


def evaluated_between_steps(_: Any) -> tuple[nn.Module, Any]:
    model = DistributedDataParallel(Net())
    step = _plain_step(model, _adam(model))
    data = TensorDataset(torch.randn(64, LENGTH, WIDTH), torch.randint(0, CLASSES, (64, LENGTH)))
    for _ in range(STEPS):
        step()
        with torch.no_grad():
            for inputs, _labels in DataLoader(data, batch_size=16):
                model(inputs)
    return model, None


def in_another_thread(prof: Any) -> tuple[nn.Module, Any]:
    models: list[nn.Module] = []
    make = _train(lambda: DistributedDataParallel(Net()))
    thread = threading.Thread(target=lambda: models.append(make(prof)[0]))
    thread.start()
    thread.join()
    return models[0], None


def without_an_optimizer(_: Any) -> tuple[nn.Module, Any]:
    model, batches = DistributedDataParallel(Net()), _batches(seed=dist.get_rank())
    for _ in range(STEPS):
        inputs, labels = next(batches)
        _loss(model(inputs), labels).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.01 * parameter.grad  # type: ignore[operator]
                parameter.grad = None
    return model, None


def every_transfer(_: Any) -> tuple[nn.Module, Any]:
    """Ways to send and to receive, by position and by keyword, and a barrier in which rank 0 waits for rank 1."""
    model, rank, other = DistributedDataParallel(Net()), dist.get_rank(), 1 - dist.get_rank()
    step, group, part = _plain_step(model, _adam(model)), dist.new_group([0, 1]), torch.ones(16)
    for _ in range(STEPS):
        if rank == 0:
            dist.send(tensor=part, dst=1, tag=3)
            dist.send(part, group=group, group_dst=1)
            group.send(tensors=[part], dstRank=1, tag=9).wait()
            group.send([part], 1, 10).wait()
        else:
            dist.recv(tensor=part, src=0, tag=3)
            dist.recv(part, group=group, group_src=0)
            group.recv(tensors=[part], srcRank=0, tag=9).wait()
            group.recv_anysource([part], 10).wait()
            time.sleep(0.01)
        dist.monitored_barrier()
        both = [dist.P2POp(dist.isend, part, other), dist.P2POp(dist.irecv, torch.empty(16), other)]
        for work in dist.batch_isend_irecv(both):
            work.wait()
        step()
    return model, None


def group_destroyed(_: Any) -> tuple[nn.Module, Any]:
    """Many collectives of a group that is then destroyed, and its count with it; torch's ring holds 2000."""
    model, group = DistributedDataParallel(Net()), dist.new_group([0, 1])
    step = _plain_step(model, _adam(model))
    for number in range(20):
        for _ in range(300):
            dist.all_reduce(torch.ones(1), group=group if number < 10 else None)
        step()
        if number == 9:
            dist.destroy_process_group(group)
    return model, None


def compiled(_: Any) -> tuple[nn.Module, Any]:
    """The whole step in a compiled function, which breaks at the backward pass: what the compiler did."""
    import torch._dynamo as dynamo

    model = DistributedDataParallel(Net())
    optimizer, batches = _adam(model, foreach=False), _batches(seed=dist.get_rank())

    @torch.compile(backend="eager")
    def train(inputs: Tensor, labels: Tensor) -> None:
        _loss(model(inputs), labels).backward()

    for _ in range(STEPS):
        optimizer.zero_grad()
        train(*next(batches))
        optimizer.step()
    counters = dynamo.utils.counters
    return model, {"graphs": dict(counters["stats"]), "breaks": sum(counters["graph_break"].values())}


def _operators(theirs: Any) -> int:
    """Operators that a profiler of the training's has seen."""
    return sum(event.name.startswith("aten::") for event in theirs.events())


def _train_alone(go_on: Callable[[int], bool]) -> None:
    layer = nn.Linear(16, 4)
    optimizer, number = torch.optim.SGD(layer.parameters(), lr=0.1), 0
    while go_on(number):
        layer(torch.ones(4, 16)).mean().backward()
        optimizer.step()
        number += 1


def profiled_around_in_all_threads(record: Callable[[], Any]) -> int:
    from torch._C._profiler import _ExperimentalConfig

    every = _ExperimentalConfig(profile_all_threads=True)
    with (
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], experimental_config=every) as theirs,
        record(),
    ):
        _train_alone(lambda number: number < 3 * STEPS)
    return _operators(theirs)


def profiled_in_another_thread(record: Callable[[], Any]) -> int:
    """A profiler that starts and ends in a thread of its own while windows come and go."""
    found: list[int] = []

    def work() -> None:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as theirs:
            for _ in range(5):
                torch.ones(4).add(1)
                time.sleep(0.01)
        found.append(_operators(theirs))

    thread = threading.Thread(target=work)
    with record():
        _train_alone(lambda number: number < STEPS)
        thread.start()
        _train_alone(lambda _: thread.is_alive())
        _train_alone(lambda number: number < 3 * STEPS)
    thread.join()
    return found[0]


def annotated(record: Callable[[], Any]) -> int:
    """What begins in another way than torch's profilers do; ITT is the one that works without a GPU."""
    with record():
        _train_alone(lambda number: number < STEPS)
        if torch.profiler.itt.is_available():
            with torch.autograd.profiler.emit_itt():
                _train_alone(lambda number: number < STEPS)
        _train_alone(lambda number: number < 3 * STEPS)
    return 0


JOBS: dict[str, tuple[int, Job]] = {
    "hook_partial": (2, _train(lambda: _hooked(functools.update_wrapper(partial(_sum, None), _sum)))),
    "hook_lambda": (2, _train(lambda: _hooked(lambda state, bucket: _sum(None, state, bucket)))),
    "hook_wrapped": (2, _train(hook_wrapped)),
    "hook_without_a_name": (2, hook_without_a_name),
    "hook_built_in": (2, _train(hook_built_in)),
    "fsdp1_no_shard": (2, _train(lambda: fsdp1("NO_SHARD"))),
    "fsdp1_hybrid": (4, _train(lambda: fsdp1("HYBRID_SHARD", outer=2, inner=2))),
    "fsdp1_named": (2, _train(lambda: fsdp1("SHARD_GRAD_OP", workers=2))),
    "fsdp2_without_a_mesh": (2, _train(fsdp2_without_a_mesh)),
    "fsdp2_accumulates": (2, fsdp2_accumulates),
    "distributed_2d": (4, distributed_over(2, 2, split=True)),
    "distributed_whole": (2, distributed_over(2, split=False)),
    "ddp_in_halves": (4, _train(ddp_in_halves)),
    "by_hand": (2, by_hand),
    "after_something_else": (2, after_something_else),
    "evaluated_between_steps": (2, evaluated_between_steps),
    "in_another_thread": (2, in_another_thread),
    "without_an_optimizer": (2, without_an_optimizer),
    "every_transfer": (2, every_transfer),
    "group_destroyed": (2, group_destroyed),
    "compiled": (2, compiled),
}
PROFILED: dict[str, Callable[[Callable[[], Any]], Any]] = {
    "profiled_around_in_all_threads": profiled_around_in_all_threads,
    "profiled_in_another_thread": profiled_in_another_thread,
    "annotated": annotated,
}
COMPARED = ("hook_wrapped", "hook_without_a_name", "fsdp2_without_a_mesh", "every_transfer", "compiled", *PROFILED)
_IMPORTED_ONCE = (
    "torch._dynamo", "torch.distributed.fsdp", "torch.distributed.tensor", "torch.distributed.device_mesh",
    "torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook", "scaleprof.collect.session", "torch.profiler",
)  # fmt: skip


def result(folder: Path, rank: int, *, is_recorded: bool) -> Path:
    """Where a rank leaves what it trained and what it found."""
    return folder / f"{'recorded' if is_recorded else 'alone'}.{rank}.json"


def _digest(model: nn.Module) -> str:
    parts = [getattr(parameter, "_local_tensor", parameter).detach() for parameter in model.parameters()]
    return sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()


def _be_rank(name: str, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    record = partial(scaleprof.profile, folder, name=name, sample_hz=0, windows=scaleprof.Windows(skip=2))
    trained, said = "", None
    if name in PROFILED:
        rolling.WINDOW_STEPS = 4
        said = PROFILED[name](record)
    else:
        with record() as prof:
            dist.init_process_group("gloo")
            torch.manual_seed(0)
            model, said = JOBS[name][1](prof)
            trained = _digest(model)
            dist.destroy_process_group()
    is_recorded = os.environ.get("SCALEPROF") != "0"
    place = result(folder, int(os.environ["RANK"]), is_recorded=is_recorded)
    place.write_text(json.dumps([trained, said]))


def main(folder: Path, wanted: list[str]) -> int:
    """1 if any job failed."""
    for module in _IMPORTED_ONCE:
        importlib.import_module(module)
    gc.freeze()  # the jobs look for their model among the objects of their own, not among all of torch's
    failures = []
    for name in wanted or [*JOBS, *PROFILED]:
        (folder / name).mkdir(parents=True)
        ranks = JOBS[name][0] if name in JOBS else 1
        for switch in ("0", "timeline") if name in COMPARED else ("timeline",):
            settings = {"SCALEPROF": switch, "SCALEPROF_RUN_ID": f"odd-{name}", "OMP_NUM_THREADS": "1"}
            train = partial(_be_rank, name, folder / name)
            for failure in fork_ranks(train, ranks, environment=settings, timeout_s=60):
                failures.append(f"{name} (SCALEPROF={switch}): rank {failure.rank} {failure.reason}\n")
    sys.stderr.write("".join(failures))
    sys.stderr.flush()
    return int(bool(failures))


if __name__ == "__main__":
    os._exit(main(Path(sys.argv[1]), sys.argv[2:]))
