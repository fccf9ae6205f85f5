"""Rules on where the time of a step goes (`method` 8): each says what was seen, where, what it costs at most, and what helps."""

from collections.abc import Sequence

import numpy as np

from scaleprof.analyses.base import percent
from scaleprof.analyses.findings.judged import Judged, Rule, finding_of, where
from scaleprof.analyses.remedies import REMEDIES
from scaleprof.analyses.scaling.efficiency import useful_of
from scaleprof.models.efficiency import balance
from scaleprof.results import Finding

STARVED, SYNCED, LAUNCH_BOUND, SMALL_KERNEL_US = 0.03, 0.02, 0.10, 20.0
EXPOSED_COMM, HIDDEN_ENOUGH, COPIES = 0.05, 0.7, 0.02
UNEVEN, STAGES, BUBBLE = 0.95, 1.05, 0.15
PAUSES = 0.01
"""Shares of the step from which each is worth a finding; a mean kernel shorter than this is small; balances and overlaps below these are poor."""
HEALTHY = {"input": 0.01, "communication": 0.03, "copies": 0.005, "launch": 0.03}
"""Shares of the step below which an area is said to be healthy."""


def _of_idle(id: str, group: str, least: float, title: str, what: str) -> Rule:
    """A rule on idle time for one reason."""

    def rule(of: Judged) -> Finding | None:
        share = of.idle_share(group)
        if share <= least:
            return None
        return finding_of(id, title, share, f"{percent(share)} of the step {what}.", where(of, group))

    return rule


def _synced(of: Judged) -> Finding | None:
    """Without the call the host would be ahead by what the device computes in a step, and no further: more is not to be gained."""
    share = of.idle_share("sync")
    if share <= SYNCED:
        return None
    text = f"{percent(share)} of the step passes while a call waits for the device and until work is launched again."
    gain = min(share, 1 - of.leaves.share("idle"))
    return finding_of("host-sync", "The host waits for the device", gain, text, where(of, "sync"))


def _launch_bound(of: Judged) -> Finding | None:
    share = of.idle_share("launch")
    counts = [(int(np.sum(table["count"])), int(np.sum(table["total_ns"]))) for table in of.view.fact("work").values()]
    kernels, busy = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    if share <= LAUNCH_BOUND or not kernels or busy / kernels > SMALL_KERNEL_US * 1e3:
        return None
    mean_us = busy / kernels / 1e3
    text = f"The device waits for the host to launch its next kernel for {percent(share)} of the step; a kernel lasts {mean_us:.1f} us on average."
    return finding_of("launch-bound", "The host cannot launch kernels fast enough", share, text, where(of, "launch"))


def _exposed_transfer(of: Judged) -> Finding | None:
    share = of.leaves.share("exposed_transfer")
    comm, hidden = of.leaves.comm_ns, of.leaves.overlapped_ns
    if share <= EXPOSED_COMM or not comm or hidden is None or hidden / comm >= HIDDEN_ENOUGH:
        return None
    text = f"Transfers that no compute hides take {percent(share)} of the step; compute hides {percent(hidden / comm)} of all communication."
    return finding_of(
        "exposed-transfer", "Communication is not hidden behind compute", share, text, f"steps {of.steps}, all ranks"
    )


def _copies(of: Judged) -> Finding | None:
    share = of.leaves.share("exposed_memory")
    if share <= COPIES:
        return None
    text = f"Memory copies that nothing hides take {percent(share)} of the step."
    return finding_of("exposed-copies", "Memory copies hold up the device", share, text, f"steps {of.steps}")


def _uneven(of: Judged) -> Finding | None:
    even = balance(useful_of(of.leaves)) if len(of.view.ranks) > 1 else None
    if even is None or even.transient >= UNEVEN or even.persistent < even.transient:
        return None
    share = min(1 - even.transient, of.leaves.share("exposed_wait") + of.leaves.share("exposed_untold"))
    text = f"Ranks take turns in being slow: compute is {percent(even.transient)} balanced from step to step, {percent(even.persistent)} in sum."
    return finding_of(
        "transient-imbalance", "The work differs from rank to rank in each step", share, text, f"steps {of.steps}"
    )


