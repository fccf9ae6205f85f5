"""Training jobs for one GPU in which something is done to the job on purpose, and a stopwatch says for how long.

Every job writes what its stopwatch saw to `truth.jsonl`: one line per rank and step, in ms.
"""

import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

import scaleprof
from scaleprof.run import Level

STEPS, SKIP, WINDOW = 12, 6, 5
DISTRIBUTED_STEPS = 22
ROWS, WIDTH, LAYERS = 32768, 2048, 8
TRUTH = "truth.jsonl"
_COMPILED_BY_NVRTC = (
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0",
    "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "spherical_bessel_j0",
)  # fmt: skip
"""Functions whose kernels torch compiles when they are first called."""


def _mark() -> Any:
    """An event that the device notes the time of when it gets there."""
    mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    mark.record()
    return mark


@dataclass
class Stopwatch:
    """What was done to each step on purpose, by the host's clock, and how long the device took, by its own."""

    job: str
    injected_ms: list[float] = field(default_factory=list)
    marks: list[Any] = field(default_factory=list)

    @contextmanager
    def injecting(self) -> Iterator[None]:
        """Around what is done to this step."""
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            self.injected_ms[-1] += (time.perf_counter_ns() - start) / 1e6

    def step(self) -> None:
        """A step begins."""
        mark = _mark()
        self.marks.append(mark)
        self.injected_ms.append(0.0)

    def write(self, folder: Path) -> None:
        """Append the lines of this rank."""
        marks = [*self.marks, _mark()]
        torch.cuda.synchronize()
        rank = int(os.environ.get("RANK", "0"))
        with (folder / TRUTH).open("a") as file:
            for number, injected in enumerate(self.injected_ms):
                line = {
                    "job": self.job,
                    "rank": rank,
                    "step": number,
                    "injected_ms": round(injected, 4),
                    "device_ms": round(marks[number].elapsed_time(marks[number + 1]), 4),
                }
                file.write(json.dumps(line) + "\n")


def _stack(
    width: int = WIDTH, layers: int = LAYERS, dtype: torch.dtype = torch.bfloat16, *, norm: bool = False
) -> nn.Sequential:
    norms = [nn.BatchNorm1d(width)] if norm else []
    parts = [part for _ in range(layers) for part in (nn.Linear(width, width), *norms, nn.GELU())]
    return nn.Sequential(*parts).to("cuda", dtype)


class Slow(torch.utils.data.Dataset[Tensor]):
    """Batches that take their time."""

    def __init__(self, ms: float) -> None:
        self.ms = ms

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, number: int) -> Tensor:
        time.sleep(self.ms / 1e3)
        return torch.ones(1, WIDTH, dtype=torch.bfloat16)


def _nothing(_: Stopwatch, __: int, ___: Tensor) -> None:
    """A healthy step."""


def _sync(watch: Stopwatch, _: int, loss: Tensor) -> None:
    """The loss is fetched, and the host does something with it for 10 ms."""
    loss.item()
    with watch.injecting():
        _busy(10)


def _busy(ms: float) -> None:
    until = time.perf_counter_ns() + ms * 1e6
    while time.perf_counter_ns() < until:
        pass


def _launches(_: Stopwatch, __: int, loss: Tensor) -> None:
    """Many kernels of a microsecond each."""
    little = torch.zeros(16, device=loss.device)
    for _number in range(600):
        little.add_(1)


def _alloc(watch: Stopwatch, _: int, __: Tensor) -> None:
    """The caching allocator has to give back all it has, and ask for it anew."""
    with watch.injecting():
        torch.cuda.empty_cache()
        for _number in range(4):
            del_me = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
            del del_me
            torch.cuda.empty_cache()


def _collect(watch: Stopwatch, _: int, __: Tensor) -> None:
    """A collection of rings of objects, with the device idle before it."""
    rings = []
    for _number in range(60_000):
        ring: list[Any] = []
        ring.append(ring)
        rings.append(ring)
    del rings
    torch.cuda.synchronize()
    with watch.injecting():
        gc.collect()


def _checkpoint(watch: Stopwatch, _: int, __: Tensor) -> None:
    """64 MB to a file in memory."""
    state = torch.ones(1 << 24, device="cuda")
    torch.cuda.synchronize()
    with watch.injecting(), torch.profiler.record_function("save checkpoint"), tempfile.TemporaryFile() as file:
        torch.save(state, file)


def _modules(watch: Stopwatch, step: int, loss: Tensor) -> None:
    """A kernel that was never used before: torch compiles it and loads it."""
    torch.cuda.synchronize()
    with watch.injecting():
        getattr(torch.special, _COMPILED_BY_NVRTC[step % len(_COMPILED_BY_NVRTC)])(loss.detach().float().reshape(1))


def _copies(watch: Stopwatch, _: int, __: Tensor) -> None:
    """64 MB from memory that is not pinned."""
    batch = torch.ones(1 << 24)
    torch.cuda.synchronize()
    with watch.injecting():
        batch.to("cuda", non_blocking=True)


