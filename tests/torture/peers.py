"""The same files given to Holistic Trace Analysis and to torch-tb-profiler, each in an environment of its own, and to us: who is late, and how
far the shares are off. `python -m tests.torture --peers`, `make torture-peers`.
"""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from scaleprof.analyses.account.time import TIME
from scaleprof.analyses.stragglers.stragglers import STRAGGLERS
from scaleprof.run import TRUTH_FILE
from scaleprof.synth.writing import write_job
from tests.torture.cases import NO_FAULT, SAID, Case
from tests.torture.scoring import view_of

HERE = Path(__file__).parent
BENCH = HERE.parents[1] / "build" / "bench"
HTA, TB, OURS, HTA_OLD = "HTA", "torch-tb-profiler", "ScaleProf", "HTA, old names"
REQUIRED = {
    HTA: ("hta-venv", ("HolisticTraceAnalysis==0.5.0", "pandas<3"), "with_hta.py"),
    TB: ("tb-venv", ("torch-tb-profiler==0.4.3", "pandas<3", "setuptools<81"), "with_tb.py"),
}
"""Folder of the environment, packages, script; the first is that of `make bench-peers`. Neither package knows pandas 3."""
RECORDED = HERE / "hta_overlap.json"
"""What HTA says of real traces, for the test that holds ours against it."""
PARTS = ("compute", "idle", "overlap", "waiting")
"""Compute and idle time as shares of all, the part of communication under compute, and the part of communication that is waiting for a rank."""
OLD = "old2022"
"""The dialect whose kernels are called as HTA's search for stragglers wants them; its times are whole microseconds."""


@dataclass(frozen=True)
class Answer:
    """What one tool says of one job."""

    tool: str
    case: Case
    named: int | None
    shares: Mapping[str, float]
    """Of `PARTS`, as far as it says: mean over ranks."""
    true: Mapping[str, float]
    failed: str = ""
    cause: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it names the late rank."""
        return self.case.fault != NO_FAULT and self.named == self.case.late_rank


def peer_cases() -> list[Case]:
    """Sixteen jobs: what every tool must manage, undamaged, on clocks that agree and that do not."""
    strategies = ("ddp", "fsdp", "ddp+tp", "ddp+pp")
    faults = ((NO_FAULT, 0.0), ("compute", 0.15), ("input", 0.15), ("pause", 0.15))
    return [
        Case(strategy, fault, severity, "apart" if place % 2 else "aligned", "none", place % 3)
        for place, (strategy, (fault, severity)) in enumerate(product(strategies, faults))
    ]


def python_of(tool: str) -> Path:
    """The Python that has a tool; its environment is made where it is not there yet."""
    folder, packages, _ = REQUIRED[tool]
    python, ready, wanted = BENCH / folder / "bin" / "python", BENCH / folder / "installed", "\n".join(packages)
    if not ready.exists() or ready.read_text() != wanted:
        sys.stderr.write(f"making {BENCH / folder} ...\n")
        if not python.exists():
            venv.create(BENCH / folder, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run(install, check=True)
        ready.write_text(wanted)
    return python


def asked(tool: str, requests: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A tool's answers by name of the request."""
    sys.stderr.write(f"{tool}: {len(requests)} requests ...\n")
    command = [str(python_of(tool)), "-W", "ignore", str(HERE / REQUIRED[tool][2])]
    done = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, check=False)
    if done.returncode:
        return {one["name"]: {"failed": done.stderr.strip().splitlines()[-1]} for one in requests}
    return {one["name"]: one for one in json.loads(done.stdout)}


def compared(folder: Path) -> list[Answer]:
    """Every tool's answer to every case."""
    cases = {f"case-{place}": case for place, case in enumerate(peer_cases())}
    new = {name: _written(case, folder, name, "native") for name, case in cases.items()}
    old = {name: _written(case, folder, f"{name}-old", OLD) for name, case in cases.items()}
    true = {name: _truth(path) for name, path in new.items()}
    found = [_ours(case, new[name], true[name]) for name, case in cases.items()]
    for tool, paths in ((HTA, new), (HTA_OLD, old)):
        answers = asked(HTA, [{"name": name, "files": _files(path)} for name, path in paths.items()])
        found += [_of_hta(tool, case, answers[name], true[name]) for name, case in cases.items()]
    answers = asked(TB, [{"name": name, "folder": str(path)} for name, path in new.items()])
    return [*found, *(_of_tb(case, answers[name], true[name]) for name, case in cases.items())]


def _written(case: Case, folder: Path, name: str, dialect: str) -> Path:
    return write_job(replace(case.spec, name=name, dialect=dialect, gz=False), folder, foreign=True)


