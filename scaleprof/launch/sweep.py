"""Run one training script at several world sizes with torchrun, each recorded as a run of one series.

A run that fails costs that run: the others still go on, and what happened is said. The script needs a `scaleprof.profile` somewhere; where
it records to is decided here, through the environment, whatever the script says.
"""

import importlib.util
import os
import re
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaleprof.errors import BrokenFile, LaunchError, MissingPackage, OptionError
from scaleprof.launch.processes import run_command
from scaleprof.launch.slurm import Cluster, await_end, in_queue, script_of, written
from scaleprof.launch.slurm import submit as submit_scripts
from scaleprof.launch.trials import Ledger, Trial
from scaleprof.run import RUN_FILE, read_run_info

_SHOWN_LINES = 10


@dataclass(frozen=True)
class SizeFailure:
    """A world size that did not give a usable recording."""

    ranks: int
    reason: str
    """One sentence."""
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """What a sweep recorded: run folders in order of world size, and the sizes that are missing."""

    name: str
    runs: tuple[Path, ...]
    failures: tuple[SizeFailure, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a sweep runs, and where it keeps what is done."""

    command: tuple[str, ...]
    """A script and its arguments."""
    series: str
    out: Path
    trials: tuple[Trial, ...]
    """Those that are still to be run."""
    done: Mapping[Trial, str]
    """The run ids of the others."""

    @property
    def ledger(self) -> Ledger:
        """Where it is written down."""
        return Ledger.of(self.out, self.series)


def plan_of(
    command: Sequence[str], trials: Sequence[Trial], *, out: Path, name: str | None = None, resume: bool = False
) -> Plan:
    """A sweep that begins, or goes on with what is not done yet. Raises OptionError and LaunchError for what cannot be run or gone on with."""
    _check(command)
    series = _file_name(name) if name else _series_of(command)
    ledger = Ledger.of(out, series)
    done = ledger.done(command) if resume else {}
    if not resume:
        ledger.begin(command)
    rest = tuple(trial for trial in trials if trial not in done)
    return Plan(tuple(command), series, out, rest, {trial: done[trial] for trial in trials if trial in done})


def sweep(plan: Plan, *, on_line: Callable[[Trial, str], None] | None = None) -> Sweep:
    """Run what is left of a plan with torchrun on this machine; `on_line` gets the run and each line that the job writes."""
    failures: list[SizeFailure] = []
    for trial in plan.trials:
        failure = _run(plan, trial, on_line)
        failures += [failure] if failure else []
    return recorded(plan, failures)


def recorded(plan: Plan, failures: Sequence[SizeFailure] = ()) -> Sweep:
    """Everything that a plan has recorded, before and now."""
    done = plan.ledger.done(plan.command)
    wanted = {*plan.trials, *plan.done}
    ids = [
        run_id
        for trial, run_id in sorted(done.items(), key=lambda one: (one[0].ranks, one[0].repeat))
        if trial in wanted
    ]
    folders = sorted(_run_folders(plan.out))
    runs = tuple(folder for run_id in ids for folder in folders if _is_of(folder, run_id))
    if not runs:
        raise LaunchError(_nothing_recorded(failures))
    return Sweep(plan.series, runs, tuple(failures))


def environment_of(plan: Plan, trial: Trial) -> dict[str, str]:
    """What the recorder must know of a run, with an id of its own."""
    return {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "PYTHONUNBUFFERED": "1",
        "SCALEPROF_DIR": str(plan.out.absolute()),
        "SCALEPROF_SERIES": plan.series,
        "SCALEPROF_NAME": plan.series,
        "SCALEPROF_REPEAT": str(trial.repeat),
        "SCALEPROF_RUN_ID": f"{plan.series}-{trial.ranks}-{secrets.token_hex(4)}",
    }


@dataclass(frozen=True)
class Submitted:
    """What a cluster was given."""

    scripts: tuple[Path, ...]
    jobs: tuple[str, ...]
    """The ids of the jobs of these; none where the scripts were only written."""
    in_queue: tuple[str, ...]
    """Jobs of this sweep that were submitted before and have not ended."""


def submit(plan: Plan, cluster: Cluster, *, dry_run: bool, wait: bool) -> Submitted:
    """Submit what is left of a plan, and is not in the queue already, to SLURM; with `wait` return when all of it has ended."""
    waiting = in_queue({trial: job for trial, job in plan.ledger.jobs().items() if trial in plan.trials})
    scripts = {
        trial: script_of(trial, plan.command, environment_of(plan, trial), plan.ledger, cluster)
        for trial in plan.trials
        if trial not in waiting
    }
    files = written(scripts, plan.ledger)
    jobs = {} if dry_run else submit_scripts(files, plan.ledger)
    if wait and not dry_run:
        await_end({**waiting, **jobs})
    return Submitted(tuple(files.values()), tuple(jobs.values()), tuple(waiting.values()))


def _check(command: Sequence[str]) -> None:
    if not command:
        raise OptionError("sweep needs a training script after --, like: scaleprof sweep --ranks 1,2,4 -- train.py")
    if importlib.util.find_spec("torch") is None:
        raise MissingPackage("torch", "torch", "sweep")
    if command[0] != "-m" and not Path(command[0]).is_file():
        raise LaunchError(f"{command[0]}: there is no such training script")
    if command[0] == "-m" and len(command) < 2:
        raise OptionError("-m needs the name of a module after it")


def _series_of(command: Sequence[str]) -> str:
    text = command[1].rpartition(".")[2] if command[0] == "-m" else Path(command[0]).stem
    return _file_name(text)


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "sweep"


def _run(plan: Plan, trial: Trial, on_line: Callable[[Trial, str], None] | None) -> SizeFailure | None:
    """One run; why it recorded nothing that can be used, or None."""
    settings = environment_of(plan, trial)
    run_id = settings["SCALEPROF_RUN_ID"]
    before = _run_folders(plan.out)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(trial.ranks)]
    handler = (lambda line: on_line(trial, line)) if on_line else None
    ended = run_command([*torchrun, *plan.command], environment={**os.environ, **settings}, on_line=handler)
    found = sorted(folder for folder in _run_folders(plan.out) - before if _is_of(folder, run_id))
    if ended.exit_code != 0:
        kept = f"; what it recorded stays in {found[0]}, outside the report" if found else ""
        reason = f"{trial.words} ended with exit code {ended.exit_code}{kept}"
        return SizeFailure(trial.ranks, reason, ended.last_lines[-_SHOWN_LINES:])
    if not found:
        return SizeFailure(trial.ranks, f"{trial.words} ended well but recorded nothing{_why_nothing()}")
    plan.ledger.add(trial, run_id)
    return None


def _run_folders(out: Path) -> set[Path]:
    return {file.parent for file in out.glob(f"*/{RUN_FILE}")}


def _is_of(folder: Path, run_id: str) -> bool:
    """Whether a folder belongs to the job just run: others may record into the same place at the same time."""
    try:
        recorded = read_run_info(folder / RUN_FILE).run_id or ""
    except BrokenFile:
        return False
    return run_id in recorded or run_id in folder.name


def _why_nothing() -> str:
    if os.environ.get("SCALEPROF") == "0":
        return ", because SCALEPROF=0 is set in the environment"
    return ": put scaleprof.profile around the training loop of the script"


def _nothing_recorded(failures: Sequence[SizeFailure]) -> str:
    if not failures:
        return "no run of the sweep has ended well yet"
    first = failures[0]
    said = "".join(f"\n  {line}" for line in first.last_lines)
    rest = f" (and so at {len(failures) - 1} other runs)" if len(failures) > 1 else ""
    return f"no size gave a recording: {first.reason}{rest}{said}"