CAUSES: dict[str, Callable[[Stopwatch, int, Tensor], None]] = {
    "plain": _nothing,
    "input": _nothing,
    "sync": _sync,
    "launch": _launches,
    "alloc": _alloc,
    "gc": _collect,
    "checkpoint": _checkpoint,
    "module": _modules,
    "copies": _copies,
}


def cause(name: str, folder: str) -> None:
    """One rank, one GPU: a stack of layers, and something done at the end of each step."""
    model = _stack()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    watch = Stopwatch(name)
    windows = scaleprof.Windows(skip=SKIP, steps=WINDOW)
    loader = torch.utils.data.DataLoader(Slow(20 if name == "input" else 0), batch_size=None)
    rows = 64 if name == "launch" else ROWS
    with scaleprof.profile(folder, name=f"gpu-{name}", level="full", windows=windows, redact=True, sample_hz=10):
        for number, batch in enumerate(loader):
            watch.step()
            inputs = batch.to("cuda", non_blocking=True).expand(rows, WIDTH)
            optimizer.zero_grad()
            loss = model(inputs).float().square().mean()
            loss.backward()
            optimizer.step()
            CAUSES[name](watch, number, loss)
    watch.write(Path(folder))


def compiled(folder: str) -> None:
    """`torch.compile` with a new shape in every third step: recompilations in steady state."""
    torch._dynamo.config.automatic_dynamic_shapes = False
    layers = _stack(256, 2)
    model = torch.compile(layers, dynamic=False)
    optimizer = torch.optim.SGD(layers.parameters(), lr=1e-3)
    watch = Stopwatch("compile")
    windows = scaleprof.Windows(skip=SKIP, steps=WINDOW)
    with scaleprof.profile(folder, name="gpu-compile", level="full", windows=windows, redact=True):
        for number in range(STEPS):
            watch.step()
            inputs = torch.ones(
                64 + 8 * (number // 3 if number > SKIP else 0), 256, dtype=torch.bfloat16, device="cuda"
            )
            optimizer.zero_grad()
            model(inputs).sum().backward()
            optimizer.step()
    watch.write(Path(folder))


def _ranks_on_one_gpu() -> torch.device:
    """NCCL refuses two ranks on one GPU of one host; told that they are two hosts, they talk over the loopback."""
    rank = os.environ["RANK"]
    os.environ.update(
        NCCL_HOSTID=f"host-{rank}", NCCL_SOCKET_IFNAME="lo", NCCL_IB_DISABLE="1", TORCH_NCCL_ENABLE_TIMING="1"
    )
    device = torch.device("cuda", 0)
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", device_id=device)
    return device


def distributed(name: str, level: Level, folder: str) -> None:
    """Two ranks of DDP or FSDP2 over NCCL on one GPU; `late` keeps rank 1 asleep before its forward pass."""
    device = _ranks_on_one_gpu()
    rank = dist.get_rank()
    model: Any = _stack(1024, LAYERS, torch.float32, norm=name != "fsdp2")
    if name == "syncbn":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if name == "fsdp2":
        from torch.distributed.fsdp import fully_shard

        for layer in model:
            if isinstance(layer, nn.Linear):
                fully_shard(layer)
        fully_shard(model)
    else:
        model = nn.parallel.DistributedDataParallel(model, device_ids=[0], bucket_cap_mb=8)
        if name == "fp16":
            from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    inputs = torch.randn(2048, 1024, device=device)
    watch = Stopwatch(f"{name}-{level}")
    windows = scaleprof.Windows(skip=SKIP, steps=WINDOW)
    with scaleprof.profile(
        folder, name=f"nccl-{name}-{level}", level=level, windows=windows, redact=True, samples_per_step=2048
    ):
        if name == "fp16":
            model.register_comm_hook(None, fp16_compress_hook)
        for _ in range(DISTRIBUTED_STEPS):
            watch.step()
            if rank == 1 and name == "late":
                with watch.injecting():
                    torch.cuda.synchronize()
                    time.sleep(0.03)
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()
    watch.write(Path(folder))
    dist.barrier()
    dist.destroy_process_group()


def sweep(folder: str) -> None:
    """All-reduces of 4 kB to 64 MB, timed by the device's own events as nccl-tests does, one after the other."""
    device = _ranks_on_one_gpu()
    sizes = [1 << power for power in range(12, 27, 2)]
    tensors = [torch.ones(size // 4, device=device) for size in sizes]
    for tensor in tensors:
        dist.all_reduce(tensor)
    lines = []
    windows = scaleprof.Windows(skip=2, steps=6)
    with scaleprof.profile(folder, name="nccl-sweep", level="full", windows=windows, redact=True):
        for number in range(9):
            for size, tensor in zip(sizes, tensors, strict=True):
                dist.barrier()
                torch.cuda.synchronize()
                before = _mark()
                dist.all_reduce(tensor)
                after = _mark()
                torch.cuda.synchronize()
                lines.append(
                    {
                        "job": "sweep",
                        "rank": dist.get_rank(),
                        "step": number,
                        "bytes": size,
                        "device_ms": before.elapsed_time(after),
                    }
                )
            scaleprof.step()
    with (Path(folder) / TRUTH).open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    dist.barrier()
    dist.destroy_process_group()
