"""What the files of a synthetic job say about the job: `run.json`, `rank.json`, and the keys beside the events of a trace file."""

from typing import Any

from scaleprof import __version__
from scaleprof.clock import ClockAnchor
from scaleprof.run import SYNTHETIC_KEY, ProcessGroup, RankInfo, RunInfo
from scaleprof.synth.events import Process
from scaleprof.synth.mesh import strategy_of
from scaleprof.synth.plan import GRADIENT_BYTES, shared
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import BEGIN_NS, Timeline, offset_ns
from scaleprof.synth.truth import host_of

BASE_NS = BEGIN_NS - 4_000_000_000_000_000
"""`baseTimeNanoseconds`: a coarse time long before the job, so that times since it have 13 digits in us, as real ones have."""
MONOTONIC_NS = 1_000_000_000_000
"""What the monotonic clock of every host shows when the job begins."""
DEVICE_NAME = "Synthetic GPU"


def shown_at_begin(spec: Spec, rank: int) -> int:
    """What the clock of a rank's host shows when the job begins, in ns."""
    return BEGIN_NS + offset_ns(spec, rank)


def metadata(timeline: Timeline, rank: int, name: str) -> dict[str, Any]:
    """The keys beside the events of a trace file of that name."""
    spec, groups = timeline.spec, _groups(timeline, rank)
    about = {"backend": "nccl", "rank": rank, "world_size": spec.ranks}
    if groups and not spec.form.old:
        about |= {"pg_count": len(groups), "pg_config": [_config(group) for group in groups]}
    if not spec.form.old:
        about["nccl_version"] = "2.27.5"
    devices = min(spec.ranks_per_host, spec.ranks)
    return {
        "schemaVersion": 1,
        "deviceProperties": [_device(number) for number in range(devices)],
        "distributedInfo": about,
        "host_name": host_of(rank, spec.ranks_per_host),
        SYNTHETIC_KEY: True,
        "traceName": name,
        "displayTimeUnit": "ms",
        "baseTimeNanoseconds": BASE_NS,
    }


def run_info(timeline: Timeline) -> RunInfo:
    """The record of the run."""
    spec = timeline.spec
    return RunInfo(
        name=spec.name,
        world_size=spec.ranks,
        series=spec.name,
        run_id=f"{spec.name}-{spec.ranks}-synthetic",
        started_at=BEGIN_NS / 1e9,
        level="full",
        nodes=spec.hosts,
        synthetic=True,
    )


def rank_info(timeline: Timeline, rank: int) -> RankInfo:
    """The record of a rank, as the recorder leaves it."""
    spec, mesh = timeline.spec, timeline.mesh
    shown, stage = shown_at_begin(spec, rank), mesh.stage(rank)
    layers = int(shared(spec.layers, [1] * spec.pipeline)[stage])
    parameters = round(spec.gradient_bytes // GRADIENT_BYTES * layers * spec.pipeline / spec.layers)
    return RankInfo(
        rank=rank,
        world_size=spec.ranks,
        host=host_of(rank, spec.ranks_per_host),
        pid=Process(rank, rank % spec.ranks_per_host).pid,
        local_rank=rank % spec.ranks_per_host,
        device="cuda",
        device_name=DEVICE_NAME,
        backend="nccl",
        framework="pytorch",
        level="full",
        strategy=strategy_of(spec),
        model=f"synthetic {spec.layers}-layer model",
        precision="float32",
        parameters=parameters * spec.tensor,
        local_parameters=-(-parameters // spec.data) if spec.strategy == "fsdp" else parameters,
        mesh={name: one.size for name, one in mesh.dimensions.items()},
        coordinates={name: int(one.coordinate[rank]) for name, one in mesh.dimensions.items()},
        replicas=spec.data,
        local_batch=float(spec.samples),
        process_groups=_groups(timeline, rank),
        anchors=(ClockAnchor(shown, MONOTONIC_NS, shown),),
        details=_details(spec, stage),
        versions={"scaleprof": __version__},
        capabilities={"profiler": True, "steps": True, "inputs": True},
        finished=rank not in spec.cut_ranks,
    )


def _groups(timeline: Timeline, rank: int) -> tuple[ProcessGroup, ...]:
    return () if "ranks" in timeline.spec.lose else timeline.mesh.groups(rank)


def _details(spec: Spec, stage: int) -> dict[str, Any]:
    if spec.pipeline == 1:
        return {}
    about = {"schedule": "Schedule1F1B", "stages": [stage], "num_stages": spec.pipeline}
    return {"pipeline": {**about, "micro_batches": spec.micro_batches}}


def _config(group: ProcessGroup) -> dict[str, Any]:
    return {
        "pg_name": group.name,
        "pg_desc": group.description,
        "backend_config": group.backend,
        "pg_size": len(group.ranks),
        "ranks": list(group.ranks),
    }


def _device(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": DEVICE_NAME,
        "totalGlobalMem": 85_899_345_920,
        "computeMajor": 8,
        "computeMinor": 0,
        "maxThreadsPerBlock": 1024,
        "maxThreadsPerMultiprocessor": 2048,
        "regsPerBlock": 65_536,
        "warpSize": 32,
        "sharedMemPerBlock": 49_152,
        "numSms": 108,
    }
