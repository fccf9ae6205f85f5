"""The recorder of TensorFlow jobs, with a stand-in for TensorFlow: what it writes, and that it never harms the job."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import scaleprof.tensorflow as recorder
from scaleprof import Windows
from scaleprof.collect.tensorflow.job import identity_from_tf_config, run_id_from_tf_config, trains_nothing
from scaleprof.collect.written.identity import Identity
from scaleprof.collect.written.redaction import Redaction
from scaleprof.readers import find_runs, read_rank
from scaleprof.run import RankInfo, read_rank_info
from tests.readers.making_xplanes import Plane, environment, op, space

CLUSTER = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}


class FakeTensorflow(ModuleType):
    """As much of TensorFlow as the recorder asks for."""

    def __init__(self) -> None:
        super().__init__("tensorflow")
        self.__version__ = "2.99"
        self.marks: list[tuple[str, int]] = []
        self.folder: Path | None = None
        self.fails = ""
        experimental = SimpleNamespace(start=self._start, stop=self._stop, Trace=self._trace)
        self.profiler = SimpleNamespace(experimental=experimental)
        self.as_dtype = lambda name: SimpleNamespace(name=name, size={"float32": 4, "float16": 2}[name])
        strategy = SimpleNamespace(num_replicas_in_sync=2, extended=SimpleNamespace())
        self.distribute = SimpleNamespace(get_strategy=lambda: strategy)
        self.config = SimpleNamespace(get_visible_devices=lambda: [SimpleNamespace(device_type="CPU")])

    def _start(self, folder: str) -> None:
        if self.fails == "start":
            raise RuntimeError("another profiler runs")
        self.folder = Path(folder)

    def _stop(self) -> None:
        assert self.folder is not None
        if self.fails == "stop":
            raise RuntimeError("the file is too large")
        place = self.folder / "plugins" / "profile" / "2026" / "h.xplane.pb"
        place.parent.mkdir(parents=True)
        plane = Plane("/host:CPU").line("tf_Compute/1", [op("m:MatMul", 1, 2)])
        place.write_bytes(space(plane, environment()))

    @contextmanager
    def _trace(self, name: str, step_num: int, _r: int) -> Iterator[None]:
        self.marks.append((name, step_num))
        yield


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTensorflow:
    made = FakeTensorflow()
    monkeypatch.setitem(sys.modules, "tensorflow", made)
    for name in ("TF_CONFIG", "SCALEPROF", "SCALEPROF_DIR"):
        monkeypatch.delenv(name, raising=False)
    return made


def train(folder: Path, steps: int = 6, **options: Any) -> None:
    options = {"windows": Windows(skip=2, steps=2), **options}
    with recorder.session(folder, name="job", **options) as recording:
        for step in range(steps):
            with recording.step(samples=4):
                assert step >= 0


def record_of(folder: Path) -> tuple[Path, RankInfo]:
    [place] = folder.glob("*/rank-*")
    return place, read_rank_info(place / "rank.json")


def test_steps_windows_and_what_is_trained_are_written(tmp_path: Path, fake: FakeTensorflow) -> None:
    weights = [SimpleNamespace(shape=(3, 5), dtype="float32"), SimpleNamespace(shape=(4,), dtype="float16")]
    train(tmp_path, variables=weights)
    place, info = record_of(tmp_path)
    names = sorted(path.name for path in place.iterdir())
    assert names == ["rank.json", "steps.jsonl", "trace-000002-000003.full.xplane.pb"]
    lines = [json.loads(line) for line in (place / "steps.jsonl").read_text().splitlines()]
    assert [line["profiled"] for line in lines] == [False, False, True, True, False, False]
    assert all(line["t1"] >= line["t0"] for line in lines)
    assert all(after["t0"] >= line["t1"] for line, after in pairwise(lines))
    assert fake.marks == [("scaleprof_step", 2), ("scaleprof_step", 3)]
    assert (info.framework, info.device, info.parameters, info.local_batch, info.warnings) == (
        "tensorflow",
        "cpu",
        19,
        4,
        (),
    )
    assert info.details["gradient_bytes"] == [8, 60, 68]
    assert info.versions["tensorflow"] == "2.99"
    [run] = find_runs([tmp_path])
    assert len(read_rank(run.ranks[0]).steps) == 6


def test_every_rank_has_a_folder_in_one_run(
    tmp_path: Path, fake: FakeTensorflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task in ({"type": "chief", "index": 0}, {"type": "worker", "index": 0}, {"type": "worker", "index": 1}):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": CLUSTER, "task": task}))
        monkeypatch.setattr("scaleprof.collect.tensorflow.tensorflow._Process.recorded", 0)
        train(tmp_path)
    [run] = find_runs([tmp_path])
    assert (run.info.world_size, list(run.ranks)) == (3, [0, 1, 2])


def test_the_environment_switches_it_off_and_chooses_the_level(
    tmp_path: Path, fake: FakeTensorflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALEPROF", "0")
    train(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("SCALEPROF", "light")
    train(tmp_path)
    place, info = record_of(tmp_path)
    assert info.level == "light"
    assert not list(place.glob("*.pb"))


@pytest.mark.parametrize("fails", ["start", "stop"])
def test_a_profiler_that_fails_is_a_warning(
    tmp_path: Path, fake: FakeTensorflow, fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    fake.fails = fails
    with caplog.at_level(logging.CRITICAL, logger="scaleprof"):
        train(tmp_path)
    place, info = record_of(tmp_path)
    assert len((place / "steps.jsonl").read_text().splitlines()) == 6
    assert any("window of the profiler" in warning for warning in info.warnings)
    assert not list(place.glob(".*"))


def test_a_folder_that_cannot_be_written_and_a_missing_tensorflow_harm_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with caplog.at_level(logging.CRITICAL, logger="scaleprof"):
        train(tmp_path / "file" / "below")
        train(tmp_path / "runs")
    _, info = record_of(tmp_path / "runs")
    assert any("window of the profiler is missing" in warning for warning in info.warnings)


def test_the_trainings_own_error_passes_and_is_noted(tmp_path: Path, fake: FakeTensorflow) -> None:
    def fail() -> None:
        with recorder.session(tmp_path, windows=Windows(skip=0, steps=5)) as recording, recording.step():
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    place, info = record_of(tmp_path)
    assert (info.exception, info.finished) == ("KeyError: 'mine'", True)
    assert [path.name for path in place.iterdir()] == ["rank.json"], "the window holds no whole step"
    assert info.warnings == ()


def test_an_evaluation_is_part_of_no_step(tmp_path: Path, fake: FakeTensorflow) -> None:
    with recorder.session(tmp_path, windows=Windows(skip=9, steps=1)) as recording:
        with recording.step():
            pass
        with recording.aside():
            after_pause = __import__("time").perf_counter_ns()
        with recording.step():
            pass
    place, _ = record_of(tmp_path)
    lines = [json.loads(line) for line in (place / "steps.jsonl").read_text().splitlines()]
    assert lines[1]["t0"] >= after_pause


def test_after_an_evaluation_that_fails_training_goes_on(tmp_path: Path, fake: FakeTensorflow) -> None:
    with recorder.session(tmp_path, name="job", level="light") as recording:
        with recording.step():
            pass
        with pytest.raises(ValueError, match="no data"), recording.aside():
            raise ValueError("no data")
        began = recording._running
        assert began is not None
        assert began._start_ns is not None, "the next step has begun"


def test_the_rank_stands_in_tf_config() -> None:
    def of(kind: str, index: Any, cluster: Any = CLUSTER) -> Identity | None:
        return identity_from_tf_config(
            {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}
        )

    assert of("chief", 0) == Identity(0, 3)
    assert [of("worker", index) for index in (0, 1, "1")] == [Identity(1, 3), Identity(2, 3), Identity(2, 3)]
    assert [of("ps", 0), of("worker", 2), of("worker", -1), of("worker", 0, []), of("evaluator", 0)] == [None] * 5
    for text in ("", "not json", "[]", "{}", '{"cluster": 1, "task": []}'):
        assert identity_from_tf_config({"TF_CONFIG": text}) is None
        assert run_id_from_tf_config({"TF_CONFIG": text}) is None
        assert not trains_nothing({"TF_CONFIG": text})
    said = json.dumps({"cluster": CLUSTER, "task": {"type": "ps", "index": 0}})
    assert trains_nothing({"TF_CONFIG": said})
    found = run_id_from_tf_config({"TF_CONFIG": said})
    assert found is not None
    assert "a:1" not in found


def test_nothing_of_a_process_that_holds_parameters_is_recorded(
    tmp_path: Path, fake: FakeTensorflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": CLUSTER, "task": {"type": "ps", "index": 0}}))
    train(tmp_path)
    assert not list(tmp_path.iterdir())


def test_importing_it_imports_no_tensorflow() -> None:
    code = "import sys, scaleprof, scaleprof.tensorflow; print(*(set(sys.modules) & {'tensorflow', 'keras', 'tf_keras', 'torch', 'numpy'}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_a_profile_is_redacted_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "vm")
    plane = Plane("/host:CPU").line("tf_Compute/1", [op("m:MatMul", 1, 2), op("/home/somebody/train.py", 5, 1)])
    plane.line(
        "tf_Compute/2",
        [op("gradients/dense/MatMul:MatMul", 1, 2), ("n", 5, 1, {"folder": "/home/somebody/" + "y" * 59})],
    )
    plain = space(plane, host="vm")
    path = tmp_path / "a.xplane.pb"
    path.write_bytes(plain)
    Redaction().binary_file(path)
    redacted = path.read_bytes()
    assert len(redacted) == len(plain)
    assert b"somebody" not in redacted
    assert b"vm" not in redacted[-10:]
    assert b"m:MatMul" in redacted
    assert b"gradients/dense/MatMul:MatMul" in redacted
