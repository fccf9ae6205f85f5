"""A report in an experiment tracker: Weights & Biases, MLflow or TensorBoard, told by what the object at hand can do; none of them is imported.

Numbers go by their dotted ids: those of the comparison as they are, those of a run as `<run>-n<ranks>/<id>`. A number that is not finite is left out.
"""

import math
import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from scaleprof.errors import OptionError
from scaleprof.results import Metric, Report, RunReport

FOLDER = "scaleprof"
"""Texts and files of a report stand below this name in a tracker."""
MOST_AT_ONCE = 1000
"""Numbers that an MLflow server takes in one request."""
LONGEST_NAME = 250
"""Of a number, for MLflow."""
_ODD = re.compile(r"[^A-Za-z0-9_.\-/]+")
_KNOWN = (
    "a wandb run, the mlflow module, an MLflow run, an MlflowClient with run_id=, "
    "or a SummaryWriter of TensorBoard or tensorboardX"
)


def log_report(report: Report, run: Any, *, run_id: str = "") -> None:
    """Write numbers, summary and page of a report to a tracker's run."""
    if _can(run, "add_scalar", "add_text"):
        _to_tensorboard(report, run)
    elif _can(run, "log_metrics", "log_text"):
        _to_mlflow(report, run, {"run_id": run_id} if run_id else {})
    elif _can(run, "log_batch", "log_text"):
        _to_client(report, run, run_id)
    elif _mlflow_run_id(run):
        _to_client(report, sys.modules["mlflow"].MlflowClient(), _mlflow_run_id(run))
    elif _can(run, "log") and hasattr(run, "summary"):
        _to_wandb(report, run)
    else:
        kind = f"{type(run).__module__}.{type(run).__qualname__}"
        raise OptionError(f"a report cannot be logged to an object of type {kind}: log_to() takes {_KNOWN}")


def numbers_of(report: Report) -> dict[str, float]:
    """Every finite number of a report by a name that each tracker takes."""
    numbers: dict[str, float] = {}
    for section in report.comparison:
        for id, value in _finite(section.metrics):
            numbers.setdefault(_name(id), value)
    taken: dict[str, int] = {}
    for run in report.runs:
        key = _key(run)
        taken[key] = taken.get(key, 0) + 1
        key = key if taken[key] == 1 else f"{key}-{taken[key]}"
        for section in run.sections:
            for id, value in _finite(section.metrics):
                numbers.setdefault(_name(f"{key}/{id}"), value)
    return numbers


def _finite(metrics: Sequence[Metric]) -> Iterator[tuple[str, float]]:
    for metric in metrics:
        if not isinstance(metric.value, str) and math.isfinite(metric.value):
            yield metric.id, float(metric.value)


def _key(run: RunReport) -> str:
    """`mlp-n4`, `mlp-n4-r1`: a run by its name, its ranks and its repeat; no slash is left, which trackers take for a folder."""
    name = _ODD.sub("_", run.info.name).replace("/", "_").strip("._")[:100] or "run"
    return f"{name}-n{run.info.world_size}" + (f"-r{run.info.repeat}" if run.info.repeat else "")


def _name(id: str) -> str:
    """Letters, digits and `_.-/`, no part of it empty or only dots: what MLflow keeps in files is named so."""
    parts = [part if part.strip(".") else "_" for part in _ODD.sub("_", id).split("/")]
    return "/".join(parts)[:LONGEST_NAME]


def _can(run: Any, *names: str) -> bool:
    return all(callable(getattr(run, name, None)) for name in names)


def _to_tensorboard(report: Report, writer: Any) -> None:
    """TensorBoard keeps no files: numbers and the summary."""
    for name, value in numbers_of(report).items():
        writer.add_scalar(f"{FOLDER}/{name}", value, 0)
    writer.add_text(f"{FOLDER}/report", report.to_markdown(), 0)
    if _can(writer, "flush"):
        writer.flush()


def _to_mlflow(report: Report, mlflow: Any, which: dict[str, str]) -> None:
    """To the run in progress, or to the one that is named."""
    numbers = list(numbers_of(report).items())
    for start in range(0, len(numbers), MOST_AT_ONCE):
        mlflow.log_metrics(dict(numbers[start : start + MOST_AT_ONCE]), **which)
    for name, text in _files(report).items():
        mlflow.log_text(text, f"{FOLDER}/{name}", **which)


def _to_client(report: Report, client: Any, run_id: str) -> None:
    if not run_id:
        raise OptionError("a report is logged to an MlflowClient with the id of a run: log_to(client, run_id=...)")
    numbers, entities = numbers_of(report), sys.modules.get("mlflow.entities")
    if entities is None:
        for name, value in numbers.items():
            client.log_metric(run_id, name, value)
    else:
        now_ms = int(time.time() * 1000)
        metrics = [entities.Metric(name, value, now_ms, 0) for name, value in numbers.items()]
        for start in range(0, len(metrics), MOST_AT_ONCE):
            client.log_batch(run_id, metrics=metrics[start : start + MOST_AT_ONCE])
    for name, text in _files(report).items():
        client.log_text(run_id, text, f"{FOLDER}/{name}")


def _mlflow_run_id(run: Any) -> str:
    """The id of what `mlflow.start_run()` gave; empty for everything else."""
    is_mlflow = type(run).__module__.partition(".")[0] == "mlflow" and "mlflow" in sys.modules
    return str(getattr(getattr(run, "info", None), "run_id", None) or "") if is_mlflow else ""


def _to_wandb(report: Report, run: Any) -> None:
    """Numbers and page as one row of the run, the files as an artifact where the run's own package makes them, the rest as its summary."""
    package = sys.modules.get(type(run).__module__.partition(".")[0])
    files, row = _files(report), dict[str, Any](numbers_of(report))
    html, artifact = getattr(package, "Html", None), getattr(package, "Artifact", None)
    if html is not None:
        row[f"{FOLDER}/report"] = html(files["report.html"], inject=False)
    run.log(row)
    run.summary[f"{FOLDER}/verdict"] = report.verdict or report.title
    if artifact is None or not _can(run, "log_artifact"):
        run.summary[f"{FOLDER}/report.md"] = files["report.md"]
        return
    made = artifact(f"{FOLDER}-report", type="report", description=(report.verdict or report.title)[:1000])
    for name, text in files.items():
        with made.new_file(name, mode="w", encoding="utf-8") as file:
            file.write(text)
    run.log_artifact(made)


def _files(report: Report) -> dict[str, str]:
    return {"report.md": report.to_markdown(), "report.html": report.to_html()}
