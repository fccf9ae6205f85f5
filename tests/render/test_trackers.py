"""A report in an experiment tracker: numbers by their ids, the summary as text, the page as a file.

The stand-ins have the signatures of wandb 0.31.0, MLflow 3.17.2, tensorboardX 2.6.5 and torch.utils.tensorboard of torch 2.13. Where one of those
packages is installed, a report is logged to the real one, without a server, and read back.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TextIO

import pytest

from scaleprof.errors import OptionError
from scaleprof.render.trackers import LONGEST_NAME, MOST_AT_ONCE, numbers_of
from scaleprof.results import Metric, Report, Result
from tests.render.made import evil, study


class Writer:
    """A SummaryWriter."""

    def __init__(self) -> None:
        self.scalars: dict[str, tuple[float, int | None]] = {}
        self.texts: dict[str, str] = {}
        self.flushed = False

    def add_scalar(
        self, tag: str, scalar_value: float, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        self.scalars[tag] = scalar_value, global_step

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        self.texts[tag] = text_string

    def flush(self) -> None:
        self.flushed = True


class Mlflow:
    """The module `mlflow` with a run in progress."""

    def __init__(self) -> None:
        self.requests: list[dict[str, float]] = []
        self.texts: dict[str, str] = {}
        self.run_ids: set[str | None] = set()

    def log_metrics(
        self,
        metrics: dict[str, float],
        step: int | None = None,
        synchronous: bool | None = None,
        run_id: str | None = None,
    ) -> None:
        self.requests.append(metrics)
        self.run_ids.add(run_id)

    def log_text(self, text: str, artifact_file: str, run_id: str | None = None) -> None:
        self.texts[artifact_file] = text
        self.run_ids.add(run_id)


class Client:
    """An MlflowClient."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.texts: dict[str, str] = {}
        self.run_ids: set[str] = set()

    def log_metric(
        self, run_id: str, key: str, value: float, timestamp: int | None = None, step: int | None = None
    ) -> None:
        self.metrics[key] = value
        self.run_ids.add(run_id)

    def log_batch(
        self, run_id: str, metrics: Any = (), params: Any = (), tags: Any = (), synchronous: bool | None = None
    ) -> None:
        assert len(metrics) <= MOST_AT_ONCE
        self.metrics |= {one.key: one.value for one in metrics}
        self.run_ids.add(run_id)

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        self.texts[artifact_file] = text


