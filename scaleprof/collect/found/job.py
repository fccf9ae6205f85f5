"""What is being trained, found out without being told: model, precision, parameters, and with `strategy.py` how the ranks share the work.

One pass over the garbage collector's objects, once, between two steps: hooks on every module would make torch.compile recompile.
"""

import functools
import gc
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from scaleprof.collect.found.strategy import Layout, Parts, class_name, layout_of, replicated
from scaleprof.collect.patching import Patches
from scaleprof.run import ProcessGroup


@dataclass
class Seen:
    """What was seen while the first steps ran, and cannot be seen between them."""

    autocast: set[str] = field(default_factory=set)
    """Types that autocast was entered with."""
    no_sync: bool = False
    """Some backward passes left their gradients where they were."""
    communicates: bool = False
    tasks: bool = False
    batches: int = 0
    batch: dict[str, Any] | None = None
    backward_passes: Counter[int] = field(default_factory=Counter)
    """By step."""

    def count_backward(self, step: int) -> None:
        """A backward pass has ended in this step."""
        self.backward_passes[step] += 1

    def micro_batches(self, optimizers: int) -> int | None:
        """Backward passes whose gradients one optimizer step adds up; None where several passes may mean something else."""
        passes = set(self.backward_passes.values())
        [number] = passes if len(passes) == 1 else [0]
        fed = sum(self.backward_passes.values()) == self.batches
        return number if number > 1 and optimizers == 1 and (self.no_sync or fed) else None


LOOK_AFTER_STEPS = 2
"""By then optimizers and wrappers exist."""
MOST_LOOKS = 3


class Looks:
    """When the job is looked at: after two steps, and again after an optimizer came that was not there, until a strategy is found."""

    def __init__(self) -> None:
        self._at_step = LOOK_AFTER_STEPS
        self._looks = 0

    def optimizer_came(self, step: int, found: "Found") -> None:
        """An optimizer has stepped for the first time; a second model may come with it, after a warm-up of something else."""
        if self._looks and found.is_open:
            self._at_step = max(self._at_step, step + LOOK_AFTER_STEPS)

    def is_due(self, step: int) -> bool:
        """Whether to look between this many steps and the next."""
        return step == self._at_step and self._looks < MOST_LOOKS

    def looked(self) -> int:
        """It was done, so many times by now."""
        self._looks += 1
        return self._looks


@dataclass(frozen=True)
class Found:
    """What was found; unknown is None."""

    strategy: str | None = None
    model: str | None = None
    precision: str | None = None
    parameters: int | None = None
    local_parameters: int | None = None
    layout: Layout = field(default_factory=Layout)
    details: dict[str, Any] = field(default_factory=dict)
    device: str | None = None
    """Where the parameters are."""
    unknown: str = ""
    """What is not known about how the ranks share the work."""

    @property
    def is_open(self) -> bool:
        """Whether no strategy was found, though there are several ranks."""
        return not self.layout.words and self.strategy != "single"


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


def find_out(optimizers: list[Any], world_size: int, seen: Seen) -> Found:
    """Strategy, model and parameters of the job that these optimizers train."""
    trained = {
        id(parameter) for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]
    }
    live = _live()
    roots = _roots(live["module"], trained)
    parameters = {id(p): p for root in roots for p in root.parameters()}
    roots = [_shown(root, live["module"]) for root in roots]
    modules = list({id(module): module for root in roots for module in root.modules()}.values())
    stages = [stage for stage in live["stage"] if any(id(p) in parameters for p in stage.submod.parameters())]
    parts = Parts(modules, list(parameters.values()), optimizers, stages, live["schedule"] if stages else [])
    layout = layout_of(parts)
    details: dict[str, Any] = {
        "optimizers": sorted({type(optimizer).__name__ for optimizer in optimizers}),
        **layout.details,
    }
    micro = seen.micro_batches(len(optimizers)) if not stages else None
    if micro:
        details["micro_batches"] = micro
    if seen.batch is not None:
        details["batch"] = seen.batch
    strategy, unknown = _named(layout, micro, world_size, seen)
    return Found(
        strategy=strategy,
        model=_model(roots, stages),
        precision=_precision(parameters.values(), seen.autocast, layout.compute_types),
        parameters=layout.parameters or None,
        local_parameters=layout.local_parameters or None,
        layout=layout,
        details=details,
        device=_device_of(parameters.values()),
        unknown=unknown,
    )


