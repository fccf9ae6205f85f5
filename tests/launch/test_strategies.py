"""The study of strategies: small and quick here, with the answers that its samples must give."""

import subprocess
import sys
from pathlib import Path

import pytest

from scaleprof.launch.strategies import SIZES
from scaleprof.readers.finding.directory import run_of_directory

pytest.importorskip("torch")
pytestmark = pytest.mark.torch
NAMES = {"ddp-powersgd": "ddp+powersgd", "fsdp2-tp": "fsdp2+tp", "pp-gpipe": "pp-gpipe", "tasks": "tasks", "tp": "tp"}


def record(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "scaleprof.launch.strategies", "--out", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_part_of_the_study_is_recorded(tmp_path: Path) -> None:
    done = record(tmp_path, "--steps", "4", "--ms-per-sample", "4", "--redact", *NAMES)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [run_of_directory(folder) for folder in tmp_path.iterdir()]
    found = sorted((run.info.name, run.info.world_size, run.info.strategy) for run in runs)
    assert found == sorted((f"emulated-{name}", size, NAMES[name]) for name in NAMES for size in SIZES[name])
    assert {run.info.global_batch for run in runs if run.info.strategy != "tasks"} == {16}
    assert all(run.info.emulated is not None for run in runs)


def test_an_unknown_strategy_is_named_with_those_there_are(tmp_path: Path) -> None:
    done = record(tmp_path, "fsdp3")
    assert done.returncode == 2
    assert "fsdp3" in done.stdout
    assert "fsdp2" in done.stdout
