"""What `scaleprof doctor` finds: on this machine, and on machines where something is missing or broken."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from scaleprof.cli import main
from scaleprof.launch import doctor, trial
from scaleprof.launch.doctor import Check, Diagnosis, examine
from scaleprof.launch.trial import Trial

CPU = {"version": "2.13.0+cpu", "cuda": None, "hip": None, "gloo": True, "nccl": False, "devices": []}
GPU = {**CPU, "version": "2.13.0+cu130", "cuda": "13.0", "nccl": True, "devices": ["H100", "H100"]}


@pytest.fixture(autouse=True)
def fresh_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCALEPROF", "SCALEPROF_DIR"):
        monkeypatch.delenv(name, raising=False)


def by_name(checks: tuple[Check, ...] | list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == name else find(module))


@pytest.mark.torch
def test_here_a_trial_is_recorded_and_analysed(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "scaleprof", "doctor", "--json", "--out", str(tmp_path / "traces")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout
    said = json.loads(done.stdout)
    assert said["works"] is True
    states = {check["name"]: check["state"] for check in said["checks"]}
    for name in ("Python", "torch", "gloo", "traces folder", "steps", "flight recorder", "blocked time"):
        assert states[name] == "ok"
    found = {check["name"]: check["found"] for check in said["checks"]}
    assert "steps recorded and analysed" in found["trial of 2 ranks"]
    assert not (tmp_path / "traces").exists(), "looking leaves nothing behind"


def test_without_torch_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without("torch", monkeypatch)
    monkeypatch.setattr(doctor, "run_trial", lambda: pytest.fail("there is nothing to try"))
    assert main(["doctor", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "pip install 'scaleprof[torch]'" in " ".join(said.split())
    assert said.splitlines()[-1].startswith("Recording does not work here: see torch.")


def test_torch_is_described_by_version_and_build() -> None:
    cpu, gpu = by_name(doctor._torch(CPU)), by_name(doctor._torch(GPU))
    assert (cpu["torch"].state, cpu["torch"].found) == ("ok", "2.13.0+cpu, CPU only")
    assert (cpu["GPUs"].state, cpu["NCCL"].state, cpu["gloo"].state) == ("missing", "missing", "ok")
    assert gpu["torch"].found == "2.13.0+cu130, CUDA 13.0"
    assert gpu["GPUs"].found == "2 x H100"
    assert gpu["NCCL"].state == "ok"
    rocm = by_name(doctor._torch({**CPU, "hip": "6.4"}))
    assert rocm["torch"].found.endswith("ROCm 6.4")
    assert "look at the driver" in rocm["GPUs"].remedy


def test_a_torch_outside_the_supported_range_is_said() -> None:
    old = by_name(doctor._torch({**CPU, "version": "2.5.1"}))["torch"]
    assert (old.state, old.needed) == ("failed", True)
    assert old.remedy.startswith("2.6 or newer is needed")
    new = by_name(doctor._torch({**CPU, "version": "3.0.0a1"}))["torch"]
    assert new.state == "ok"
    assert "newer than 2.13" in new.remedy
    assert by_name(doctor._torch({**CPU, "gloo": False}))["gloo"].state == "failed"


def test_a_torch_that_cannot_be_imported_is_told_from_none() -> None:
    [broken] = doctor._torch({"error": "ImportError: libcudart.so.13"})
    assert broken.state == "failed"
    assert "libcudart.so.13" in broken.found


def test_a_probe_that_dies_or_hangs_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._probe("raise OSError('no driver')") == {"error": "OSError: no driver"}
    assert doctor._probe("import os; os.abort()")["error"].startswith("exit code -")
    assert doctor._probe("""print('a banner'); print('{"a": 1}')""") == {"a": 1}
    monkeypatch.setattr(doctor, "PROBE_S", 0.5)
    assert doctor._probe("import time; time.sleep(60)") == {"error": "it did not end within 0.5 s"}


def test_gpus_without_their_counters_are_a_fault_and_their_absence_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_probe", lambda script: {"error": "no library"})
    assert doctor._nvml(GPU).state == "failed"
    assert doctor._nvml(CPU).state == doctor._nvml(None).state == "missing"
    monkeypatch.setattr(doctor, "_probe", lambda script: {"driver": "580.1", "devices": 2})
    assert doctor._nvml(GPU).found == "counters of 2 GPUs, driver 580.1"
    without("pynvml", monkeypatch)
    assert doctor._nvml(GPU).remedy == "pip install nvidia-ml-py"


def test_a_folder_that_cannot_be_written_and_a_full_disk_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    refused = doctor._folder(tmp_path / "file" / "traces")
    assert (refused.state, refused.needed) == ("failed", True)
    assert "SCALEPROF_DIR" in refused.remedy
    assert doctor._folder(tmp_path / "a" / "b").state == "ok"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    monkeypatch.setattr(doctor, "ENOUGH_BYTES", 1 << 70)
    assert doctor._folder(tmp_path).remedy.startswith("make room")


def test_recording_that_is_switched_off_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCALEPROF_TRACES", raising=False)
    assert doctor._switch().state == "ok"
    monkeypatch.setenv("SCALEPROF", "light")
    assert doctor._switch().found == "SCALEPROF=light, SCALEPROF_CACHE=0"
    monkeypatch.setenv("SCALEPROF", "0")
    assert doctor._switch().state == "failed"


def test_what_the_trial_could_not_record_is_named_with_its_remedy() -> None:
    done = Trial(
        capabilities={"steps": True, "run_queue": False, "unheard_of": False},
        warnings=("something odd",),
        metrics={"step.count": 8.0, "step.time_ms": 21.0, "time.exposed_comm_share": 0.25},
    )
    checks = by_name(doctor._of_trial(done))
    assert list(checks) == ["steps", "waiting for a core", "trial of 2 ranks"]
    assert checks["waiting for a core"].state == "failed"
    assert not checks["waiting for a core"].needed
    assert checks["trial of 2 ranks"].found == (
        "8 steps recorded and analysed, 21.0 ms a step, 25% of it exposed communication"
    )
    assert checks["trial of 2 ranks"].remedy == "something odd"


@pytest.mark.parametrize(
    "failed", [Trial("a job of 2 ranks ended with exit code 1", ("RuntimeError: no interface",)), Trial()]
)
def test_a_trial_that_fails_means_that_recording_does_not_work(
    failed: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_probe", lambda script: CPU if "torch" in script else {"error": "none"})
    monkeypatch.setattr(doctor, "run_trial", lambda: failed)
    said: list[str] = []
    diagnosis = examine(tmp_path, on_line=said.append)
    assert not diagnosis.works
    assert "trial of 2 ranks" in diagnosis.verdict
    assert len(said) == 2
    assert set(json.loads(diagnosis.as_json())["checks"][0]) == {"name", "state", "found", "remedy", "needed"}


def test_what_is_only_nice_to_have_decides_nothing() -> None:
    there = Check("Python", "ok", "3.11", needed=True)
    assert Diagnosis((there, Check("NVML", "failed", "lost"))).works
    assert not Diagnosis((there, Check("torch", "missing", "", needed=True))).works


def test_exit_codes_and_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good = Diagnosis((Check("Python", "ok", "3.11", needed=True),))
    monkeypatch.setattr(doctor, "examine", lambda folder, on_line: good)
    assert main(["doctor", "-q"]) == 0
    assert capsys.readouterr().out == "Recording works here.\n"


@pytest.mark.torch
def test_a_trial_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TRIAL_S", 1.0)
    assert trial.run_trial().failure == "a job of 2 ranks did not end within 1 s"
