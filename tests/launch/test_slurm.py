"""Sweeps on SLURM: what stands in the scripts, and, where a cluster can be started here, jobs that really run."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from scaleprof.errors import LaunchError, OptionError
from scaleprof.launch import slurm
from scaleprof.launch.slurm import Cluster, folder_of, script_of, submit, written
from scaleprof.launch.sweep import plan_of
from scaleprof.launch.trials import Ledger, Trial, trials_of
from tests.launch.cluster import cluster, is_here
from tests.launch.test_sweep import RECORDER, script

ENVIRONMENT = {"SCALEPROF_SERIES": "study", "SCALEPROF_RUN_ID": "study-16-ab", "SCALEPROF_DIR": "/data/my traces"}


def test_nodes_are_filled() -> None:
    assert [Cluster(8).nodes(ranks) for ranks in (1, 4, 8, 16, 64)] == [1, 1, 1, 2, 8]
    with pytest.raises(OptionError, match="12 ranks do not fill nodes of 8"):
        Cluster(8).nodes(12)


@pytest.mark.parametrize(
    "option", ["--nodes=4", "-N 4", "partition=gpu", "--output=x", "--x\nrm", "--dependency=afterok:1"]
)
def test_options_that_the_sweep_says_itself_are_refused(option: str) -> None:
    with pytest.raises(OptionError, match="--sbatch"):
        Cluster(8, (option,))


def test_a_script_says_everything_that_the_job_needs(tmp_path: Path) -> None:
    ledger = Ledger.of(tmp_path, "study")
    text = script_of(
        Trial(16, 1),
        ["train.py", "--name", "it's"],
        ENVIRONMENT,
        ledger,
        Cluster(8, ("--partition=gpu", "--time=1:00:00")),
    )
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert lines[1:7] == [
        "#SBATCH --job-name=study-n16-r1", "#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=1",
        f"#SBATCH --output={tmp_path}/slurm-study/study-n16-r1-%j.log", "#SBATCH --partition=gpu", "#SBATCH --time=1:00:00",
    ]  # fmt: skip
    assert "export SCALEPROF_DIR='/data/my traces'" in lines
    assert "--nproc-per-node 8" in text
    assert "train.py --name 'it'\"'\"'s'" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_what_a_job_writes_when_it_ended_well_is_read_again(tmp_path: Path) -> None:
    """The last line of a script, run by a shell."""
    ledger = Ledger.of(tmp_path / "a folder's", "study")
    ledger.begin(["train.py"])
    text = script_of(Trial(4, 2), ["train.py"], ENVIRONMENT, ledger, Cluster())
    subprocess.run(["bash", "-c", text.splitlines()[-1]], check=True)
    assert ledger.done(["train.py"]) == {Trial(4, 2): "study-16-ab"}


def test_a_dry_run_needs_no_cluster_and_a_real_one_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.of(tmp_path, "study")
    files = written({Trial(2, 0): "#!/bin/bash\n"}, ledger)
    assert files == {Trial(2, 0): folder_of(ledger) / "n2-r0.sh"}
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    assert slurm.in_queue({Trial(2, 0): "1"}) == {}
    with pytest.raises(LaunchError, match="sbatch is not here"):
        submit(files, ledger)


def test_what_sbatch_refuses_is_said_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = tmp_path / "bin" / "sbatch"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{refusing.parent}:{os.environ['PATH']}")
    ledger = Ledger.of(tmp_path, "study")
    with pytest.raises(LaunchError, match=r"n2-r0\.sh was refused by sbatch: sbatch: error: invalid partition"):
        submit(written({Trial(2, 0): "#!/bin/bash\n"}, ledger), ledger)


@pytest.mark.torch
@pytest.mark.slurm
@pytest.mark.skipif(
    not is_here(), reason="SLURM's daemons cannot be started here: `make test-slurm` installs them, as root"
)
@pytest.mark.skipif(os.environ.get("SCALEPROF_SLURM") != "1", reason="real SLURM jobs are tested by `make test-slurm`")
def test_a_sweep_runs_as_jobs_of_a_real_cluster_and_goes_on_after_one_failed(tmp_path: Path) -> None:
    obstacle = tmp_path / "obstacle"
    obstacle.write_text("")
    failing = textwrap.dedent(RECORDER) + f"if size == 2 and os.path.exists({str(obstacle)!r}): raise SystemExit(3)\n"
    command = [
        sys.executable,
        "-m",
        "scaleprof",
        "sweep",
        "--ranks",
        "1,2",
        "--launcher",
        "slurm",
        "--ranks-per-node",
        "2",
        "--out",
        "out",
        "-q",
    ]
    words = ["--", script(tmp_path, failing)]
    with cluster(tmp_path / "slurm") as environment:
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        dry = subprocess.run(
            [*command, "--dry-run", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert [line.split("/")[-1] for line in dry.stdout.splitlines()] == ["n1-r0.sh", "n2-r0.sh"]
        first = subprocess.run(
            [*command, "--wait", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        ledger = Ledger.of(tmp_path / "out", "train")
        assert list(ledger.done(words[1:])) == [Trial(1, 0)], (
            first.stderr,
            [log.read_text() for log in folder_of(ledger).glob("*.log")],
        )
        obstacle.unlink()
        subprocess.run(
            [*command, "--wait", "--resume", *words], cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert list(ledger.done(words[1:])) == [Trial(1, 0), Trial(2, 0)], [
            log.read_text() for log in folder_of(ledger).glob("*.log")
        ]
        plan = plan_of(words[1:], trials_of([1, 2]), out=tmp_path / "out", resume=True)
        assert plan.trials == ()
        assert slurm.in_queue(ledger.jobs()) == {}
