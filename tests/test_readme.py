"""What the README and the page on frameworks promise works: their training scripts are copied out, run and analyzed."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from scaleprof.readers import find_runs, read_rank

ROOT = Path(__file__).parent.parent


def training_script() -> str:
    blocks: list[str] = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return next(block for block in blocks if '__name__ == "__main__"' in block)


def test_the_training_script_is_short() -> None:
    assert len(training_script().splitlines()) <= 35


@pytest.mark.torch
def test_the_training_script_runs_and_can_be_analyzed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(training_script())
    settings = {name: value for name, value in os.environ.items() if not name.startswith("SCALEPROF")}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    done = subprocess.run(torchrun, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    analyze = [sys.executable, "-m", "scaleprof", "analyze", "traces/", "-o", "report.html", "--json", "report.json"]
    done = subprocess.run(analyze, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "report.html"
    assert (tmp_path / "report.html").stat().st_size > 10_000

    from scaleprof import Report

    (run,) = Report.load(tmp_path / "report.json").runs
    assert run.info.world_size == 2
    assert run.ranks_read == (0, 1)
    steps = run.metric("step.count")
    assert steps is not None
    assert 1 <= float(steps.value) <= 32
    assert "32 seen" in steps.note, "4096 samples, 64 a step, on 2 ranks"


def snippet(line: str) -> str:
    """The script on the page of frameworks that has this line."""
    page = (ROOT / "docs" / "frameworks.md").read_text()
    blocks: list[str] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [block] = [block for block in blocks if line in block]
    return block


def run_in(folder: Path, *command: str) -> str:
    """What a command of this Python prints when all is well."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("SCALEPROF")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


def analyzed(folder: Path) -> tuple[int, float, int]:
    """World size, samples of a rank in a step, and how many steps there are, of the only run; it can be reported on."""
    run_in(folder, "-m", "scaleprof", "analyze", "traces/", "--json", "report.json")
    (run,) = find_runs([folder / "traces"])
    assert run.info.local_batch is not None
    return run.info.world_size, run.info.local_batch, len(read_rank(run.ranks[0]).steps)


@pytest.mark.torch
def test_the_script_with_a_profiler_of_its_own_runs_as_printed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(snippet("torch.profiler.profile("))
    run_in(tmp_path, "train.py")
    assert analyzed(tmp_path) == (1, 64, 10)


TRAINERS = pytest.mark.skipif(
    not all(find_spec(name) for name in ("lightning", "pytorch_lightning", "transformers", "accelerate")),
    reason="the trainers are not here: `make trainers` installs them",
)


@TRAINERS
@pytest.mark.trainers
@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_the_lightning_script_runs_as_printed(tmp_path: Path, package: str) -> None:
    script = snippet("from scaleprof.lightning")
    assert "import lightning.pytorch as pl" in script
    (tmp_path / "train.py").write_text(script.replace("import lightning.pytorch as pl", f"import {package} as pl"))
    run_in(tmp_path, "train.py")
    # 4096 samples, 64 a batch, 2 batches a step, on 2 ranks.
    assert analyzed(tmp_path) == (2, 128, 16)


@TRAINERS
@pytest.mark.trainers
def test_the_hugging_face_script_runs_as_printed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(snippet("from scaleprof.huggingface"))
    run_in(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py")
    assert analyzed(tmp_path) == (2, 16, 20)


@TRAINERS
@pytest.mark.trainers
def test_the_accelerate_script_runs_as_printed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(snippet("from accelerate import"))
    run_in(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py")
    # The window holds batches 4 to 19 of 64, four to a step.
    assert analyzed(tmp_path) == (2, 64, 4)
