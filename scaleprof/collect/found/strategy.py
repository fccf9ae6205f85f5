"""How the ranks share the work: which of torch's strategies wrap the model, over which dimensions, and this rank's place in each.

A strategy's name is made of words joined by `+`, outermost first: `ddp`, `ddp+fp16`, `hsdp`, `fsdp2+tp`, `ddp+pp-1f1b`, `ddp+syncbn`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scaleprof.collect.found.gradient_hooks import hook_names, hook_words

_SCHEDULES = {
    "ScheduleGPipe": "gpipe",
    "Schedule1F1B": "1f1b",
    "ScheduleInterleaved1F1B": "interleaved-1f1b",
    "ScheduleLoopedBFS": "looped-bfs",
    "ScheduleInterleavedZeroBubble": "zero-bubble",
    "ScheduleZBVZeroBubble": "zbv",
    "ScheduleDualPipeV": "dualpipe-v",
}
_SYNC_BATCH_NORM = re.compile(r"sync_?(batch_?norm|bn)", re.IGNORECASE)


@dataclass(frozen=True)
class Parts:
    """The live objects of a job that a strategy can be seen in."""

    modules: list[Any]
    parameters: list[Any]
    optimizers: list[Any]
    stages: list[Any]
    schedules: list[Any]


@dataclass(frozen=True)
class Dimension:
    """One direction in which the ranks share the work."""

    role: str
    """`data`, `tensor` or `pipeline`."""
    name: str
    size: int
    coordinate: int


@dataclass(frozen=True)
class Layout:
    """What was found."""

    words: tuple[str, ...] = ()
    dimensions: tuple[Dimension, ...] = ()
    parameters: int = 0
    """Of the model, or of the stages this rank holds."""
    local_parameters: int = 0
    compute_types: tuple[str, ...] = ()
    """Types that a sharding policy computes in."""
    details: dict[str, Any] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    """What was taken for something that it may not be."""

    @property
    def mesh(self) -> dict[str, int]:
        """Size by name of dimension."""
        return {dimension.name: dimension.size for dimension in self.dimensions}

    @property
    def coordinates(self) -> dict[str, int]:
        """This rank's place by name of dimension."""
        return {dimension.name: dimension.coordinate for dimension in self.dimensions}

    @property
    def replicas(self) -> int | None:
        """How many groups of ranks take different samples; None where nothing is shared."""
        if not self.dimensions:
            return None
        replicas = 1
        for dimension in self.dimensions:
            replicas *= dimension.size if dimension.role == "data" else 1
        return replicas


class _Findings:
    """Collects words, dimensions and details, each once."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.dimensions: dict[str, Dimension] = {}
        self.details: dict[str, Any] = {}
        self.compute_types: set[str] = set()
        self.doubts: list[str] = []
        self.unnamed: dict[Any, str] = {}
        """Meshes of one dimension that data parallelism runs over and nobody has named."""

    def word(self, word: str) -> None:
        if word and word not in self.words:
            self.words.append(word)

    def computes_in(self, dtype: Any) -> None:
        if dtype is not None:
            self.compute_types.add(str(_type_name(dtype)))

    def dimension(self, role: str, name: str, size: int, coordinate: int) -> None:
        self.dimensions.setdefault(name, Dimension(role, name, int(size), int(coordinate)))


def layout_of(parts: Parts) -> Layout:
    """The strategies that these parts show, all of them."""
    found = _Findings()
    _distributed_data_parallel(parts, found)
    _fully_sharded_1(parts, found)
    _fully_sharded_2(parts, found)
    _zero(parts, found)
    _tensor_parallel(parts, found)
    _pipeline(parts, found)
    names = sorted({type(m).__name__ for m in parts.modules if _SYNC_BATCH_NORM.search(type(m).__name__)})
    if names:
        found.word("syncbn")
        count = sum(type(module).__name__ in names for module in parts.modules)
        found.details["sync_batch_norm"] = {"classes": names, "modules": count}
    order = ("pipeline", "data", "tensor")
    flat = [module._handle.flat_param for module in parts.modules if getattr(module, "_handle", None) is not None]
    return Layout(
        words=tuple(found.words),
        dimensions=tuple(sorted(found.dimensions.values(), key=lambda dimension: order.index(dimension.role))),
        parameters=_whole(parts.parameters, flat),
        local_parameters=sum(_local(parameter).numel() for parameter in parts.parameters),
        compute_types=tuple(found.compute_types),
        details=found.details,
        doubts=tuple(found.doubts),
    )


def class_name(module: Any) -> str:
    """The name of the user's class: `fully_shard` and `replicate` give a module a class of their own, `FSDPNet` for `Net`."""
    name = type(module).__name__
    known = [base.__name__ for base in type(module).__mro__[1:]]
    return next((base for base in known if name in (f"FSDP{base}", f"DDP{base}", f"Replicate{base}")), name)


