"""How well what-ifs predict: a job is recorded, changed and recorded again, here; beside them the pairs of recorded runs in `sample_traces/`.

Compute is emulated and communication real, over gloo, between namespaces with a rate limit where they can be had. Errors are signed: predicted over
measured, and measured is the median of all steady steps, profiled or not. `python -m benchmarks.whatif` records for about four minutes; with
`--recorded` it takes the committed pairs alone.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import table
from scaleprof import analyze
from scaleprof.analyses.replay.edits import Edit
from scaleprof.pipeline import what_if

SAMPLES = Path(__file__).parent.parent / "sample_traces"
GOAL = 0.05
LINK = "200mbit"
STEPS = 14


@dataclass(frozen=True)
class Pair:
    """A run, what is changed, and the run that was changed so."""

    before: str
    after: str
    edit: Edit


GLOBAL_4 = Edit(ranks=4, batch="global")
RECORDED = (
    Pair("emulated-ddp-n2", "emulated-ddp-fp16-n2", Edit(compress=0.5)),
    Pair("emulated-ddp-n4", "emulated-ddp-fp16-n4", Edit(compress=0.5)),
    Pair("on-50mbit-ddp-n4", "on-50mbit-ddp-fp16-n4", Edit(compress=0.5)),
    Pair("on-1gbit-ddp-n4", "on-1gbit-ddp-fp16-n4", Edit(compress=0.5)),
    Pair("emulated-ddp-fp16-n2", "emulated-ddp-n2", Edit(compress=2, encode_ns_per_byte=-1)),
    Pair("emulated-ddp-fp16-n4", "emulated-ddp-n4", Edit(compress=2, encode_ns_per_byte=-1)),
    Pair("on-50mbit-ddp-fp16-n4", "on-50mbit-ddp-n4", Edit(compress=2, encode_ns_per_byte=-1)),
    Pair("emulated-ddp-n4", "on-50mbit-ddp-n4", Edit(link=0.25)),
    Pair("emulated-ddp-n4", "on-1gbit-ddp-n4", Edit(link=5)),
    Pair("on-50mbit-ddp-n4", "on-1gbit-ddp-n4", Edit(link=20)),
    Pair("on-50mbit-ddp-n4", "emulated-ddp-n4", Edit(link=4)),
    Pair("emulated-ddp-syncbn-n2", "emulated-ddp-n2", Edit(no_sync_batch_norm=True)),
    Pair("emulated-ddp-syncbn-n4", "emulated-ddp-n4", Edit(no_sync_batch_norm=True)),
    Pair("emulated-ddp-n2", "emulated-ddp-n4", GLOBAL_4),
    Pair("emulated-ddp-strong-n2", "emulated-ddp-strong-n4", GLOBAL_4),
    Pair("emulated-ddp-weak-n2", "emulated-ddp-weak-n4", Edit(ranks=4)),
    Pair("emulated-ddp-fp16-n2", "emulated-ddp-fp16-n4", GLOBAL_4),
    Pair("emulated-fsdp2-n2", "emulated-fsdp2-n4", GLOBAL_4),
    Pair("emulated-tp-n2", "emulated-tp-n4", GLOBAL_4),
    Pair("gpu-input-n1", "gpu-plain-n1", Edit(without=frozenset(("input",)))),
    Pair("gpu-gc-n1", "gpu-plain-n1", Edit(without=frozenset(("gc",)))),
)
"""What these runs are stands in `sample_traces/README.md`."""


@dataclass(frozen=True)
class Job:
    """A job that can be changed."""

    name: str
    ranks: int = 4
    late_ms: float = 0.0
    """Rank 1 is asleep so long at the begin of each step."""
    input_ms: float = 0.0
    """Each batch takes so long to load."""
    layers_a_bucket: int = 1
    fp16: bool = False
    micro_batches: int = 0
    """Of a pipeline; 0 for data parallelism."""
    batch: int = 16
    """Of all ranks together."""


BASE = Job("base")
LIVE = (
    (replace(BASE, name="late", late_ms=120), BASE, Edit(normal_rank=1)),
    (replace(BASE, name="slow-input", input_ms=90), BASE, Edit(without=frozenset(("input",)))),
    (BASE, replace(BASE, name="large-buckets", layers_a_bucket=4), Edit(merge=4)),
    (replace(BASE, name="large-buckets", layers_a_bucket=4), BASE, Edit(split=4)),
    (BASE, replace(BASE, name="fp16", fp16=True), Edit(compress=0.5)),
    (replace(BASE, name="two", ranks=2), BASE, GLOBAL_4),
    (Job("pp-4", micro_batches=4), Job("pp-16", micro_batches=16), Edit(micro_batches=16)),
    (Job("pp-16", micro_batches=16), Job("pp-4", micro_batches=4), Edit(micro_batches=4)),
    (
        replace(BASE, name="late-input", late_ms=120, input_ms=90),
        BASE,
        Edit(normal_rank=1, without=frozenset(("input",))),
    ),
)
"""What is recorded now: before, after, and the change."""


class _Slow:
    """A loader that takes its time."""

    def __init__(self, batch: Any, steps: int, ms: float) -> None:
        self.batch, self.steps, self.ms = batch, steps, ms

    def __iter__(self) -> Any:
        for _ in range(self.steps):
            time.sleep(self.ms / 1e3)
            yield self.batch


def train(job: Job, folder: str) -> None:
    """One rank of a job, recorded."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    import scaleprof
    from scaleprof.launch.emulated import EmulatedModel

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    model = EmulatedModel(layers=8, ms_per_sample=100.0, gradient_mb=6.4)
    parallel = DistributedDataParallel(model, bucket_cap_mb=model.bucket_mb * job.layers_a_bucket)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=1e-3)
    batch = torch.ones(job.batch // ranks, 1)
    with scaleprof.profile(
        folder, name=job.name, samples_per_step=len(batch), windows=scaleprof.Windows(skip=3), redact=True
    ) as profiler:
        if job.fp16:
            from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

            parallel.register_comm_hook(None, fp16_compress_hook)
        for samples in profiler.steps(_Slow(batch, STEPS, job.input_ms)):
            if job.late_ms and rank == 1:
                time.sleep(job.late_ms / 1e3)
            optimizer.zero_grad()
            parallel(samples).sum().backward()
            optimizer.step()
    dist.barrier()
    dist.destroy_process_group()


def pipeline(job: Job, folder: str) -> None:
    """One stage of a pipeline, recorded."""
    from scaleprof.launch import strategy_jobs
    from scaleprof.launch.strategy_jobs import Setting

    strategy_jobs.MICRO_BATCHES = job.micro_batches
    strategy_jobs.train("pp-1f1b", Setting(folder, STEPS, 100.0, redact=True, prefix=job.name))


def record(folder: Path, link: str) -> dict[str, Path]:
    """The folders of all jobs, recorded one after another."""
    from importlib import import_module

    from scaleprof.launch.strategies import _IMPORTED_ONCE
    from scaleprof.launch.study import network_of, record_run

    for module in _IMPORTED_ONCE:
        import_module(module)
    jobs = {job.name: job for before, after, _ in LIVE for job in (before, after)}
    found = {}
    with network_of(link, 4) as network:
        for job in jobs.values():
            own = folder / job.name
            work = partial(pipeline if job.micro_batches else train, job, str(own))
            if not record_run(work, job.ranks, network, label=job.name, name=job.name, series=job.name, steps=STEPS):
                raise SystemExit(f"{job.name} could not be recorded")
            found[job.name] = own
    return found


def compared(before: Path, after: Path, edit: Edit) -> tuple[float, float, float, float]:
    """Step times in ms as measured before, predicted, and measured after; and the fidelity of the replay."""
    [run] = what_if([before], edit).runs
    [result] = run.sections
    values = {metric.id: metric.value for metric in result.metrics}
    measured = analyze([after]).runs[0].metric("step.time_median_ms")
    if measured is None or measured.value is None:
        raise SystemExit(f"{after} has no steps")
    return result.tables["whatif"]["step_ms"][0], values["whatif.step_ms"], measured.value, values["replay.fidelity"]


def row_of(name: str, before: Path, after: Path, edit: Edit) -> tuple[list[str], float]:
    """A row of the table, and the signed error."""
    was, predicted, measured, fidelity = compared(before, after, edit)
    error = predicted / measured - 1
    return [
        name,
        edit.words,
        f"{was:.1f}",
        f"{predicted:.1f}",
        f"{measured:.1f}",
        f"{100 * error:+.1f} %",
        f"{fidelity:.3f}",
    ], error


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables and the median error of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recorded", action="store_true", help="only what is committed")
    parser.add_argument(
        "--link", default=LINK, help="rate of the network between ranks that are recorded now; empty for the loopback"
    )
    given = parser.parse_args(arguments)
    head = ["run", "change", "before, ms", "predicted, ms", "measured, ms", "error", "fidelity"]
    rows = [row_of(pair.before, _sample(pair.before), _sample(pair.after), pair.edit) for pair in RECORDED]
    print("Recorded runs\n\n" + table(head, [row for row, _ in rows]))
    _say(rows)
    if not given.recorded:
        with tempfile.TemporaryDirectory() as folder:
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            at = record(Path(folder), given.link)
            live = [
                row_of(f"{before.name} -> {after.name}", at[before.name], at[after.name], edit)
                for before, after, edit in LIVE
            ]
        print("\nRecorded now\n\n" + table(head, [row for row, _ in live]))
        _say(live)


def _sample(name: str) -> Path:
    [folder] = SAMPLES.glob(f"{name}-????????")
    return folder


def _say(rows: Sequence[tuple[list[str], float]]) -> None:
    errors = [abs(error) for _, error in rows]
    said = f"\nmedian |error| {100 * median(errors):.1f} %, largest {100 * max(errors):.1f} %, goal at most {100 * GOAL:.0f} % in the median"
    print(f"{said}: {'reached' if median(errors) <= GOAL else 'MISSED'}")


if __name__ == "__main__":
    main()
