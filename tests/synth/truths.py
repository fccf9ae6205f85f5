"""Writes a synthetic job and reads its truth."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from scaleprof.analyses.account.account import account
from scaleprof.readers import find_runs, read_rank
from scaleprof.run import Run
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import simulate
from scaleprof.synth.truth import truth_of
from scaleprof.synth.writing import write_job

ACCOUNTED = ("window", "compute", "exposed_comm", "exposed_memory", "idle", "comm", "overlapped")


def written(spec: Spec, out: Path, *, foreign: bool = False) -> tuple[Run, dict[str, Any]]:
    """The job on disk, as the readers find it, and its truth."""
    folder = write_job(spec, out, foreign=foreign)
    (run,) = find_runs([out])
    return run, json.loads((folder / "truth.json").read_text())


def check_account(run: Run, truth: dict[str, Any]) -> None:
    """The account of every rank and step, from its files, is the true one to the ns."""
    steps = {name: np.array(values) for name, values in truth["steps"].items()}
    for rank, files in run.ranks.items():
        found, own = account(read_rank(files)), steps["rank"] == rank
        for column in ("step", *(f"{name}_ns" for name in ACCOUNTED)):
            assert np.asarray(found[column]).tolist() == steps[column][own].tolist(), (rank, column)


def steps_of(spec: Spec, rank: int = 0) -> dict[str, np.ndarray]:
    """The true steps of one rank, by column; the first one left out, since the pipeline may still fill."""
    steps = truth_of(simulate(spec))["steps"]
    own = np.array(steps["rank"]) == rank
    return {name: np.array(values)[own][1:] for name, values in steps.items()}


def rows_of_truth(truth: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """The rows of one of its tables."""
    columns = truth[table]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