def _whole(parameters: Iterable[Any], flat: Iterable[Any]) -> int:
    """Elements of the whole parameters, of which this rank may keep a part; FSDP 1 keeps the parts of several in one flat tensor."""
    whole = {id(one): one._unpadded_unsharded_size.numel() for one in flat}
    inside = {id(view) for one in flat for view in getattr(one, "_params", None) or ()}
    apart = [p for p in parameters if id(p) not in whole and id(p) not in inside]
    shapes = [tuple((_spec_of(parameter) or parameter).shape) for parameter in apart]
    total: int = sum(math.prod(shape) for shape in shapes) + sum(whole.values())
    return total


def _local(parameter: Any) -> Any:
    return parameter._local_tensor if hasattr(parameter, "_local_tensor") else parameter


def _spec_of(parameter: Any) -> Any | None:
    """Mesh, placements and whole shape of a distributed parameter; DistributedDataParallel keeps them beside the local tensor."""
    return getattr(parameter, "_spec", None) or getattr(parameter, "_st_info", None)


def _distributed_data_parallel(parts: Parts, found: _Findings) -> None:
    wrapped = [m for m in parts.modules if type(m).__name__ == "DistributedDataParallel"]
    composed = [ddp for module in parts.modules if (ddp := replicated(module)) is not None]
    every = [*wrapped, *composed]
    for module in every[:1]:
        found.word("ddp")
        hooks = list(dict.fromkeys(name for one in every for name in hook_names(one)))
        group = module.process_group
        found.dimension("data", _name_of(group, "dp"), group.size(), group.rank())
        found.details["ddp"] = {
            "group": group.group_name,
            "group_size": group.size(),
            "bucket_cap_mb": module.bucket_bytes_cap / 2**20,
            "comm_hooks": hooks,
            "gradient_as_bucket_view": module.gradient_as_bucket_view,
            "static_graph": module.static_graph,
            "find_unused_parameters": module.find_unused_parameters,
            "composable": module in composed,
            "wrapped": dict(Counter(class_name(one) for one in _wrapped_by_ddp(module, parts))),
        }
        for word in hook_words(hooks):
            found.word(word)


def _wrapped_by_ddp(module: Any, parts: Parts) -> list[Any]:
    """The modules around which data parallelism stands: one, or each that `replicate` was called on."""
    composed = [one for one in parts.modules if replicated(one) is not None]
    return composed or [one.module for one in parts.modules if type(one) is type(module)]


def replicated(module: Any) -> Any | None:
    """The DistributedDataParallel that `replicate(module)` keeps out of sight."""
    from torch.distributed._composable.contract import _get_registry

    if not getattr(module, "_modules", None) and not getattr(module, "_parameters", None):
        return None
    registry = _get_registry(module)
    if not registry or "replicate" not in registry:
        return None
    from torch.distributed._composable.replicate import replicate

    state = replicate.state(module)
    return getattr(state, "_ddp", None)


def _fully_sharded_1(parts: Parts, found: _Findings) -> None:
    units = [module for module in parts.modules if type(module).__name__ == "FullyShardedDataParallel"]
    if not units:
        return
    root = units[0]
    strategy = getattr(root.sharding_strategy, "name", str(root.sharding_strategy))
    found.computes_in(getattr(getattr(root, "mixed_precision", None), "param_dtype", None))
    group = root.process_group
    if strategy.startswith(("HYBRID", "_HYBRID")):
        found.word("hsdp1")
        across = root._inter_node_pg
        found.dimension("data", _name_of(across, "replicate"), across.size(), across.rank())
    else:
        found.word("ddp" if strategy == "NO_SHARD" else "fsdp1")
    names = getattr(getattr(root, "_device_mesh", None), "mesh_dim_names", None) or ()
    name = names[-1] if names else _name_of(group, "dp" if strategy == "NO_SHARD" else "shard")
    found.dimension("data", name, group.size(), group.rank())
    found.details["fsdp"] = {
        "version": 1,
        "sharding_strategy": strategy,
        "use_orig_params": bool(getattr(root, "_use_orig_params", False)),
        "wrapped": dict(Counter(class_name(unit._fsdp_wrapped_module) for unit in units)),
    }


def _fully_sharded_2(parts: Parts, found: _Findings) -> None:
    try:
        from torch.distributed.fsdp import FSDPModule
    except ImportError:
        return
    units = [module for module in parts.modules if isinstance(module, FSDPModule)]
    groups = [group for unit in units for group in _parameter_groups(unit)]
    if not groups:
        return
    info = groups[0].mesh_info
    sharded = getattr(info, "shard_mesh_dim", None) is not None
    replicated = getattr(info, "replicate_mesh_dim", None) is not None
    found.word("hsdp" if sharded and replicated else "fsdp2" if sharded else "replicate")
    for kind, present in (("replicate", replicated), ("shard", sharded)):
        if present:
            number = getattr(info, f"{kind}_mesh_dim")
            names = info.mesh.mesh_dim_names or ()
            name = names[number] if number < len(names) else kind
            if not names:
                found.unnamed[info.mesh] = kind
            group = getattr(info, f"{kind}_process_group")
            found.dimension("data", name, group.size(), group.rank())
    policy = groups[0].mp_policy
    found.computes_in(policy.param_dtype)
    found.details["fsdp"] = {
        "version": 2,
        "reshard_after_forward": any(group.post_forward_mesh_info is not None for group in groups),
        "param_dtype": _type_name(policy.param_dtype),
        "reduce_dtype": _type_name(policy.reduce_dtype),
        "wrapped": dict(Counter(class_name(unit) for unit in units)),
    }


