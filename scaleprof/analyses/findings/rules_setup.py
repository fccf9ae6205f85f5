"""Rules on how a job is set up: its optimizer, its kernels, its messages, its back end, its machine (`method` 8)."""

from collections.abc import Mapping, Sequence

import numpy as np

from scaleprof.analyses.base import many, percent
from scaleprof.analyses.findings.judged import Judged, Rule, finding_of
from scaleprof.analyses.remedies import REMEDIES
from scaleprof.results import Finding, Table
from scaleprof.trace import UNKNOWN

SMALL_US = 10.0
MOSTLY = 0.5
"""More than this share of the kernels' time in kernels shorter than that is worth a word."""
OPTIMIZER_KERNELS, OPTIMIZER_SHARE = 200, 0.05
"""An optimizer of a fused or foreach kind launches tens of kernels; one that takes less of the step than this is none of the trouble."""
SMALL_MESSAGE, MANY_MESSAGES, LATENCY_SHARE = 64 * 1024, 100, 0.03
"""Bytes of an operation that is nothing but latency; so many of them in a step, and so much of it exposed, are worth a finding."""
THROTTLED, LOWER_CLOCK = 0.05, 0.95
"""Share of the samples in which the clock was held down; share of the fastest rank's clock."""
TWICE_THE_GRADIENTS = 1.5


def _small_kernels(of: Judged) -> Finding | None:
    if of.idle is None or not of.idle.has_device:
        return None
    tables = of.view.fact("work").values()
    counts, totals = (
        np.concatenate([np.asarray(table[name], dtype=np.float64) for table in tables])
        for name in ("count", "total_ns")
    )
    if not len(totals) or not totals.sum():
        return None
    small = totals <= counts * SMALL_US * 1e3
    share = float(totals[small].sum() / totals.sum())
    if share <= MOSTLY:
        return None
    text = f"{percent(share)} of the kernels' time is in {many(int(counts[small].sum()), 'kernel')} shorter than {SMALL_US:.0f} us on average."
    evidence = f"steps {of.steps}"
    return Finding(
        "small-kernels", "Most kernels are very short", "low", text, evidence, remedy=REMEDIES["small-kernels"]
    )


def _optimizer(of: Judged) -> Finding | None:
    """A loop over parameters launches some kernels for each of them."""
    count = ns = steps = 0
    for table in of.view.fact("extras").values():
        here = np.isin(table["step"], np.unique(of.leaves.rows["step"]))
        count += int(np.asarray(table["optimizer_kernels"])[here].sum())
        ns += int(np.asarray(table["optimizer_ns"])[here].sum())
        steps += int(here.sum())
    if not steps or count <= OPTIMIZER_KERNELS * steps or ns > count * SMALL_US * 1e3:
        return None
    share = ns / of.leaves.window_ns
    if share <= OPTIMIZER_SHARE:
        return None
    text = f"The optimizer launches {count // steps:,} kernels a step, {ns / count / 1e3:.1f} us each: {percent(share)} of the step."
    return finding_of(
        "optimizer", "The optimizer goes through the parameters one by one", share, text, f"steps {of.steps}"
    )


def _messages(of: Judged) -> Finding | None:
    """What many small operations keep the ranks from computing: their latencies, which one large operation would have once."""
    steps = np.unique(of.leaves.rows["step"])
    small = small_ns = all_ns = rows = 0
    for table in of.view.fact("collectives").values():
        here = np.isin(table["step"], steps) & (np.asarray(table["dur_ns"]) != UNKNOWN)
        size, dur = np.asarray(table["bytes"])[here], np.asarray(table["dur_ns"])[here]
        little = (size >= 0) & (size < SMALL_MESSAGE)
        small, small_ns, all_ns = small + int(little.sum()), small_ns + int(dur[little].sum()), all_ns + int(dur.sum())
        rows += len(np.unique(np.asarray(table["step"])[here]))
    if not rows or not all_ns or small <= MANY_MESSAGES * rows:
        return None
    exposed = of.leaves.share("exposed_transfer") * small_ns / all_ns
    if exposed <= LATENCY_SHARE:
        return None
    text = f"{small // rows:,} operations of less than {SMALL_MESSAGE // 1024} kB a step are latency and little else: {percent(exposed)} of the step."
    return finding_of("small-messages", "Many small messages", exposed, text, f"steps {of.steps}, all ranks")


