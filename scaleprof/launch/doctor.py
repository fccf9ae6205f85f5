"""What can be recorded on this machine, what is missing and how to get it.

Nothing here imports torch or talks to a driver: a broken one must not end or hang what looks for it, so probes are processes of their own.
"""

import importlib.util
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from scaleprof.errors import ScaleprofError
from scaleprof.launch.network import refusal
from scaleprof.launch.processes import run_command
from scaleprof.launch.trial import RANKS, STEPS, Trial, run_trial

OLDEST_TORCH = (2, 6)
TESTED_TORCH = (2, 13)
"""The newest that this version was tested with."""
ENOUGH_BYTES = 1_000_000_000
"""Free disk below which a recording of some hours may not fit."""
PROBE_S = 60.0
_GET_TORCH = (
    "pip install 'scaleprof[torch]', or first the build for your CUDA or ROCm, see pytorch.org/get-started/locally"
)

State = Literal["ok", "missing", "failed"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    """`missing`: what this machine does not have, and recording goes on without. `failed`: what should work and does not."""
    found: str
    remedy: str = ""
    """What to do about it; empty where that is nothing."""
    needed: bool = False
    """Without it there is no recording."""


@dataclass(frozen=True)
class Diagnosis:
    """All that was looked at."""

    checks: tuple[Check, ...]

    @property
    def works(self) -> bool:
        """Whether recording works here."""
        return all(check.state == "ok" for check in self.checks if check.needed)

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.works:
            return "Recording works here."
        reasons = [check.name for check in self.checks if check.needed and check.state != "ok"]
        return f"Recording does not work here: see {', '.join(reasons)}. Reading traces and writing reports needs none of that."

    def as_json(self) -> str:
        """The same as data."""
        content = {"works": self.works, "verdict": self.verdict, "checks": [asdict(check) for check in self.checks]}
        return json.dumps(content, indent=1)


def examine(traces: Path, *, on_line: Callable[[str], None] | None = None) -> Diagnosis:
    """Look at everything; `traces` is the folder that recordings would go to."""
    say = on_line or (lambda line: None)
    checks = [_python(), _switch(), _folder(traces)]
    say("looking at torch ...")
    torch = _probe(_TORCH_PROBE) if importlib.util.find_spec("torch") else None
    checks += _torch(torch)
    checks += [_nvml(torch), _psutil(), _namespaces()]
    if torch is not None and torch.get("gloo"):
        say(f"recording a job of {RANKS} ranks and analysing it, up to half a minute ...")
        checks += _of_trial(run_trial())
    return Diagnosis(tuple(checks))


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()}, {sys.executable}", needed=True)


def _switch() -> Check:
    stated = {name: value for name, value in sorted(os.environ.items()) if name.startswith("SCALEPROF")}
    said = ", ".join(f"{name}={value}" for name, value in stated.items()) or "nothing set"
    if stated.get("SCALEPROF", "").strip().lower() in ("0", "off", "false"):
        return Check("environment", "failed", said, "unset SCALEPROF: with this value nothing is recorded", needed=True)
    return Check("environment", "ok", said, needed=True)


def _folder(traces: Path) -> Check:
    """Whether recordings can be written where they would go, or in the folder where that would be made."""
    existing = next(path for path in (traces.absolute(), *traces.absolute().parents) if path.exists())
    name = f"{traces}{os.sep}" if not str(traces).endswith(os.sep) else str(traces)
    try:
        with tempfile.NamedTemporaryFile(dir=existing) as file:
            file.write(b"0" * 4096)
            file.flush()
        free = shutil.disk_usage(existing).free
    except OSError as error:
        remedy = "record somewhere else: scaleprof.profile(FOLDER), or SCALEPROF_DIR"
        return Check("traces folder", "failed", f"{existing} cannot be written ({error.strerror})", remedy, needed=True)
    found = f"{name} can be written, {free / 1e9:,.1f} GB free"
    if free < ENOUGH_BYTES:
        return Check("traces folder", "ok", found, "make room: a long recording may not fit", needed=True)
    return Check("traces folder", "ok", found, needed=True)


_TORCH_PROBE = """
import json, torch
import torch.distributed as dist
there = dist.is_available()
found = {"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip,
    "gloo": there and dist.is_gloo_available(), "nccl": there and dist.is_nccl_available(), "devices": []}
if torch.cuda.is_available():
    found["devices"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
print(json.dumps(found))
"""

_NVML_PROBE = """
import json, pynvml
pynvml.nvmlInit()
driver = pynvml.nvmlSystemGetDriverVersion()
print(json.dumps({"driver": driver, "devices": pynvml.nvmlDeviceGetCount()}))
"""


def _probe(script: str) -> dict[str, Any]:
    """What a script prints as JSON in a process of its own; `error` in place of it where it fails or hangs."""
    try:
        ended = run_command([sys.executable, "-c", script], environment=os.environ, timeout_s=PROBE_S)
    except ScaleprofError as error:
        return {"error": f"it {error}"}
    answers = [line for line in ended.last_lines if line.startswith("{")]
    if ended.exit_code != 0 or not answers:
        said = [line for line in ended.last_lines if line.strip()]
        return {"error": said[-1] if said else f"exit code {ended.exit_code}"}
    answer: dict[str, Any] = json.loads(answers[-1])
    return answer


