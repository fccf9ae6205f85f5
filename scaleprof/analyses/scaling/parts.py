"""The classes of time of a study's sizes as the model by class takes them: what a sample costs a rank, class by class, adding up to N / X."""

from collections.abc import Mapping, Sequence

import numpy as np

from scaleprof.analyses.scaling.growth import per_sample
from scaleprof.analyses.scaling.study import Size
from scaleprof.models.components import Part, Parts, Stages
from scaleprof.models.laws import Floats
from scaleprof.models.scaling import Kind

PART_OF_LEAF: Mapping[str, Part] = {
    "compute": "compute",
    "exposed_transfer": "transfer",
    "exposed_wait": "wait",
    "bubble": "bubble",
    "exposed_untold": "untold",
    "exposed_memory": "memory",
    "idle": "idle",
}
LEAF_OF_PART: Mapping[Part, str] = {part: leaf for leaf, part in PART_OF_LEAF.items()}
_PIPELINE = ("pipeline", "pp")


def parts_of(kind: Kind, sizes: Sequence[Size], times: Floats) -> Parts | None:
    """The classes at every size, scaled to `times` (N / X, shape (sizes,)): profiled steps stand for all. None where a size has no account."""
    accounts = [_account(size) for size in sizes]
    if kind not in ("strong", "weak") or any(account is None or sum(account.values()) <= 0 for account in accounts):
        return None
    known = [account for account in accounts if account is not None]
    scales = [time / sum(account.values()) for account, time in zip(known, times, strict=True)]
    names = dict.fromkeys(name for account in known for name in account)
    by_part = {
        name: np.array([account.get(name, 0.0) * scale for account, scale in zip(known, scales, strict=True)])
        for name in names
    }
    return Parts(kind, by_part, _stages(sizes))


def _account(size: Size) -> Mapping[Part, float] | None:
    if size.parts is not None:
        return size.parts
    found = per_sample(size.ranks, size.views) if size.views else None
    return {PART_OF_LEAF[leaf]: ms for leaf, ms in found.by_leaf_ms.items()} if found else None


def _stages(sizes: Sequence[Size]) -> Stages:
    """Whether it is the pipeline that grows: every mesh has nothing else."""
    meshes = [view.info.mesh or {} for size in sizes for view in size.views if size.ranks > 1]
    grows = [{name for name, ranks in mesh.items() if ranks > 1} <= set(_PIPELINE) and bool(mesh) for mesh in meshes]
    return "grow" if grows and all(grows) else "fixed"
