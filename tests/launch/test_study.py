"""Studies and the demo: small real jobs, forked, recorded by the real recorder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaleprof.launch import demo
from scaleprof.launch.demo import PACKAGED_STUDY, record_demo
from scaleprof.launch.network import refusal
from scaleprof.launch.study import Study
from scaleprof.run import RUN_FILE, RunInfo, read_run_info, write_json

pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def test_strong_runs_share_one_batch_and_weak_ones_keep_theirs() -> None:
    jobs = list(Study(Path("out"), ranks=(1, 2, 4), step_ms=400).jobs())
    assert [(job.mode, size, job.local_batch(size) * job.ms_per_sample) for job, size in jobs] == [
        ("strong", 1, 1600.0),
        ("strong", 2, 800.0),
        ("strong", 4, 400.0),
        ("weak", 1, 400.0),
        ("weak", 2, 400.0),
        ("weak", 4, 400.0),
    ]
    assert {job.name for job, _ in jobs} == {"emulated-ddp-strong", "emulated-ddp-weak"}


def test_a_rank_never_gets_an_empty_batch() -> None:
    from scaleprof.launch.demo_job import Job

    assert Job(mode="strong", batch=2).local_batch(4) == 1


@pytest.mark.parametrize(
    "link", ["", pytest.param("200mbit", marks=pytest.mark.skipif(bool(refusal()), reason="no namespaces"))]
)
def test_a_small_study_is_recorded(tmp_path: Path, link: str) -> None:
    settings = ["--ranks", "1,2", "--steps", "4", "--step-ms", "10", "--gradient-mb", "0.1", "--link", link, "--redact"]
    words = [sys.executable, "-m", "scaleprof.launch.study", "--out", str(tmp_path), *settings]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([line for line in done.stdout.splitlines() if "4 steps in" in line]) == 4, done.stdout
    infos = sorted(
        (info.series or "", info.world_size)
        for info in (read_run_info(file) for file in tmp_path.glob(f"*/{RUN_FILE}"))
    )
    assert infos == [(f"emulated-ddp-{mode}", size) for mode in ("strong", "weak") for size in (1, 2)]


def test_without_torch_the_demo_takes_the_packaged_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)
    recorded = record_demo(tmp_path)
    assert recorded.runs == (PACKAGED_STUDY,)
    assert "torch is not installed" in recorded.origin
    assert list(PACKAGED_STUDY.glob(f"*/{RUN_FILE}"))


def test_the_demo_replaces_its_own_recordings_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, series in (("earlier", f"{demo.NAME}-strong"), ("mine", "my-model")):
        (tmp_path / name).mkdir()
        write_json(RunInfo(name, 1, series), tmp_path / name / RUN_FILE)
    monkeypatch.setattr(demo, "STEPS", 3)
    monkeypatch.setattr(demo, "STEP_MS", 8.0)
    monkeypatch.setattr(demo, "GRADIENT_MB", 0.1)
    recorded = record_demo(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(["mine", *(folder.name for folder in recorded.runs)])
    assert sorted(read_run_info(folder / RUN_FILE).world_size for folder in recorded.runs) == [1, 1, 2, 2, 4, 4]