def _unused_parameters(of: Judged) -> Finding | None:
    settings = [_ddp(info.details) for info in of.view.ranks.values()]
    if len(of.view.ranks) < 2 or not any(ddp.get("find_unused_parameters") for ddp in settings):
        return None
    text = "Each backward pass walks the whole graph for parameters without a gradient, and the ranks tell one another which ones they found."
    evidence = "DistributedDataParallel(find_unused_parameters=True)"
    return Finding(
        "unused-parameters",
        "DDP looks for unused parameters",
        "low",
        text,
        evidence,
        remedy=REMEDIES["unused-parameters"],
    )


def _ddp(details: Mapping[str, object]) -> Mapping[str, object]:
    ddp = details.get("ddp")
    return ddp if isinstance(ddp, Mapping) else {}


def _every_micro_batch(of: Judged) -> Finding | None:
    """Gradients that are added up over micro-batches, and still reduced after each."""
    info = next(iter(of.view.ranks.values()))
    micro, parameters = info.details.get("micro_batches"), of.view.info.parameters
    if (
        not isinstance(micro, int)
        or micro < 2
        or not parameters
        or len(of.view.ranks) < 2
        or "ddp" not in (of.view.info.strategy or "")
    ):
        return None
    steps, reduced = np.unique(of.leaves.rows["step"]), []
    for table in of.view.fact("collectives").values():
        here = np.isin(table["step"], steps) & (np.array(table["op"], dtype=object) == "all_reduce")
        reduced.append(int(np.maximum(np.asarray(table["bytes"])[here], 0).sum()) / max(len(steps), 1))
    bytes_each = 2 if "16" in (of.view.info.precision or "") else 4
    passes = float(np.mean(reduced)) / (parameters * bytes_each)
    if passes <= TWICE_THE_GRADIENTS:
        return None
    share = of.exposed_share * (1 - 1 / min(passes, micro))
    text = f"Each of {micro} micro-batches of a step ends with an all-reduce of all gradients; one behind the last of them is enough."
    return finding_of(
        "no-sync", "Gradients are reduced after every micro-batch", share, text, f"steps {of.steps}, all ranks"
    )


def _gloo_on_gpus(of: Judged) -> Finding | None:
    info = of.view.info
    if (
        info.backend is None
        or "gloo" not in info.backend
        or "nccl" in info.backend
        or info.device != "cuda"
        or not of.exposed_share
    ):
        return None
    text = "Tensors on GPUs are sent over gloo: through the memory of the host, by the CPU."
    return finding_of(
        "gloo-on-gpus", "GPUs communicate over gloo", of.exposed_share, text, "the process group's back end"
    )


def _throttled(of: Judged) -> Finding | None:
    """Clocks that were held down, or that are lower than on the fastest rank."""
    held = {rank: _mean(table, "gpu_throttled_share") for rank, table in of.view.fact("hardware").items()}
    clock = {rank: _median(table, "gpu_sm_clock_mhz") for rank, table in of.view.fact("hardware").items()}
    clocks = {rank: value for rank, value in clock.items() if value}
    slow = {rank for rank, value in held.items() if value is not None and value > THROTTLED}
    if not slow or not clocks:
        return None
    fastest = max(clocks.values())
    slowest = min((rank for rank in slow if rank in clocks), key=lambda rank: clocks[rank], default=None)
    if slowest is None or clocks[slowest] >= LOWER_CLOCK * fastest:
        return None
    share = (1 - clocks[slowest] / fastest) * of.leaves.share("compute")
    ranks = ", ".join(map(str, sorted(slow)[:8]))
    text = f"The clock of rank {slowest} is {clocks[slowest]:.0f} MHz where the fastest rank's is {fastest:.0f}, and it is held down on rank {ranks}."
    return finding_of(
        "throttled", "GPUs are slowed down", share, text, "reasons for low clocks and clocks, sampled by NVML"
    )


def _mean(table: Table, column: str) -> float | None:
    values = _finite(table, column)
    return float(values.mean()) if len(values) else None


def _median(table: Table, column: str) -> float | None:
    values = _finite(table, column)
    return float(np.median(values)) if len(values) else None


def _finite(table: Table, column: str) -> np.ndarray:
    values = np.asarray(table[column], dtype=np.float64) if column in table.columns else np.zeros(0)
    found: np.ndarray = values[np.isfinite(values)]
    return found


SETUP: Sequence[Rule] = (
    _small_kernels, _optimizer, _messages, _unused_parameters, _every_micro_batch, _gloo_on_gpus, _throttled,
)  # fmt: skip
