"""What the README promises works: its training script is copied out, run and analyzed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
