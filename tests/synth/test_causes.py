"""Why a rank is late: the cause must be seen where it is, and nowhere else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.readers import read_rank
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import simulate
from scaleprof.synth.truth import truth_of
from scaleprof.trace import Kind
from tests.synth.truths import rows_of_truth, steps_of, written

LATE_NS = 6_000_000


def job(cause: str, **more: Any) -> Spec:
    return Spec(
        ranks=4, steps=4, late_rank=2, late_ms=6.0, late_cause=cause, compute_ms=10.0, gradient_bytes=4_000_000, **more
    )


@pytest.mark.parametrize(
    ("cause", "leaf"), [("compute", "compute"), ("throttle", "compute"), ("input", "idle"), ("pause", "idle")]
)
def test_the_late_rank_spends_its_time_in_the_leaf_of_the_cause(cause: str, leaf: str) -> None:
    late, other = steps_of(job(cause), 2), steps_of(job(cause), 1)
    more = late[f"{leaf}_ns"] - other[f"{leaf}_ns"]
    if cause == "pause":  # what was launched before it still runs meanwhile
        assert ((more > LATE_NS / 2) & (more < LATE_NS)).all()
    else:
        assert set(more) == {LATE_NS}
    assert (other["exposed_wait_ns"] > LATE_NS / 3).all(), "the others wait for it"
    assert set(late["exposed_wait_ns"]) == {0}


def test_a_throttled_rank_is_slower_in_every_kernel_alike() -> None:
    timeline = simulate(job("throttle"))
    kernels = timeline.plan.kernels_of(Kind.COMPUTE)
    took = (timeline.end_ns - timeline.start_ns)[:, 1, kernels]
    assert took[2] / took[1] == pytest.approx(1.6, abs=1e-3)


def test_a_rank_may_be_late_in_some_steps_only() -> None:
    steps = steps_of(job("compute", late_every=2), 2)
    assert dict(zip(steps["step"].tolist(), (steps["compute_ns"] - 10_000_000).tolist(), strict=True)) == {
        2: LATE_NS,
        3: 0,
        4: LATE_NS,
    }


@pytest.mark.parametrize("cause", ["compute", "throttle", "input", "pause"])
def test_the_truth_names_rank_cause_and_amount(cause: str) -> None:
    rows = rows_of_truth(truth_of(simulate(job(cause, late_every=3))), "stragglers")
    assert rows == [{"rank": 2, "step": step, "cause": cause, "late_ns": LATE_NS} for step in (0, 3)]
    assert rows_of_truth(truth_of(simulate(Spec(steps=1))), "stragglers") == []


def test_a_pause_of_the_host_is_annotated_where_it_is(tmp_path: Path) -> None:
    run, _ = written(job("pause", late_every=2), tmp_path)
    for rank, files in run.ranks.items():
        trace = read_rank(files)
        pauses = trace.events.dur_ns[trace.kinds == Kind.GC].tolist()
        assert pauses == ([LATE_NS] * 3 if rank == 2 else [])


def test_a_late_batch_is_waited_for_at_the_start_of_the_step(tmp_path: Path) -> None:
    run, _ = written(job("input"), tmp_path)
    for rank, files in run.ranks.items():
        trace = read_rank(files)
        waited = trace.events.dur_ns[trace.kinds == Kind.INPUT]
        assert np.unique(waited).tolist() == [1_000_000 + (LATE_NS if rank == 2 else 0)]
        assert np.unique(trace.steps.input_ns).tolist() == np.unique(waited).tolist()
