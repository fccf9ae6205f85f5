"""A sweep on a cluster with SLURM: a batch script for each run, submitted one after another, so that no run disturbs another.

Each job starts one torchrun on each of its nodes, which find one another at the first node. A run that ends well says so in the sweep's file.
"""

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaleprof.errors import LaunchError, OptionError
from scaleprof.launch.trials import Ledger, Trial

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
"""Between two looks at the queue."""
FIRST_PORT, PORTS = 20_000, 10_000
"""Where torchrun meets: a port of the job's own."""
_NOT_OURS = (
    "--nodes",
    "-N",
    "--ntasks-per-node",
    "--ntasks",
    "-n",
    "--output",
    "-o",
    "--job-name",
    "-J",
    "--dependency",
    "-d",
    "--wait",
    "-W",
)


@dataclass(frozen=True)
class Cluster:
    """How jobs are submitted."""

    ranks_per_node: int = 8
    options: tuple[str, ...] = ()
    """Options of sbatch, `--partition=gpu` and the like."""

    def __post_init__(self) -> None:
        if self.ranks_per_node < 1:
            raise OptionError(f"--ranks-per-node must be at least 1, not {self.ranks_per_node}")
        for option in self.options:
            if not option.startswith("-") or "\n" in option:
                raise OptionError(f"--sbatch takes an option of sbatch such as --partition=gpu, not {option!r}")
            if option.split("=")[0].split(" ")[0] in _NOT_OURS:
                raise OptionError(
                    f"--sbatch {option}: nodes, tasks, names, output and order are the sweep's own to say"
                )

    def nodes(self, ranks: int) -> int:
        """How many nodes so many ranks take. OptionError where they do not fill them."""
        if ranks > self.ranks_per_node and ranks % self.ranks_per_node:
            raise OptionError(
                f"{ranks} ranks do not fill nodes of {self.ranks_per_node}: choose other --ranks or --ranks-per-node"
            )
        return max(1, ranks // self.ranks_per_node)


def script_of(
    trial: Trial, command: Sequence[str], environment: Mapping[str, str], ledger: Ledger, cluster: Cluster
) -> str:
    """The batch script of one run. `environment` is what the recorder must know, `SCALEPROF_RUN_ID` and `SCALEPROF_SERIES` among it."""
    nodes = cluster.nodes(trial.ranks)
    name = f"{environment['SCALEPROF_SERIES']}-n{trial.ranks}-r{trial.repeat}"
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
    torchrun = shlex.join([sys.executable, "-m", "torch.distributed.run"])
    lines = [
        f"--job-name={name}", f"--nodes={nodes}", "--ntasks-per-node=1", f"--output={folder_of(ledger) / f'{name}-%j.log'}", *cluster.options,
    ]  # fmt: skip
    options = "\n".join(f"#SBATCH {line}" for line in lines)
    return f"""#!/bin/bash
{options}
set -euo pipefail
cd {shlex.quote(str(Path.cwd()))}
{exports}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$(({FIRST_PORT} + SLURM_JOB_ID % {PORTS}))
srun --ntasks-per-node=1 {torchrun} --nnodes "$SLURM_NNODES" --nproc-per-node {trial.ranks // nodes} \\
  --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$first:$port" {shlex.join(command)}
printf '%s\\n' {shlex.quote(ledger.line(trial, environment["SCALEPROF_RUN_ID"]))} >> {shlex.quote(str(ledger.path.absolute()))}
"""


def folder_of(ledger: Ledger) -> Path:
    """Where the scripts of a sweep and what its jobs print lie."""
    return (ledger.path.parent / f"slurm-{ledger.path.stem.removeprefix('sweep-')}").absolute()


def written(scripts: Mapping[Trial, str], ledger: Ledger) -> dict[Trial, Path]:
    """The scripts as files."""
    folder = folder_of(ledger)
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for trial, text in scripts.items():
        found[trial] = folder / f"n{trial.ranks}-r{trial.repeat}.sh"
        found[trial].write_text(text, encoding="utf-8")
    return found


def in_queue(jobs: Mapping[Trial, str]) -> dict[Trial, str]:
    """Those of these jobs that have not ended."""
    if not jobs or shutil.which("squeue") is None:
        return {}
    asked = ["squeue", "--noheader", "--format=%A", f"--jobs={','.join(jobs.values())}"]
    ended = subprocess.run(asked, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    known = set(ended.stdout.split())
    return {trial: job for trial, job in jobs.items() if job in known}


def await_end(jobs: Mapping[Trial, str]) -> None:
    """Return when none of these jobs is in the queue."""
    pause_s = SHORTEST_PAUSE_S
    while in_queue(jobs):
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def submit(scripts: Mapping[Trial, Path], ledger: Ledger) -> dict[Trial, str]:
    """The jobs that the scripts became, each of which waits for the end of the one before.

    LaunchError where there is no sbatch, or it refuses one.
    """
    if shutil.which("sbatch") is None:
        raise LaunchError(
            "sbatch is not here: run this where SLURM's jobs are submitted, or with --dry-run to write the scripts alone"
        )
    jobs: dict[Trial, str] = {}
    for trial, script in scripts.items():
        after = [f"--dependency=afterany:{list(jobs.values())[-1]}"] if jobs else []
        words = ["sbatch", "--parsable", *after, str(script)]
        ended = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        job = ended.stdout.strip().split(";")[0]
        if not job.isdigit():
            said = (ended.stderr.strip() or ended.stdout.strip() or f"exit code {ended.returncode}").splitlines()[-1]
            before = f"; submitted before it: {', '.join(jobs.values())}" if jobs else ""
            raise LaunchError(f"{script} was refused by sbatch: {said}{before}")
        jobs[trial] = job
        ledger.add_job(trial, job)
    return jobs