def _parameter_groups(unit: Any) -> list[Any]:
    state = unit._get_fsdp_state()
    several = getattr(state, "_fsdp_param_groups", None)
    return list(several) if several else [group for group in (state._fsdp_param_group,) if group is not None]


def _zero(parts: Parts, found: _Findings) -> None:
    for optimizer in parts.optimizers:
        if type(optimizer).__name__ == "ZeroRedundancyOptimizer":
            found.word("zero1")
            group = getattr(optimizer, "process_group", None)
            found.details["zero"] = {
                "stage": 1,
                "overlap_with_ddp": bool(getattr(optimizer, "_overlap_with_ddp", False)),
            }
            if group is not None:
                found.dimension("data", _name_of(group, "dp"), group.size(), group.rank())


def _tensor_parallel(parts: Parts, found: _Findings) -> None:
    """Dimensions of distributed parameters that no data parallelism accounts for."""
    placements: Counter[str] = Counter()
    split: dict[str, tuple[int, int]] = {}
    whole: set[str] = set()
    for parameter in parts.parameters:
        spec = _spec_of(parameter)
        if spec is None:
            continue
        names = _names_of_dimensions(spec.mesh, found)
        coordinate = spec.mesh.get_coordinate() or [0] * spec.mesh.ndim
        for number, (name, place) in enumerate(zip(names, spec.placements, strict=True)):
            taken = found.dimensions.get(name)
            if taken is not None and taken.role == "data":
                continue
            if name not in split:
                split[name] = (spec.mesh.size(number), coordinate[number])
                whole.add(name)
            if not place.is_replicate():
                whole.discard(name)
        placements[",".join(f"{name}:{place}" for name, place in zip(names, spec.placements, strict=True))] += 1
    for name in sorted(name for name in whole if split[name][0] > 1):
        found.word("dtensor-dp")
        found.doubts.append(f"no parameter is split along {name}, which was taken for data parallelism")
        found.dimension("data", name, *split.pop(name))
    if not split:
        return
    found.word("tp")
    for name, (size, coordinate_here) in split.items():
        found.dimension("tensor", name, size, coordinate_here)
    sequence = any(_is_replicated_alone(module, split, found) for module in parts.modules)
    if sequence:
        found.word("sp")
    found.details["tensor_parallel"] = {
        "dimensions": sorted(split),
        "placements": dict(placements),
        "sequence_parallel": sequence,
    }


def _names_of_dimensions(mesh: Any, found: _Findings) -> tuple[str, ...]:
    if mesh.mesh_dim_names:
        return tuple(mesh.mesh_dim_names)
    if mesh.ndim == 1:
        return (found.unnamed.get(mesh, "tp"),)
    return tuple(f"tp{number}" for number in range(mesh.ndim))


def _is_replicated_alone(module: Any, split: Mapping[str, Any], found: _Findings) -> bool:
    """A module whose own parameters are distributed and yet whole on every rank: its activations are what is split, along the sequence."""
    own = [p for p in module._parameters.values() if p is not None]
    specs = [spec for p in own if (spec := _spec_of(p)) is not None]
    if not own or len(specs) < len(own):
        return False
    for spec in specs:
        names = _names_of_dimensions(spec.mesh, found)
        places = [place for name, place in zip(names, spec.placements, strict=True) if name in split]
        if not places or not all(place.is_replicate() for place in places):
            return False
    return True


def _pipeline(parts: Parts, found: _Findings) -> None:
    if not parts.stages:
        return
    import torch.distributed as dist

    group: Any = parts.stages[0].group or dist.group.WORLD
    schedule = next(
        (one for one in parts.schedules if set(map(id, _stages_of(one))) & set(map(id, parts.stages))), None
    )
    kind = type(schedule).__name__ if schedule is not None else ""
    found.word(f"pp-{_SCHEDULES.get(kind, kind.removeprefix('Schedule').lower())}" if kind else "pp")
    found.dimension("pipeline", _name_of(group, "pp"), group.size(), group.rank())
    found.details["pipeline"] = {
        "schedule": kind,
        "stages": sorted(stage.stage_index for stage in parts.stages),
        "num_stages": parts.stages[0].num_stages,
        "micro_batches": getattr(schedule, "_n_microbatches", None),
    }


def _stages_of(schedule: Any) -> list[Any]:
    several = getattr(schedule, "_stages", None)
    return list(several) if several is not None else [getattr(schedule, "_stage", None)]


def _name_of(group: Any, otherwise: str) -> str:
    """The name of a mesh's dimension, which torch keeps in the description of its process group."""
    description = str(getattr(group, "group_desc", "") or "")
    name = description.removeprefix("mesh_")
    return name if name != description and name and not name.startswith("dim_") else otherwise


def _type_name(dtype: Any) -> str | None:
    return str(dtype).removeprefix("torch.") if dtype is not None else None
