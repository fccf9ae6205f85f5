"""NVML through the real binding, nvidia-ml-py, with a driver library that is built here; and a few cases on a binding that is a Python object."""

import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from scaleprof.collect.machine.gpu import gpu_counters

ROOT = Path(__file__).parent.parent.parent

READ = """
import json, sys
from scaleprof.collect.machine.gpu import gpu_counters
losses = []
read = gpu_counters(sys.argv[1], lambda what, reason: losses.append([what, reason]))
samples = [read() for _ in range(int(sys.argv[2]))] if read else None
print(json.dumps({"samples": samples, "losses": losses}))
"""

SAMPLE = """
import json, sys, time
from scaleprof.collect.machine import sampler
from scaleprof.collect.guard import Guard
sampler.uuid_of = lambda device: "11-22"
guard, seen = Guard(), []
thread = sampler.Sampler(100, lambda now, counters: seen.append(counters), guard)
thread.start()
began = time.monotonic()
watched = thread.watch_gpu(0)
started = time.monotonic()
time.sleep(0.5)
stopping = time.monotonic()
thread.stop()
with_gpu = [counters for counters in seen if "gpu_util_percent" in counters]
print(json.dumps({
    "watched": watched, "start_s": started - began, "stop_s": time.monotonic() - stopping,
    "samples": len(seen), "of_process": sum("rss_bytes" in counters for counters in seen), "of_gpu": len(with_gpu),
    "warnings": guard.warnings, "cpu_ms": thread.cpu_ns / 1e6,
}))
"""


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a driver library of today and one of yesterday."""
    if shutil.which("gcc") is None or sys.platform != "linux":
        pytest.skip("no gcc here to build a driver library with")
    folders = {}
    for name, flags in {"new": [], "old": ["-DOLD"]}.items():
        folders[name] = tmp_path_factory.mktemp(name)
        library = folders[name] / "libnvidia-ml.so.1"
        words = ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", *flags, "-o", str(library), "fake_nvml.c"]
        subprocess.run(words, cwd=Path(__file__).parent, check=True)
    return folders


def run(script: str, driver: Path, *arguments: str, behaviour: str = "", calls: Path | None = None) -> Any:
    """What a script prints in a process that finds this driver."""
    settings = {**os.environ, "LD_LIBRARY_PATH": str(driver), "FAKE_NVML": behaviour, "PYTHONPATH": str(ROOT)}
    if calls is not None:
        settings["FAKE_NVML_CALLS"] = str(calls)
    words = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(words, env=settings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_counter_comes_in_plain_units(drivers: dict[str, Path], tmp_path: Path) -> None:
    said = run(READ, drivers["new"], "11-22", "2", calls=tmp_path / "calls")
    assert said["losses"] == []
    assert said["samples"][1] == {
        "gpu_util_percent": 71,
        "gpu_memory_util_percent": 32,
        "gpu_memory_bytes": 20 << 30,
        "gpu_sm_clock_mhz": 1980,
        "gpu_memory_clock_mhz": 2619,
        "gpu_throttle_reasons": 0x24,
        "gpu_temperature_c": 61,
        "gpu_power_w": 412.5,
        "gpu_energy_j": 407,
        "gpu_nvlink_sent_bytes": 2000 * 1024,
        "gpu_nvlink_received_bytes": 6000 * 1024,
        "gpu_pcie_sent_bytes": 10_000,
        "gpu_pcie_received_bytes": 9_000_000_002,
    }
    assert (tmp_path / "calls").read_text() == "44", "one call for the four fields, in each sample"


def test_fields_that_are_not_supported_are_absent_and_not_asked_for_again(
    drivers: dict[str, Path], tmp_path: Path
) -> None:
    said = run(READ, drivers["new"], "11-22", "3", behaviour="pcie", calls=tmp_path / "calls")
    for sample in said["samples"]:
        assert {name for name in sample if "nvlink" in name} == set()
        assert {name for name in sample if "pcie" in name} == {"gpu_pcie_sent_bytes", "gpu_pcie_received_bytes"}
    assert (tmp_path / "calls").read_text() == "422"


def test_functions_that_are_not_supported_cost_their_column_only(drivers: dict[str, Path]) -> None:
    said = run(READ, drivers["new"], "11-22", "2", behaviour="few")
    assert said["losses"] == [], "what a GPU cannot do is no loss"
    assert not {"gpu_energy_j", "gpu_temperature_c"} & set(said["samples"][0])
    assert len(said["samples"][1]) == 11


def test_an_older_driver_has_the_old_name_and_no_fields(drivers: dict[str, Path]) -> None:
    said = run(READ, drivers["old"], "11-22", "2")
    assert said["losses"] == []
    assert said["samples"][1]["gpu_throttle_reasons"] == 0x44
    assert not [name for name in said["samples"][1] if name.endswith("_bytes") and name != "gpu_memory_bytes"]


def test_a_part_of_a_gpu_has_its_memory_and_the_clocks_of_the_whole(drivers: dict[str, Path]) -> None:
    said = run(READ, drivers["new"], "11-22", "2", behaviour="mig")
    assert said["losses"] == []
    assert said["samples"][1] == {
        "gpu_memory_bytes": 20 << 30,
        "gpu_sm_clock_mhz": 1980,
        "gpu_memory_clock_mhz": 2619,
        "gpu_throttle_reasons": 0x24,
        "gpu_temperature_c": 61,
    }, "energy and bytes of the whole GPU are not this rank's"


@pytest.mark.parametrize("uuid", ["GPU-11-22", "33-44"])
def test_the_uuid_decides(drivers: dict[str, Path], uuid: str) -> None:
    said = run(READ, drivers["new"], uuid, "1")
    assert (said["samples"] is not None) == (uuid == "GPU-11-22")


def test_one_failure_costs_one_sample(drivers: dict[str, Path]) -> None:
    said = run(READ, drivers["new"], "11-22", "5", behaviour="hiccup")
    assert [len(sample) for sample in said["samples"]] == [13, 13, 0, 13, 13]
    assert said["losses"] == []


def test_a_gpu_that_is_lost_ends_its_counters_once(drivers: dict[str, Path]) -> None:
    said = run(READ, drivers["new"], "11-22", "9", behaviour="lost")
    assert [len(sample) for sample in said["samples"]] == [13, 13, 13, 0, 0, 0, 0, 0, 0]
    assert said["losses"][0] == ["a counter of the GPU ended", "utilization: GPU is lost"]
    assert len(said["losses"]) == 9, "one for each call"


def test_a_good_driver_is_sampled_beside_the_process(drivers: dict[str, Path]) -> None:
    said = run(SAMPLE, drivers["new"])
    assert said["watched"]
    assert said["of_process"] == said["samples"] > 5
    assert said["of_gpu"] > 5
    assert said["warnings"] == []
    assert said["cpu_ms"] > 0


def test_a_driver_that_hangs_costs_the_job_one_second_at_its_end(drivers: dict[str, Path]) -> None:
    said = run(SAMPLE, drivers["new"], behaviour="hang")
    assert said["of_gpu"] == 3
    assert said["stop_s"] < 2
    assert "did not answer" in said["warnings"][0]


def test_a_driver_that_never_starts_costs_one_second_and_nothing_of_the_process(drivers: dict[str, Path]) -> None:
    said = run(SAMPLE, drivers["new"], behaviour="stuck")
    assert not said["watched"]
    assert said["start_s"] < 2
    assert said["of_process"] > 5
    assert said["of_gpu"] == 0


def test_a_gpu_lost_while_sampling_is_one_warning(drivers: dict[str, Path]) -> None:
    said = run(SAMPLE, drivers["new"], behaviour="lost")
    assert said["of_process"] > said["of_gpu"] == 3
    assert len(said["warnings"]) == 1
    assert "GPU is lost" in said["warnings"][0]


def test_no_driver_and_no_binding_give_no_counters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(READ, tmp_path, "11-22", "1") == {"samples": None, "losses": []}
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_counters("11-22", lambda what, reason: None) is None


def test_a_library_that_cannot_be_loaded_gives_no_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("pynvml")

    def no_library() -> None:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    module.nvmlInit, module.NVMLError = no_library, type("NVMLError", (Exception,), {})
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert gpu_counters("11-22", lambda what, reason: None) is None
