"""What is written about a recording: the run's identity, and the rank's record with all that was found out so far."""

import os
import platform
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from scaleprof import __version__
from scaleprof.clock import ClockAnchor, HostClock
from scaleprof.collect.found.job import Found
from scaleprof.collect.options import Options
from scaleprof.collect.written.identity import Identity, script_name, short
from scaleprof.collect.written.redaction import Redaction
from scaleprof.run import Emulated, ProcessGroup, RankInfo, RunInfo


@dataclass
class Known:
    """What a recording has learned about its rank so far."""

    identity: Identity | None = None
    groups: tuple[ProcessGroup, ...] = ()
    backend: str | None = None
    framework: str = "pytorch"
    found: Found = field(default_factory=Found)
    anchors: list[ClockAnchor] = field(default_factory=lambda: [ClockAnchor.now()])
    clock: HostClock | None = None
    capabilities: dict[str, bool] = field(default_factory=dict)
    overhead: dict[str, float] = field(default_factory=dict)
    local_batch: float | None = None
    emulated: Emulated | None = None
    exception: str | None = None


class Records:
    """Builds `run.json` and `rank.json`, redacted where that was asked for."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.redaction = Redaction() if options.redact else None

    def run(self, known: Known, run_id: str, environment: Mapping[str, str] = os.environ) -> RunInfo:
        """The identity of the run."""
        options = self._options
        repeat = environment.get("SCALEPROF_REPEAT", "")
        record = RunInfo(
            name=options.name or script_name(),
            world_size=known.identity.world_size if known.identity else 1,
            series=environment.get("SCALEPROF_SERIES") or options.name,
            repeat=int(repeat) if repeat.isdecimal() else 0,
            run_id=run_id,
            started_at=known.anchors[0].real_before_ns / 1e9,
            tags={str(key): str(value) for key, value in options.tags.items()},
            level=options.level,
            strategy=options.strategy,
            flops_per_step=options.flops_per_step,
        )
        return self.redaction.record(record) if self.redaction else record

    def rank(self, known: Known, warnings: tuple[str, ...], *, finished: bool) -> RankInfo:
        """The record of this rank as it stands."""
        here = known.identity or Identity(0, 1)
        found, options = known.found, self._options
        host = socket.gethostname()
        record = RankInfo(
            rank=here.rank,
            world_size=here.world_size,
            host=f"host-{short(host)}" if self.redaction else host,
            pid=os.getpid(),
            local_rank=here.local_rank,
            device=found.device,
            device_name=_device_name(found.device),
            backend=known.backend,
            framework=known.framework,
            level=options.level,
            strategy=options.strategy or found.strategy,
            model=found.model,
            precision=found.precision,
            parameters=found.parameters,
            local_parameters=found.local_parameters,
            mesh=found.layout.mesh,
            coordinates=found.layout.coordinates,
            replicas=found.layout.replicas,
            local_batch=known.local_batch,
            flops_per_step=options.flops_per_step,
            process_groups=known.groups,
            anchors=tuple(known.anchors),
            clock=known.clock,
            details=found.details,
            versions=_versions(),
            capabilities=dict(known.capabilities),
            overhead={name: round(cost, 3) for name, cost in known.overhead.items()},
            warnings=warnings,
            exception=known.exception,
            finished=finished,
            emulated=known.emulated,
        )
        return self.redaction.record(record) if self.redaction else record


def _device_name(device: str | None) -> str | None:
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    if device == "cpu":
        return _processor() or platform.processor() or platform.machine() or None
    return None


def _processor() -> str | None:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = (line.partition(":")[2].strip() for line in file if line.startswith("model name"))
            return next(names, None)
    except OSError:
        return None


def _versions() -> dict[str, str]:
    versions = {"scaleprof": __version__, "python": platform.python_version()}
    torch = sys.modules.get("torch")
    if torch is not None:
        versions["torch"] = str(torch.__version__)
        if torch.version.cuda:
            versions["cuda"] = str(torch.version.cuda)
    horovod = sys.modules.get("horovod")
    if horovod is not None and hasattr(horovod, "__version__"):
        versions["horovod"] = str(horovod.__version__)
    return versions