def _stages(of: Judged) -> Finding | None:
    ranks = np.asarray(of.leaves.rows["rank"])
    stage = {rank: info.coordinates.get("pp") for rank, info in of.view.ranks.items()}
    means: dict[int, float] = {}
    for number in {place for place in stage.values() if place is not None}:
        here = np.isin(ranks, [rank for rank, place in stage.items() if place == number])
        if here.any():
            means[number] = float(of.leaves.rows["compute_ns"][here].mean())
    if len(means) < 2 or max(means.values()) <= STAGES * float(np.mean(list(means.values()))):
        return None
    slowest = max(means, key=lambda number: means[number])
    usual = float(np.mean(list(means.values())))
    share = (means[slowest] - usual) / (of.leaves.window_ns / len(of.leaves.rows))
    longer = percent(means[slowest] / usual - 1)
    text = f"Stage {slowest} computes {longer} longer than the mean of all stages; the others wait for it in every micro-batch."
    return finding_of("stage-imbalance", f"Pipeline stage {slowest} is too heavy", share, text, f"steps {of.steps}")


def _bubble(of: Judged) -> Finding | None:
    share = of.leaves.share("bubble")
    if share <= BUBBLE:
        return None
    text = f"Waiting for pipeline neighbours takes {percent(share)} of the step; with p equal stages and m micro-batches it is (p - 1) / (m + p - 1)."
    return finding_of("bubble", "The pipeline has too few micro-batches", share, text, f"steps {of.steps}")


def _distorted(of: Judged) -> Finding | None:
    """Profiled steps against those that were not, where both were recorded."""
    with_it, without = [], []
    for table in of.view.fact("steps").values():
        steady = np.isin(table["step"], np.asarray(of.view.steps["step"])) & ~np.asarray(table["perturbed"])
        profiled, times = np.asarray(table["profiled"])[steady], np.asarray(table["time_ns"])[steady]
        with_it += times[profiled].tolist()
        without += times[~profiled].tolist()
    if len(with_it) < 3 or len(without) < 6:
        return None
    more = float(np.median(with_it) / np.median(without)) - 1
    if more <= EXPOSED_COMM:
        return None
    text = f"Profiled steps take {percent(more)} longer than the others: shares of idle time and of small operators are too high here."
    evidence = f"{len(with_it)} profiled steps against {len(without)}"
    title = "The profiler slows the steps down"
    return Finding("distortion", title, "low", text, evidence, remedy=REMEDIES["distortion"])


RULES: Sequence[Rule] = (
    _of_idle("starved", "input", STARVED, "The device waits for input", "the device has nothing to do because the next batch is not there"),
    _synced,
    _launch_bound,
    _of_idle("allocation", "alloc", PAUSES, "Memory is allocated within steps", "is spent allocating or freeing device memory"),
    _of_idle("compilation", "compile", PAUSES, "Code is loaded or compiled within steps", "is spent loading modules or compiling"),
    _of_idle("collection", "gc", PAUSES, "Python's garbage collector holds up steps", "is spent collecting garbage"),
    _of_idle("checkpoint", "checkpoint", PAUSES, "Checkpoints hold up the training", "is spent writing checkpoints"),
    _exposed_transfer,
    _copies,
    _uneven,
    _stages,
    _bubble,
    _distorted,
)  # fmt: skip


def _healthy(id: str, share: float, least: float, title: str, text: str) -> Finding | None:
    return Finding(f"healthy-{id}", title, "healthy", text, "") if share < least else None


def _input_keeps_up(of: Judged) -> Finding | None:
    if of.idle is None or of.idle.subtracted:
        return None
    share = of.idle_share("input")
    return _healthy(
        "input", share, HEALTHY["input"], "Input keeps up", f"Waiting for input takes {percent(share)} of the step."
    )


def _communication_hidden(of: Judged) -> Finding | None:
    if len(of.view.ranks) < 2:
        return None
    text = f"Exposed communication takes {percent(of.exposed_share)} of the step."
    return _healthy("communication", of.exposed_share, HEALTHY["communication"], "Communication costs little", text)


def _kernels_launched(of: Judged) -> Finding | None:
    if of.idle is None or not of.idle.has_device:
        return None
    share = of.idle_share("launch")
    return _healthy(
        "launch",
        share,
        HEALTHY["launch"],
        "The host launches in time",
        f"Waiting for launches takes {percent(share)} of the step.",
    )


def _evenly_loaded(of: Judged) -> Finding | None:
    even = balance(useful_of(of.leaves)) if len(of.view.ranks) > 1 else None
    if even is None:
        return None
    return _healthy(
        "balance",
        1 - even.load,
        1 - UNEVEN,
        "The load is even",
        f"Compute is {percent(even.load)} balanced over the ranks.",
    )


HEALTH: Sequence[Rule] = (_input_keeps_up, _communication_hidden, _kernels_launched, _evenly_loaded)
