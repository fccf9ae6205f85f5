"""What a run put on the bus, beside what its strategy must (`method` 6)."""

from collections.abc import Callable, Sequence

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import steady_steps
from scaleprof.columns import coded_of, distinct
from scaleprof.models.communication import bus_factor
from scaleprof.models.volumes import BYTES, replicated_bytes, sharded_bytes

_REPLICATED, _SHARDED = ("ddp", "horovod"), ("fsdp", "fsdp2")
_KNOWN = {*_REPLICATED, *_SHARDED, "fp16", "bf16"}
"""Words of strategies whose traffic follows from the number of parameters; what others send depends on activations, ranks of matrices, or more."""
_HALF = 2.0


def measured_bus_bytes(view: RunView) -> float | None:
    """Bytes on the bus a rank and step, over the steady steps in which operations were matched; None without any whose size is known."""
    wanted, matching = steady_steps(view), view.matching
    sizes = np.array([len(group.ranks) for group in matching.groups], dtype=np.int64)
    total, steps = 0.0, set[int]()
    for rank, table in view.fact("collectives").items():
        number, bytes, step = matching.of_row[rank], np.asarray(table["bytes"]), np.asarray(table["step"])
        counted = (number >= 0) & np.isin(step, wanted) & (bytes >= 0)
        steps |= set(np.unique(step[counted]).tolist())
        ops, op = coded_of(table, "op")
        kinds, kind = distinct(op[counted], sizes[number[counted]])
        factors = np.array([bus_factor(ops[one], members) for one, members in kinds])
        total += float((bytes[counted] * factors[kind]).sum()) if counted.any() else 0.0
    return total / len(steps) / len(view.ranks) if steps else None


def expected_bus_bytes(view: RunView) -> float | None:
    """Bytes on the bus that the strategy asks for a rank and step; None where they do not follow from what is known of the run."""
    info = view.info
    words = (info.strategy or "").split("+")
    element = BYTES.get(info.precision or "")
    replicas = (info.mesh or {}).get("dp", info.world_size)
    if not set(words) <= _KNOWN or element is None or not info.parameters or replicas < 2:
        return None
    if words[0] in _SHARDED:
        return sharded_bytes(info.parameters, replicas, element=element)
    sent = _HALF if {"fp16", "bf16"} & set(words) else element
    return replicated_bytes(info.parameters, replicas, element=sent)


def traffic_of(views: Sequence[RunView], bytes_of: Callable[[RunView], float | None]) -> float | None:
    """One of these over several runs of one configuration: the mean of those where it is known."""
    known = [bytes for view in views if (bytes := bytes_of(view)) is not None]
    return sum(known) / len(known) if known else None