def _named(layout: Layout, micro: int | None, world_size: int, seen: Seen) -> tuple[str | None, str]:
    """The strategy in a few words, and what about it is not known."""
    words = list(layout.words)
    if not words and seen.tasks:
        return "tasks", ""
    if not words and world_size > 1:
        if seen.communicates:
            return None, "they communicate, but not by a strategy of torch's: name it with strategy="
        return "tasks", ""
    doubts = list(layout.doubts)
    found = math.prod(layout.mesh.values())
    if words and found != world_size:
        mesh = " x ".join(f"{name} {size}" for name, size in layout.mesh.items())
        doubts.append(f"{mesh} makes {found} of {world_size} ranks")
    return "+".join([*(words or ["single"]), *([f"accumulate{micro}"] if micro else [])]), "; ".join(doubts)


def _precision(parameters: Iterable[Any], autocast: set[str], compute_types: Iterable[str]) -> str | None:
    types = sorted({str(p.dtype).removeprefix("torch.") for p in parameters if p.dtype.is_floating_point})
    computed = [f"mixed {name}" for name in sorted(compute_types) if name not in types]
    return "+".join([*types, *computed, *(f"autocast {name}" for name in sorted(autocast))]) or None


def _live() -> dict[str, Any]:
    """Modules by id, and the stages and schedules of pipelines: the type of an object is looked at once for each type."""
    import torch

    families: dict[str, type] = {"module": torch.nn.Module}
    if "torch.distributed.pipelining" in sys.modules:
        from torch.distributed.pipelining.schedules import _PipelineSchedule
        from torch.distributed.pipelining.stage import _PipelineStageBase

        families |= {"stage": _PipelineStageBase, "schedule": _PipelineSchedule}
    family_of: dict[type, str] = {}
    found: dict[str, Any] = {"module": {}, "stage": [], "schedule": []}
    for thing in gc.get_objects():
        kind = type(thing)
        if kind not in family_of:
            family_of[kind] = next((name for name, base in families.items() if issubclass(kind, base)), "")
        family = family_of[kind]
        if family == "module":
            found[family][id(thing)] = thing
        elif family:
            found[family].append(thing)
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


def _shown(root: Any, modules: dict[int, Any]) -> Any:
    """The user's module where the root is what `replicate` keeps out of sight: a DistributedDataParallel around a bare list of parameters."""
    if type(root).__name__ == "DistributedDataParallel" and type(root.module).__name__ == "ParameterList":
        return next((module for module in modules.values() if replicated(module) is root), root)
    return root


def _model(roots: list[Any], stages: list[Any]) -> str | None:
    """The class of the user's own module: of what stands in a pipeline's stage, else of the largest root without what torch put around it."""
    import torch

    inside = stages[0].submod if stages else next(iter(roots), None)
    if inside is None:
        return None
    inside = _innermost(inside)
    children = {type(child) for child in inside.children()}
    if isinstance(inside, torch.nn.ModuleList) and len(children) == 1:
        return class_name(next(iter(inside.children())))
    return class_name(inside)


def _innermost(module: Any) -> Any:
    """The user's own module inside what torch.compile, DistributedDataParallel and FullyShardedDataParallel put around it."""
    while True:
        if type(module).__name__ == "DistributedDataParallel":
            module = module.module
        elif "_orig_mod" in module._modules:
            module = module._modules["_orig_mod"]
        elif "_fsdp_wrapped_module" in module._modules:
            module = module._modules["_fsdp_wrapped_module"]
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
