"""Real profiles of TensorFlow and JAX, held to what is known about them: one table of what an analysis finds.

`python -m pytest tests/readers/test_xplane_traces.py -s` prints it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scaleprof.pipeline import Options, analyze
from scaleprof.results import RunReport


@dataclass(frozen=True)
class Known:
    """What is known of a run."""

    folder: str
    run: str
    ranks: int
    steps: int
    operations: float
    """Per step and rank."""
    bytes: float | None
    matched: float | None
    last: int | None
    """The rank that most collectives waited for, if one did for all or all but one; None where nobody did."""
    caveat: str
    """Words that must stand in a caveat of the run."""


KNOWN = (
    Known("tensorflow/mwms_custom", "mwms_custom", 2, 5, 1, 6_332_416, 1.0, None, ""),
    Known("tensorflow/mwms_fp16", "mwms_fp16", 2, 5, 1, 3_166_208, 1.0, None, ""),
    Known("tensorflow/mwms_fit_legacykeras", "mwms_fit_legacykeras", 2, 3, 4, 6_340_648, 1.0, None, ""),
    Known(
        "tensorflow/mirrored_keras3_fit", "mirrored_keras3_fit", 1, 1, 60, 10 * 6_340_648, 1.0, None, "marks no steps"
    ),
    Known("tensorflow/modelpar", "modelpar", 1, 4, 16, None, 1.0, None, "how much was sent between devices"),
    Known("jax/2dev", "2dev", 2, 4, 1, 6_332_416, 1.0, None, ""),
    Known("xplane/jax08_elementwise.xplane.pb", "jax08_elementwise", 1, 1, 0, None, None, None, "marks no steps"),
    Known("xplane/jax08_gemm.xplane.pb", "jax08_gemm", 1, 1, 0, None, None, None, "marks no steps"),
    Known("xplane/jax_conv_minimal_08.xplane.pb", "jax_conv_minimal_08", 8, 1, 0, None, None, None, "marks no steps"),
)


def value(run: RunReport, name: str) -> float | None:
    metric = run.metric(name)
    return None if metric is None else float(metric.value)


def row(run: RunReport) -> list[object]:
    names = ("step.count", "collectives.count", "collectives.bytes", "collectives.matched_share", "straggler.rank")
    return [run.info.name, run.info.world_size, *(value(run, name) for name in names)]


@pytest.mark.parametrize("known", KNOWN, ids=[known.run for known in KNOWN])
def test_what_is_known_of_it_is_found(foreign_traces: Path, known: Known) -> None:
    [run] = analyze([foreign_traces / known.folder], options=Options(engine="serial")).runs
    sys.stdout.write(f"\n{row(run)} {'; '.join(run.caveats)}\n")
    assert (run.info.name, run.info.world_size, len(run.ranks_read)) == (known.run, known.ranks, known.ranks)
    assert value(run, "step.count") == known.steps
    assert (value(run, "collectives.count") or 0) == known.operations
    assert value(run, "collectives.bytes") == known.bytes
    assert value(run, "collectives.matched_share") == known.matched
    assert value(run, "straggler.rank") == known.last
    assert known.caveat in "; ".join(run.caveats)
    parts = [value(run, f"time.{name}_share") for name in ("compute", "exposed_comm", "exposed_memory", "idle")]
    assert sum(part or 0 for part in parts) == pytest.approx(1)
    assert len({section.name for section in run.sections} & {"time", "idle", "steps"}) == 3
    assert not [caveat for caveat in run.caveats if "could not be measured" in caveat or "is missing" in caveat]


def test_a_step_of_the_custom_loop_is_divided_as_by_hand(foreign_traces: Path) -> None:
    [run] = analyze([foreign_traces / "tensorflow" / "mwms_custom"], options=Options(engine="serial")).runs
    # Most of each step is the one packed all-reduce, which nothing computes beside.
    assert value(run, "time.exposed_comm_share") == pytest.approx(0.671, abs=0.001)
    assert value(run, "time.compute_share") == pytest.approx(0.199, abs=0.001)
    assert (value(run, "idle.input_share") or 0) > 0.01


def test_everything_in_one_folder_is_as_many_runs(foreign_traces: Path) -> None:
    report = analyze(
        [foreign_traces / "tensorflow", foreign_traces / "jax", foreign_traces / "xplane"],
        options=Options(engine="serial"),
    )
    assert sorted(run.info.name for run in report.runs) == sorted(known.run for known in KNOWN)
