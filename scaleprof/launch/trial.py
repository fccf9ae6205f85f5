"""A small real job that is recorded and analysed, to see whether that works on this machine: 2 ranks with torchrun, over gloo, for some steps.

Everything runs in processes of its own with a limit on their time, so that nothing that is wrong here can hang or end the one that asks.
"""

import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaleprof.errors import ScaleprofError
from scaleprof.launch.processes import run_command
from scaleprof.run import RANK_FILE, RUN_FILE, read_rank_info

RANKS = 2
STEPS = 10
TRIAL_S = 120.0
ANALYSIS_S = 60.0
_JOB = ("--mode", "weak", "--steps", str(STEPS), "--batch", "4", "--ms-per-sample", "5", "--gradient-mb", "0.5")
_SHOWN = 3


@dataclass(frozen=True)
class Trial:
    """What a trial recorded, or why it did not."""

    failure: str = ""
    """Why there is no report; empty if all went well."""
    last_lines: tuple[str, ...] = ()
    capabilities: dict[str, bool] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the report, by their ids."""


def run_trial() -> Trial:
    """Record and analyse the trial in a temporary folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCALEPROF")}
    environment |= {"OMP_NUM_THREADS": "1", "SCALEPROF_CACHE": "0", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    with tempfile.TemporaryDirectory(prefix="scaleprof-doctor-", ignore_cleanup_errors=True) as folder:
        torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(RANKS)]
        job = ["-m", "scaleprof.launch.demo_job", "--folder", folder, "--name", "doctor", *_JOB]
        ended = _python([*torchrun, *job], environment, TRIAL_S)
        if ended:
            return Trial(f"a job of {RANKS} ranks {ended[0]}", ended[1:])
        found = sorted(Path(folder).glob(f"*/rank-*/{RANK_FILE}"))
        if len(found) != RANKS or not list(Path(folder).glob(f"*/{RUN_FILE}")):
            return Trial(f"a job of {RANKS} ranks ended well, and left {len(found)} recordings")
        try:
            info = read_rank_info(found[0])
        except ScaleprofError as error:
            return Trial(str(error))
        report = Path(folder) / "report.json"
        analyze = ["scaleprof", "analyze", folder, "--json", str(report), "--engine", "serial", "-q"]
        ended = _python(analyze, environment, ANALYSIS_S)
        if ended:
            return Trial(f"what it recorded could not be analysed: that {ended[0]}", ended[1:], info.capabilities)
        return Trial("", (), info.capabilities, info.warnings, _metrics(json.loads(report.read_bytes())))


def _python(arguments: list[str], environment: dict[str, str], timeout_s: float) -> tuple[str, ...]:
    """Run a module; empty if it ended well, else how it ended and its last lines."""
    try:
        ended = run_command([sys.executable, "-m", *arguments], environment=environment, timeout_s=timeout_s)
    except ScaleprofError as error:
        return (str(error),)
    if ended.exit_code == 0:
        return ()
    said = [line for line in ended.last_lines if line.strip()]
    return (f"ended with exit code {ended.exit_code}", *said[-_SHOWN:])


def _metrics(report: Any) -> dict[str, float]:
    """The numbers of the one run of a report."""
    sections = report["runs"][0]["sections"]
    metrics = [metric for section in sections for metric in section["metrics"]]
    return {metric["id"]: metric["value"] for metric in metrics if isinstance(metric["value"], int | float)}