class Artifact:
    """A wandb Artifact."""

    def __init__(
        self, name: str, type: str, description: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.name, self.type, self.folder = name, type, Path()

    @contextmanager
    def new_file(self, name: str, mode: str = "x", encoding: str | None = None) -> Iterator[TextIO]:
        with (self.folder / name).open(mode, encoding=encoding) as file:
            yield file  # type: ignore[misc]


class Html:
    """A page shown by wandb."""

    def __init__(self, data: str, inject: bool = True, data_is_not_path: bool = False) -> None:
        self.html, self.inject = data, inject


class WandbRun:
    """A run of wandb."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.artifacts: list[Any] = []

    def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        self.rows.append(data)

    def log_artifact(self, artifact_or_path: Any, name: str | None = None, type: str | None = None) -> None:
        self.artifacts.append(artifact_or_path)


def test_numbers_have_their_ids_those_of_runs_behind_their_name() -> None:
    numbers = numbers_of(study())
    assert numbers["scaling.strong.speedup"] == 2.714
    assert numbers["step.throughput"] == 421.05
    assert numbers["strong-4-n4/step.count"] == 21
    assert "scaling.strong.kind" not in numbers, "a word is no number"


def test_runs_of_one_name_are_told_apart_and_what_is_not_finite_is_left_out() -> None:
    one = study().runs[0]
    section = Result("s", "", "", (Metric("a", "", 1.0), Metric("b", "", float("nan")), Metric("c", "", float("inf"))))
    odd = replace(one, info=replace(one.info, name="../a b/ü@"), sections=(section,))
    again = replace(odd, info=replace(odd.info, repeat=2))
    assert list(numbers_of(Report("t", "", (odd, odd, again)))) == ["a_b-n1/a", "a_b-n1-2/a", "a_b-n1-r2/a"]


def test_names_are_taken_by_every_tracker() -> None:
    for name in numbers_of(evil()):
        assert len(name) <= LONGEST_NAME
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/")
        assert all(part.strip(".") for part in name.split("/"))


def test_tensorboard_gets_numbers_and_the_summary() -> None:
    writer = Writer()
    study().log_to(writer)
    assert writer.scalars["scaleprof/step.throughput"] == (421.05, 0)
    assert writer.texts == {"scaleprof/report": study().to_markdown()}
    assert writer.flushed


@pytest.mark.parametrize("run_id", ["", "abc"])
def test_mlflow_gets_numbers_summary_and_page(run_id: str) -> None:
    mlflow, many = Mlflow(), study()
    rows = tuple(Metric(f"m.{place}", "", place) for place in range(2500))
    many = replace(many, comparison=(*many.comparison, Result("many", "", "", rows)))
    many.log_to(mlflow, run_id=run_id)
    assert {key: value for request in mlflow.requests for key, value in request.items()} == numbers_of(many)
    assert max(map(len, mlflow.requests)) == MOST_AT_ONCE
    assert sorted(mlflow.texts) == ["scaleprof/report.html", "scaleprof/report.md"]
    assert mlflow.texts["scaleprof/report.html"].startswith("<!DOCTYPE html>")
    assert mlflow.run_ids == {run_id or None}


@pytest.mark.parametrize("with_entities", [True, False])
def test_a_client_of_mlflow_needs_the_id_of_a_run(monkeypatch: pytest.MonkeyPatch, with_entities: bool) -> None:
    entities = ModuleType("mlflow.entities")
    entities.Metric = lambda key, value, timestamp, step: SimpleNamespace(key=key, value=value)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities if with_entities else None)  # type: ignore[arg-type]
    client = Client()
    study().log_to(client, run_id="abc")
    assert client.metrics == numbers_of(study())
    assert client.run_ids == {"abc"}
    assert sorted(client.texts) == ["scaleprof/report.html", "scaleprof/report.md"]
    with pytest.raises(OptionError, match="run_id="):
        study().log_to(Client())


def test_wandb_gets_numbers_page_and_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    package = ModuleType("wandb_stand_in")
    package.Html, package.Artifact = Html, Artifact  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb_stand_in", package)
    monkeypatch.setattr(WandbRun, "__module__", "wandb_stand_in.sdk.run")
    run = WandbRun()
    study().log_to(run)
    [row] = run.rows
    page = row.pop("scaleprof/report")
    assert row == numbers_of(study())
    assert page.html.startswith("<!DOCTYPE html>")
    assert page.inject is False
    assert run.summary["scaleprof/verdict"] == study().verdict
    assert [(one.name, one.type) for one in run.artifacts] == [("scaleprof-report", "report")]
    assert (tmp_path / "report.md").read_text() == study().to_markdown()
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_run_whose_package_has_neither_pages_nor_files_gets_the_text() -> None:
    run = WandbRun()
    study().log_to(run)
    assert run.rows == [numbers_of(study())]
    assert run.summary["scaleprof/report.md"] == study().to_markdown()
    assert run.artifacts == []


@pytest.mark.parametrize("other", [object(), None, "run", {}, print])
def test_anything_else_is_explained(other: object) -> None:
    with pytest.raises(OptionError, match=r"cannot be logged to an object of type .*: log_to\(\) takes a wandb run"):
        study().log_to(other)


def test_no_tracker_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "mlflow", "tensorboard", "tensorboardX"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    study().log_to(Writer())
    study().log_to(Mlflow())
    study().log_to(WandbRun())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("package", ["torch.utils.tensorboard", "tensorboardX"])
def test_the_real_tensorboard_reads_it_back(tmp_path: Path, package: str) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", exc_type=ImportError)
    writer = pytest.importorskip(package, exc_type=ImportError).SummaryWriter(str(tmp_path))
    study().log_to(writer)
    writer.close()
    read = reading.EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "tensors": 0})
    read.Reload()
    found = {tag.removeprefix("scaleprof/"): read.Scalars(tag)[0].value for tag in read.Tags()["scalars"]}
    assert found == pytest.approx(numbers_of(study()), rel=1e-6)
    [text] = [tag for tag in read.Tags()["tensors"] if "report" in tag]
    assert read.Tensors(text)[0].tensor_proto.string_val[0].decode() == study().to_markdown()


@pytest.mark.filterwarnings("ignore")
def test_the_real_mlflow_reads_it_back(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", exc_type=ImportError)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("e", artifact_location=str(tmp_path / "files")))
    client = mlflow.MlflowClient()
    with mlflow.start_run() as first:
        study().log_to(mlflow)
    with mlflow.start_run() as second:
        study().log_to(second)
    third = client.create_run(first.info.experiment_id)
    study().log_to(client, run_id=third.info.run_id)
    for run in (first, second, third):
        assert client.get_run(run.info.run_id).data.metrics == pytest.approx(numbers_of(study()))
        names = sorted(file.path for file in client.list_artifacts(run.info.run_id, "scaleprof"))
        assert names == ["scaleprof/report.html", "scaleprof/report.md"]


WANDB_SCRIPT = """
import sys, wandb
from tests.render.made import study
with wandb.init(project="p", dir=sys.argv[1], mode=sys.argv[2], settings=wandb.Settings(silent=True)) as run:
    study().log_to(run)
    print(run.summary["step.throughput"], run.summary["scaleprof/verdict"])
"""


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_the_real_wandb_takes_it(tmp_path: Path, repository: Path, mode: str) -> None:
    if find_spec("wandb") is None:
        pytest.skip("wandb is not installed")
    # In a process of its own: threads of wandb outlive a run.
    command = [sys.executable, "-c", WANDB_SCRIPT, str(tmp_path), mode]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"421.05 {study().verdict}" in done.stdout
    pages = list(tmp_path.rglob("media/html/scaleprof/report*.html"))
    assert len(pages) == (1 if mode == "offline" else 0)