def _files(path: Path) -> dict[int, str]:
    return {rank: str(file) for rank, file in enumerate(sorted(path.glob("*.pt.trace.json")))}


def _truth(path: Path) -> dict[str, float]:
    """Of all counted steps."""
    truth = json.loads((path / TRUTH_FILE).read_text())
    steps = {name: np.array(column) for name, column in truth["steps"].items()}
    window, comm = steps["window_ns"].sum(), steps["comm_ns"].sum()
    parts = {name: np.array(truth["collectives"][name]) for name in ("wait_ns", "transfer_ns", "step")}
    counted = parts["step"] > 0
    wait, transfer = (float(parts[name][counted].sum()) for name in ("wait_ns", "transfer_ns"))
    return {
        "compute": steps["compute_ns"].sum() / window,
        "idle": steps["idle_ns"].sum() / window,
        "overlap": steps["overlapped_ns"].sum() / comm,
        "waiting": wait / (wait + transfer),
    }


def _ours(case: Case, path: Path, true: Mapping[str, float]) -> Answer:
    view = view_of(path)
    sections = (TIME.conclude(view, None), STRAGGLERS.conclude(view, None))
    said = {metric.id: metric.value for section in sections if section for metric in section.metrics}
    wait, transfer = 0, 0
    for rank, table in view.fact("collectives").items():
        known = (view.exchange.wait_ns[rank] >= 0) & (np.asarray(table["step"]) > 0)
        wait += int(view.exchange.wait_ns[rank][known].sum())
        transfer += int(view.exchange.transfer_ns[rank][known].sum())
    shares = {
        "compute": float(said["time.compute_share"]),
        "idle": float(said["time.idle_share"]),
        "overlap": float(said["time.overlap_ratio"]),
        "waiting": wait / max(wait + transfer, 1),
    }
    named = said.get("straggler.rank")
    cause = str(said.get("straggler.cause", ""))
    return Answer(OURS, case, None if named is None else int(named), shares, true, cause=cause)


def _of_hta(tool: str, case: Case, said: Mapping[str, Any], true: Mapping[str, float]) -> Answer:
    shares = {
        part: float(np.mean([*said[part].values()])) / 100 for part in ("compute", "idle", "overlap") if part in said
    }
    named = (said.get("stragglers") or [None])[0]
    return Answer(tool, case, named, shares, true, said.get("failed", said.get("stragglers failed", "")))


def _of_tb(case: Case, said: Mapping[str, Any], true: Mapping[str, float]) -> Answer:
    """It names nobody: the rank that synchronizes least is what its reader would take; on clean jobs it is not asked."""
    if "failed" in said:
        return Answer(TB, case, None, {}, true, said["failed"])
    parts = np.array([said["overlap"][worker] for worker in sorted(said["overlap"])], dtype=np.float64)
    waits = np.array([said["wait"][worker] for worker in sorted(said["wait"])], dtype=np.float64)
    compute, under, bare, other = parts.sum(axis=0)
    whole = parts.sum()
    shares = {"compute": (compute + under) / whole, "idle": other / whole}
    if under + bare:
        shares["overlap"] = under / (under + bare)
    if waits.sum():
        shares["waiting"] = waits[:, 1].sum() / waits.sum()
    named = int(np.argmin(waits[:, 1])) if waits.sum() and case.fault != NO_FAULT else None
    return Answer(TB, case, named, shares, true)


def is_right_cause(answer: Answer) -> bool:
    """Only we say one."""
    return answer.is_right and answer.cause == SAID.get(answer.case.fault)


def record_overlap(traces: Path) -> None:
    """Keep what HTA says of the overlap and of the idle time of every real trace with communication on a device."""
    paths = sorted((traces / "kineto").rglob("*.json*"))
    requests = [{"name": str(path.relative_to(traces)), "files": {0: str(path)}} for path in paths]
    answers = asked(HTA, [one for one, path in zip(requests, paths, strict=True) if path.stat().st_size < 8_000_000])
    kept = {
        name: {part: said[part].get("0") for part in ("overlap", "compute", "idle") if part in said}
        for name, said in answers.items()
        if said.get("compute")
    }
    RECORDED.write_text(json.dumps({"tool": REQUIRED[HTA][1][0], "traces": kept}, indent=1, sort_keys=True) + "\n")


def traces_folder() -> Path | None:
    """Where other people's traces are, if they are here."""
    stated = os.environ.get("SCALEPROF_TRACES")
    return Path(stated) if stated and (Path(stated) / "kineto").is_dir() else None