def _torch(found: dict[str, Any] | None) -> list[Check]:
    if found is None:
        return [Check("torch", "missing", "not installed", _GET_TORCH, needed=True)]
    if "error" in found:
        return [
            Check("torch", "failed", f"cannot be imported: {found['error']}", f"install it again: {_GET_TORCH}", True)
        ]
    build = f"CUDA {found['cuda']}" if found["cuda"] else f"ROCm {found['hip']}" if found["hip"] else "CPU only"
    numbers = tuple(int(number) for number in re.findall(r"\d+", found["version"])[:2])
    said = f"{found['version']}, {build}"
    oldest, tested = (".".join(map(str, version)) for version in (OLDEST_TORCH, TESTED_TORCH))
    if numbers < OLDEST_TORCH:
        checks = [Check("torch", "failed", said, f"{oldest} or newer is needed: {_GET_TORCH}", needed=True)]
    else:
        newer = f"newer than {tested}, the newest that was tested" if numbers > TESTED_TORCH else ""
        checks = [Check("torch", "ok", said, newer, needed=True)]
    if found["devices"]:
        kinds = {name: found["devices"].count(name) for name in found["devices"]}
        checks.append(Check("GPUs", "ok", ", ".join(f"{count} x {name}" for name, count in kinds.items())))
    else:
        has_build = found["cuda"] or found["hip"]
        remedy = "torch has a build for GPUs and sees none: look at the driver" if has_build else ""
        checks.append(Check("GPUs", "missing", "none that torch can use", remedy))
    gloo = "" if found["gloo"] else "this torch is built without: install another build"
    checks.append(Check("gloo", "ok" if found["gloo"] else "failed", "communication between CPUs", gloo, needed=True))
    if found["nccl"]:
        checks.append(Check("NCCL", "ok", "communication between GPUs"))
    else:
        remedy = _GET_TORCH if found["devices"] else ""
        checks.append(Check("NCCL", "missing", "not in this torch; only GPUs need it", remedy))
    return checks


def _nvml(torch: dict[str, Any] | None) -> Check:
    """The counters of GPUs. Without a GPU nobody misses them."""
    name, wants = "NVML", bool(torch and torch.get("devices") and torch.get("cuda"))
    if importlib.util.find_spec("pynvml") is None:
        return Check(name, "missing", "the package nvidia-ml-py is not installed", "pip install nvidia-ml-py")
    found = _probe(_NVML_PROBE)
    if "error" in found:
        remedy = "the driver's libnvidia-ml.so.1 is not found or does not answer" if wants else ""
        return Check(name, "failed" if wants else "missing", f"no counters of GPUs: {found['error']}", remedy)
    return Check(name, "ok", f"counters of {found['devices']} GPUs, driver {found['driver']}")


def _psutil() -> Check:
    try:
        import psutil

        return Check("psutil", "ok", f"counters of process and host, {psutil.cpu_count()} cores")
    except ImportError as error:
        return Check("psutil", "failed", f"no counters of process and host: {error}", "pip install psutil")


def _namespaces() -> Check:
    reason = refusal()
    if reason:
        return Check(
            "network namespaces", "missing", reason, "only the demo wants them, for a slow network; it uses loopback"
        )
    return Check("network namespaces", "ok", "the demo can make a slow network")


_PARTS = {
    "steps": ("steps", "mark them: scaleprof.step()"),
    "profiler": ("profiler windows", "when a collective ran is not known; blocked time still is"),
    "flight_recorder": ("flight recorder", "sizes of collectives are not known; torch 2.6 or newer has it"),
    "wait_points": ("blocked time", "the level timeline still sees it on GPUs"),
    "run_queue": ("waiting for a core", "Linux tells, where /proc/thread-self/schedstat can be read"),
    "inputs": ("waiting for input", "use prof.steps(loader)"),
    "p2p": ("point-to-point transfers", ""),
    "named_spans": ("gradient hooks and SyncBatchNorm", ""),
    "reduce_scatters": ("reduce-scatters over gloo", ""),
    "destroy": ("the end of process groups", "end the recording before they are destroyed"),
}
"""What the recorder says it can do, in words, and what to do where it cannot."""


def _of_trial(trial: Trial) -> list[Check]:
    checks = []
    for name, (words, remedy) in _PARTS.items():
        if name in trial.capabilities:
            works = trial.capabilities[name]
            found = "recorded" if works else "cannot be recorded here"
            checks.append(Check(words, "ok" if works else "failed", found, "" if works else remedy))
    name = f"trial of {RANKS} ranks"
    steps = trial.metrics.get("step.count")
    if trial.failure or not steps:
        said = [trial.failure or f"no step of {STEPS} was found in it", *trial.last_lines]
        return [
            *checks,
            Check(name, "failed", "; ".join(said), "run the demo to see its whole output: scaleprof demo", True),
        ]
    parts = [f"{steps:.0f} steps recorded and analysed"]
    if "step.time_ms" in trial.metrics:
        parts.append(f"{trial.metrics['step.time_ms']:.1f} ms a step")
    if "time.exposed_comm_share" in trial.metrics:
        parts.append(f"{trial.metrics['time.exposed_comm_share']:.0%} of it exposed communication")
    return [*checks, Check(name, "ok", ", ".join(parts), "; ".join(trial.warnings), needed=True)]
