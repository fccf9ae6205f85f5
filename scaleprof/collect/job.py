"""What is being trained, found out without being told: strategy, model, precision, process groups.

One pass over the garbage collector's objects, once, between two steps: hooks on every module would make torch.compile recompile.
"""

import functools
import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from scaleprof.collect.patching import Patches
from scaleprof.run import ProcessGroup


@dataclass(frozen=True)
class Found:
    """What was found; unknown is None."""

    strategy: str | None = None
    model: str | None = None
    precision: str | None = None
    parameters: int | None = None
    details: dict[str, Any] = field(default_factory=dict)
    device: str | None = None
    """Where the parameters are."""
    unknown: str = ""
    """A strategy that was seen and is not described yet."""


def process_groups() -> tuple[ProcessGroup, ...]:
    """Every process group of this process, the default one first."""
    import torch.distributed as dist

    world = dist.distributed_c10d._world
    groups = []
    for group in world.pg_map:
        groups.append(
            ProcessGroup(
                name=str(world.pg_names.get(group, "")),
                ranks=tuple(dist.get_process_group_ranks(group)),
                description=str(group.group_desc),
                backend=str(world.pg_backend_config.get(group, "")),
            )
        )
    return tuple(groups)


def find_out(optimizers: list[Any], world_size: int, autocast: set[str], *, communicates: bool) -> Found:
    """Strategy, model and parameters of the job that these optimizers train; `autocast` are the types it was seen to compute in."""
    from torch.nn.parallel import DistributedDataParallel

    trained = {
        id(parameter) for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]
    }
    roots = _roots(_live_modules(), trained)
    parameters = {id(p): p for root in roots for p in root.parameters()}
    wrapped = next((m for root in roots for m in root.modules() if isinstance(m, DistributedDataParallel)), None)
    details: dict[str, Any] = {"optimizers": sorted({type(optimizer).__name__ for optimizer in optimizers})}
    strategy, unknown = "single", ""
    if wrapped is not None:
        strategy = "ddp"
        details["ddp"] = _ddp_details(wrapped)
    elif other := _other_strategy(roots, parameters.values(), optimizers):
        strategy, unknown = None, other  # type: ignore[assignment]
    elif world_size > 1:
        strategy = None if communicates else "tasks"  # type: ignore[assignment]
        unknown = "the ranks communicate, but how they share the work" if communicates else ""
    root = next(iter(roots), None)
    model = type(_innermost(wrapped or root)).__name__ if root is not None else None
    types = sorted({str(p.dtype).removeprefix("torch.") for p in parameters.values() if p.dtype.is_floating_point})
    return Found(
        strategy=strategy,
        model=model,
        precision="+".join([*types, *(f"autocast {name}" for name in sorted(autocast))]) or None,
        parameters=sum(p.numel() for p in parameters.values()) or None,
        details=details,
        device=_device_of(parameters.values()),
        unknown=unknown,
    )


def _live_modules() -> dict[int, Any]:
    import torch

    is_module: dict[type, bool] = {}
    found = {}
    for thing in gc.get_objects():
        kind = type(thing)
        if kind not in is_module:
            is_module[kind] = issubclass(kind, torch.nn.Module)
        if is_module[kind]:
            found[id(thing)] = thing
    return found


def _roots(modules: dict[int, Any], trained: set[int]) -> list[Any]:
    """Modules that no other one contains and that own a trained parameter; where no optimizer is known, the largest."""
    inner = {id(child) for module in modules.values() for child in module._modules.values() if child is not None}
    tops = [module for number, module in modules.items() if number not in inner]
    size = {id(top): sum(parameter.numel() for parameter in top.parameters()) for top in tops}
    tops.sort(key=lambda module: -size[id(module)])
    if not trained:
        return [module for module in tops if size[id(module)]][:1]
    return [module for module in tops if any(id(parameter) in trained for parameter in module.parameters())]


def _innermost(module: Any) -> Any:
    """The user's own module inside what torch.compile and DistributedDataParallel put around it."""
    from torch.nn.parallel import DistributedDataParallel

    while True:
        if isinstance(module, DistributedDataParallel):
            module = module.module
        elif "_orig_mod" in module._modules:
            module = module._modules["_orig_mod"]
        else:
            return module


def _device_of(parameters: Iterable[Any]) -> str | None:
    kinds = Counter(parameter.device.type for parameter in parameters)
    return kinds.most_common(1)[0][0] if kinds else None


def watch_autocast(patches: Patches, in_job: Callable[[], bool], seen: set[str]) -> None:
    """Put the names of the types that autocast is entered with into `seen`: between steps, where the job is looked at, it is off."""
    import torch

    def around(original: Any) -> Any:
        @functools.wraps(original)
        def enter(context: Any) -> Any:
            if len(seen) < 4 and getattr(context, "_enabled", False) and in_job():
                seen.add(str(context.fast_dtype).removeprefix("torch."))
            return original(context)

        return enter

    patches.wrap(torch.amp.autocast_mode.autocast, "__enter__", around)


def _ddp_details(module: Any) -> dict[str, Any]:
    return {
        "group": module.process_group.group_name,
        "group_size": module.process_group.size(),
        "bucket_cap_mb": module.bucket_bytes_cap / 2**20,
        "comm_hooks": [getattr(hook[0], "__name__", str(hook[0])) for hook in getattr(module, "_comm_hooks", [])],
        "gradient_as_bucket_view": module.gradient_as_bucket_view,
        "static_graph": module.static_graph,
        "find_unused_parameters": module.find_unused_parameters,
    }


def _other_strategy(roots: list[Any], parameters: Any, optimizers: list[Any]) -> str:
    """The name of a strategy that this version records without describing it; empty for none."""
    names = {type(module).__name__ for root in roots for module in root.modules()}
    if "FullyShardedDataParallel" in names or any(name.startswith("FSDP") for name in names):
        return "fully sharded data parallel"
    if any(type(parameter).__name__ == "DTensor" for parameter in parameters):
        return "tensor parallel or sharded parameters"
    if any(type(optimizer).__name__ == "ZeroRedundancyOptimizer" for optimizer in optimizers):
        return "ZeRO"
    if "torch.distributed.pipelining" in sys.modules:
        return "pipeline parallel"
    return ""
