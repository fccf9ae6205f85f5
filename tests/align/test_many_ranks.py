"""A job of 256 ranks, its facts on disk: what is found is the truth, and memory stays within bounds that follow from the rows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.pipeline import write_facts_of
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job

RANKS, STEPS, COLLECTIVES, LATE, LATE_MS = 256, 6, 12, 170, 5.0
"""With the step before the account so many steps are recorded and one more."""
BYTES_A_ROW, BYTES_A_RANK, BASE_MB = 250, 400_000, 120
"""Generous: numbers of all operations are four bytes a row, and the parts of all of these are side by side once. On top of what was there before."""
GRAPH_MB = 750
"""What the graph of a replay may take with all that is done with it, whatever the size of the run: it has no more than a fixed number of nodes."""
_COMBINE = """
import json, resource, sys
from pathlib import Path
from scaleprof.align import shelf, scattered
shelf.MOST_BYTES_IN_MEMORY, shelf.SMALL_ROWS, scattered.MOST_IN_MEMORY = 0, 200, 0
from scaleprof import analyze
from scaleprof.pipeline import Options, facts, reports
peaks = []
def peak():
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
def view_of(run, of_run, made=facts.view_of):
    peak()
    view = made(run, of_run)
    peak()
    return view
reports.view_of = view_of
report = analyze([Path(sys.argv[1])], options=Options(engine="serial", use_cache=False))
peak()
[run] = report.runs
print(json.dumps({
    "metrics": {metric.id: metric.value for section in run.sections for metric in section.metrics},
    "caveats": [caveat for section in run.sections for caveat in section.caveats] + list(run.caveats),
    "peaks_mb": peaks,
}))
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Spec(
        ranks=RANKS, steps=STEPS, layers=COLLECTIVES, buckets=COLLECTIVES, kernels_per_layer=1, communication_only=True,
        dialect="oneline2026", jitter=0.01, gradient_bytes=40_000_000, alpha_us=0.1,
        late_rank=LATE, late_ms=LATE_MS, clock_offset_ms=(0.0, 12.5, -3.0), clock_drift_ppm=(0.0, 2.0),
    )  # fmt: skip
    return write_job(spec, tmp_path_factory.mktemp("many"), measure=write_facts_of)


@pytest.fixture(scope="module")
def found(job: Path) -> dict[str, Any]:
    answer = subprocess.run([sys.executable, "-c", _COMBINE, str(job)], check=True, capture_output=True, text=True)
    said: dict[str, Any] = json.loads(answer.stdout)
    return said


@pytest.mark.timeout(600)
def test_the_numbers_are_the_true_ones(job: Path, found: dict[str, Any]) -> None:
    truth = {name: np.array(values) for name, values in json.loads((job / "truth.json").read_text())["steps"].items()}
    metrics, whole = found["metrics"], truth["window_ns"].sum()
    for leaf in ("compute", "exposed_wait", "exposed_transfer", "exposed_memory", "idle"):
        assert metrics[f"time.{leaf}_share"] == pytest.approx(truth[f"{leaf}_ns"].sum() / whole, rel=1e-6), leaf
    assert metrics["collectives.matched_share"] == 1.0
    assert metrics["straggler.rank"] == LATE
    assert metrics["efficiency.parallel"] == pytest.approx(truth["compute_ns"].sum() / whole, rel=0.02)


@pytest.mark.timeout(600)
def test_no_section_is_missing(found: dict[str, Any]) -> None:
    assert not [caveat for caveat in found["caveats"] if "missing" in caveat]


@pytest.mark.timeout(600)
def test_memory_follows_from_the_rows(found: dict[str, Any]) -> None:
    rows = RANKS * (STEPS + 1) * COLLECTIVES
    before, aligned, concluded = found["peaks_mb"]
    assert aligned < before + BASE_MB + (rows * BYTES_A_ROW + RANKS * BYTES_A_RANK) / 1e6
    assert concluded < aligned + GRAPH_MB
