"""What the files say about the job."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from scaleprof.run import read_rank_info
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from tests.synth.truths import written


def job(**changed: Any) -> Spec:
    fields: dict[str, Any] = {
        "ranks": 8, "pipeline": 2, "tensor": 2, "micro_batches": 2, "layers": 4, "kernels_per_layer": 1, "steps": 1, "ranks_per_host": 4, **changed,
    }  # fmt: skip
    return Spec(**fields)


def test_a_rank_says_its_place_in_the_mesh_and_its_groups(tmp_path: Path) -> None:
    info = read_rank_info(write_job(job(), tmp_path) / "rank-00005" / "rank.json")
    assert info.strategy == "ddp+tp+pp-1f1b"
    assert info.mesh == {"pp": 2, "dp": 2, "tp": 2}
    assert info.coordinates == {"pp": 1, "dp": 0, "tp": 1}
    assert info.replicas == 2
    assert info.details["pipeline"] == {"schedule": "Schedule1F1B", "stages": [1], "num_stages": 2, "micro_batches": 2}
    groups = {group.description: group for group in info.process_groups}
    assert groups["default_pg"].ranks == tuple(range(8))
    assert (groups["mesh_pp"].ranks, groups["mesh_dp"].ranks, groups["mesh_tp"].ranks) == ((1, 5), (5, 7), (4, 5))


def test_a_plain_file_says_its_groups_too(tmp_path: Path) -> None:
    run, _ = written(job(), tmp_path, foreign=True)
    (path,) = run.ranks[5].traces
    about = json.loads(gzip.decompress(path.read_bytes()))["distributedInfo"]
    assert (about["rank"], about["world_size"], about["pg_count"]) == (5, 8, 4)
    assert [(one["pg_desc"], one["ranks"]) for one in about["pg_config"][1:]] == [
        ("mesh_pp", [1, 5]),
        ("mesh_dp", [5, 7]),
        ("mesh_tp", [4, 5]),
    ]


def test_the_run_knows_how_many_samples_differ(tmp_path: Path) -> None:
    run, _ = written(job(samples=32), tmp_path)
    assert (run.info.strategy, run.info.replicas, run.info.global_batch) == ("ddp+tp+pp-1f1b", 2, 64)
    assert run.info.synthetic


@pytest.mark.parametrize(("strategy", "local"), [("ddp", 250), ("fsdp", 125)])
def test_parameters_are_those_of_the_model_and_of_the_rank(strategy: str, local: int, tmp_path: Path) -> None:
    folder = write_job(Spec(ranks=4, tensor=2, strategy=strategy, gradient_bytes=1000, steps=1), tmp_path)
    info = read_rank_info(folder / "rank-00000" / "rank.json")
    assert (info.parameters, info.local_parameters) == (500, local)
