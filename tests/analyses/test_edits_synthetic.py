"""What-ifs on synthetic jobs against the same jobs made with the change: the truth of both is known."""

from dataclasses import replace
from pathlib import Path

import pytest

from scaleprof.analyses.replay.editor import Editor
from scaleprof.analyses.replay.edits import Edit
from scaleprof.analyses.replay.run_graph import run_graph
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from tests.analyses.making_graphs import recorded

NEAR = 0.001
"""Of the step. A replay keeps what the change does not touch, and these jobs have no noise."""
DDP = Spec(ranks=4, steps=6, gradient_bytes=800_000_000)
FSDP = Spec(name="fsdp", ranks=4, steps=6, strategy="fsdp", gradient_bytes=800_000_000)
TENSOR = Spec(name="tensor", ranks=4, steps=6, tensor=2)
PIPELINE = Spec(name="pipeline", ranks=4, steps=6, pipeline=4, micro_batches=4)
LATE = replace(DDP, late_rank=2, late_ms=15.0)


def editor_of(folder: Path, spec: Spec) -> Editor:
    folder.mkdir()
    write_job(spec, folder)
    [job] = [path for path in folder.iterdir() if path.is_dir()]
    view = recorded(job)
    run = run_graph(view)
    assert run is not None
    return Editor(view, run)


def check(tmp_path: Path, before: Spec, after: Spec, edit: Edit, *, near: float = NEAR) -> None:
    editor = editor_of(tmp_path / "before", before)
    base, predicted = editor.step_ms([Edit(), edit])
    [made] = editor_of(tmp_path / "after", after).step_ms([Edit()])
    assert abs(made / base - 1) > 3 * near, "the change must change something"
    assert predicted == pytest.approx(made, rel=near)


@pytest.mark.parametrize("spec", [DDP, FSDP, TENSOR], ids=lambda spec: spec.name)
@pytest.mark.parametrize("times", [0.5, 2.0])
def test_another_link(tmp_path: Path, spec: Spec, times: float) -> None:
    slow = replace(spec, bandwidth_gbps=10.0)
    check(tmp_path, slow, replace(slow, bandwidth_gbps=10.0 * times), Edit(link=times), near=0.01)


@pytest.mark.parametrize(
    ("before", "after", "edit"),
    [(4, 8, Edit(split=2)), (8, 4, Edit(merge=2)), (2, 8, Edit(split=4))],
    ids=["4 to 8", "8 to 4", "2 to 8"],
)
@pytest.mark.parametrize("gbps", [10.0, 100.0])
def test_buckets_of_another_size(tmp_path: Path, gbps: float, before: int, after: int, edit: Edit) -> None:
    job = replace(DDP, layers=16, bandwidth_gbps=gbps)
    check(tmp_path, replace(job, buckets=before), replace(job, buckets=after), edit, near=0.005)


@pytest.mark.parametrize("cause", ["compute", "throttle", "input", "pause"])
def test_a_rank_that_is_no_longer_late(tmp_path: Path, cause: str) -> None:
    late = replace(LATE, late_cause=cause)
    check(tmp_path, late, DDP, Edit(normal_rank=2))


def test_ranks_that_are_all_as_fast_as_their_mean(tmp_path: Path) -> None:
    # A quarter of what one rank is late in its forward pass is then everybody's, and nothing hides it.
    [predicted] = editor_of(tmp_path / "late", LATE).step_ms([Edit(no_stragglers=True)])
    [plain] = editor_of(tmp_path / "plain", DDP).step_ms([Edit()])
    assert predicted == pytest.approx(plain + 15.0 / 4, rel=NEAR)


def test_what_one_what_if_brings_another_may_take_back(tmp_path: Path) -> None:
    slow = replace(LATE, bandwidth_gbps=10.0)
    after = replace(slow, bandwidth_gbps=20.0, late_ms=0.0)
    check(tmp_path, slow, after, Edit(link=2, normal_rank=2), near=0.01)


def test_a_pipeline_is_replayed_exactly(tmp_path: Path) -> None:
    run = editor_of(tmp_path / "job", PIPELINE).run
    assert (run.schedule.ends(run.exact_ns) == run.end_ns).all()


def test_input_that_is_there(tmp_path: Path) -> None:
    slow = replace(DDP, input_ms=20.0)
    check(tmp_path, slow, replace(DDP, input_ms=0.0), Edit(without=frozenset(("input",))))


def test_faster_kernels(tmp_path: Path) -> None:
    check(tmp_path, DDP, replace(DDP, compute_ms=DDP.compute_ms / 2), Edit(kernels={"*": 2.0}), near=0.01)
