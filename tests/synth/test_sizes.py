"""Jobs of many ranks: small files where they are wanted, and time and memory that grow with what is written."""

import resource
from pathlib import Path
from typing import Any

import pytest

from scaleprof.synth.spec import Spec, load_spec
from scaleprof.synth.timeline import simulate
from scaleprof.synth.writing import write_job
from tests.synth.truths import check_account, written


@pytest.mark.parametrize("foreign", [False, True], ids=["recorded", "foreign"])
@pytest.mark.parametrize("fields", [{}, {"strategy": "fsdp"}, {"tensor": 2, "pipeline": 2, "micro_batches": 3}])
def test_small_files_hold_the_same_communication_and_their_own_truth(
    fields: dict[str, Any], foreign: bool, tmp_path: Path
) -> None:
    whole, small = (Spec(ranks=8, steps=2, communication_only=only, **fields) for only in (False, True))
    assert [one.phase for one in simulate(small).plan.segments] == [one.phase for one in simulate(whole).plan.segments]
    run, truth = written(small, tmp_path / "small", foreign=foreign)
    check_account(run, truth)
    large, _ = written(whole, tmp_path / "whole", foreign=foreign)
    sizes = [sum(path.stat().st_size for path in one.ranks[0].traces) for one in (run, large)]
    assert sizes[0] < sizes[1] / (2 if fields.get("tensor") else 4)


def test_a_thousand_ranks_are_simulated_rank_by_column() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    timeline = simulate(load_spec("mesh", [("ranks", "1024"), ("steps", "20"), ("communication_only", "true")]))
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert timeline.done_ns.shape == (1024, 21)
    assert after.ru_utime - before.ru_utime < 30, "one loop over ranks would take minutes"


@pytest.mark.parametrize("name", ["mesh", "damaged"])
def test_the_same_description_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    settings = [
        ("steps", "2"),
        ("kernels_per_layer", "1"),
        ("jitter", "0.05"),
        ("exit_us", "4"),
        ("late_start_steps", "1"),
    ]
    folders = [write_job(load_spec(name, settings), tmp_path / one) for one in "ab"]
    files = sorted(path.relative_to(folders[0]) for path in folders[0].rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(folders[1]) for path in folders[1].rglob("*") if path.is_file())
    assert [file for file in files if (folders[0] / file).read_bytes() != (folders[1] / file).read_bytes()] == []
    other = write_job(load_spec(name, [*settings, ("seed", "1")]), tmp_path / "c")
    assert (other / "truth.json").read_bytes() != (folders[0] / "truth.json").read_bytes()
