"""The recorded samples have known answers: what an analysis finds in them must agree with arithmetic."""

from pathlib import Path

import numpy as np
import pytest

from scaleprof import Report, analyze
from scaleprof.analyses.account.account import account, activities_of
from scaleprof.intervals import Spans, covered, intersect
from scaleprof.readers import find_runs, read_rank
from scaleprof.results import RunReport
from scaleprof.trace import UNKNOWN

SAMPLES = Path(__file__).parent.parent / "sample_traces"
RANKS = (1, 2, 4)
PAYLOAD_MBIT = 190.0
"""What TCP carries over a link of 200 Mbit/s, in a packet of 1500 bytes or a little less."""
GRADIENT_MB, LAYERS, BACKWARD_SHARE = 6.4, 8, 2 / 3


@pytest.fixture(scope="module")
def report() -> Report:
    """The samples, analyzed."""
    return analyze(sorted(SAMPLES.glob("emulated-*")))


def runs_of(report: Report, mode: str) -> list[RunReport]:
    runs = [run for run in report.runs if run.info.series == f"emulated-ddp-{mode}"]
    return sorted(runs, key=lambda run: run.info.world_size)


def value(run: RunReport, id: str) -> float:
    metric = run.metric(id)
    assert metric is not None, f"{run.label} has no {id}"
    return float(metric.value)


def expected_step_ms(compute_ms: float, ranks: int) -> float:
    """Compute, and what of a ring all-reduce does not fit behind the backward pass after its first layer."""
    sent_mb = 2 * (ranks - 1) / ranks * GRADIENT_MB
    transfer_ms = sent_mb * 8 / PAYLOAD_MBIT * 1e3
    hidden_ms = compute_ms * BACKWARD_SHARE * (LAYERS - 1) / LAYERS
    last_ms = transfer_ms / LAYERS  # the last layer's gradient is ready when nothing is left to hide behind
    return compute_ms + max(transfer_ms - hidden_ms, last_ms)


@pytest.mark.parametrize("mode", ["strong", "weak"])
def test_every_rank_of_every_size_was_read(report: Report, mode: str) -> None:
    assert [(run.info.world_size, run.ranks_read) for run in runs_of(report, mode)] == [
        (ranks, tuple(range(ranks))) for ranks in RANKS
    ]


@pytest.mark.parametrize("mode", ["strong", "weak"])
def test_compute_is_what_was_emulated(report: Report, mode: str) -> None:
    for run in runs_of(report, mode):
        assert run.info.emulated is not None
        true_ms = run.info.emulated.compute_ms_per_step
        assert true_ms == (1600.0 / run.info.world_size if mode == "strong" else 400.0)
        found_ms = value(run, "step.time_ms") * value(run, "time.compute_share")
        assert found_ms == pytest.approx(true_ms, rel=0.02), run.label


@pytest.mark.parametrize("mode", ["strong", "weak"])
def test_step_times_are_those_of_the_known_link(report: Report, mode: str) -> None:
    for run in runs_of(report, mode):
        compute_ms = 1600.0 / run.info.world_size if mode == "strong" else 400.0
        expected = expected_step_ms(compute_ms, run.info.world_size)
        # The arithmetic knows nothing of what the host does besides (copying gradients, the optimizer): that is idle time of the device.
        found = value(run, "step.time_ms") * (1 - value(run, "time.idle_share"))
        assert found == pytest.approx(expected, rel=0.05), run.label


@pytest.mark.parametrize("mode", ["strong", "weak"])
def test_efficiency_is_what_the_step_times_say(report: Report, mode: str) -> None:
    metric = report.metric(f"scaling.emulated-ddp-{mode}.efficiency")
    assert metric is not None
    share = 1600.0 / 4 / expected_step_ms(400.0, 4)
    assert float(metric.value) == pytest.approx(share, abs=0.05)


def test_the_reports_say_that_compute_was_emulated(report: Report) -> None:
    assert all(run.info.emulated and run.info.emulated.link == "200mbit between namespaces" for run in report.runs)
    assert "compute emulated, communication real" in report.to_markdown().lower()


EMULATED = sorted(
    path.name for name in ("emulated-*", "on-*") for path in SAMPLES.glob(name) if "-n1-" not in path.name
)


@pytest.mark.parametrize("name", EMULATED)
def test_exposed_communication_is_the_blocked_time_and_overlap_closes(name: str) -> None:
    """What the steps' own lines say of the time the training thread was blocked, against the account from spans and waits."""
    [run] = find_runs([SAMPLES / name])
    exposed = blocked = 0
    for files in run.ranks.values():
        trace = read_rank(files)
        table = account(trace)
        rows = np.searchsorted(trace.steps.index, table["step"])
        exposed += int(np.asarray(table["exposed_comm_ns"]).sum())
        blocked += int(trace.steps.blocked_ns[rows].sum())
        known = np.asarray(table["comm_ns"]) != UNKNOWN
        [activity] = activities_of(trace)
        windows = Spans(trace.steps.start_ns[rows], trace.steps.end_ns[rows])
        seen = covered(intersect(activity.comm, activity.exposable), windows)
        closed = np.asarray(table["overlapped_ns"]) + seen == np.asarray(table["comm_ns"])
        assert closed[known].all(), f"rank {trace.rank}: hidden and exposed communication are not all of it"
    assert exposed == pytest.approx(blocked, rel=0.02, abs=1_000_000)
