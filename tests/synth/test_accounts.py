"""The readers find in a job's files what its truth says, to the ns: for every built-in job without damage, and for meshes drawn at random."""

import random
from pathlib import Path
from typing import Any

import pytest

from scaleprof.synth.dialects import DIALECTS
from scaleprof.synth.spec import Spec, load_spec
from tests.synth.truths import check_account, written


@pytest.mark.parametrize("foreign", [False, True], ids=["recorded", "foreign"])
@pytest.mark.parametrize("dialect", ["native", "oneline2026", "old2022"])
@pytest.mark.parametrize("name", ["ddp", "fsdp", "tp", "pipeline", "mesh"])
def test_the_account_of_every_rank_and_step_is_the_true_one(
    name: str, dialect: str, foreign: bool, tmp_path: Path
) -> None:
    settings = [("steps", "2"), ("dialect", dialect), ("kernels_per_layer", "2")]
    run, truth = written(load_spec(name, settings), tmp_path, foreign=foreign)
    assert len(run.ranks) == truth["spec"]["ranks"]
    check_account(run, truth)


@pytest.mark.parametrize("seed", range(30))
def test_any_mesh_is_accounted_as_it_is(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    run, truth = written(_any_job(draw), tmp_path, foreign=draw.random() < 0.5)
    check_account(run, truth)
    for exposed, *parts in zip(
        *(truth["steps"][f"{name}_ns"] for name in ("exposed_comm", "exposed_transfer", "bubble", "exposed_wait")),
        strict=True,
    ):
        assert exposed == sum(parts)
        assert min(parts) >= 0


def _any_job(draw: random.Random) -> Spec:
    tensor, pipeline, data = draw.choice([1, 1, 2, 3]), draw.choice([1, 1, 2, 3, 4]), draw.choice([1, 2, 3])
    ranks = tensor * pipeline * data
    choices: dict[str, list[Any]] = {
        "micro_batches": [1, 2, 5],
        "strategy": ["ddp", "fsdp"],
        "layers": [4, 5, 7],
        "kernels_per_layer": [1, 2, 3, 6],
        "buckets": [1, 2, 4],
        "run_ahead": [0, 0, 1, 2],
        "jitter": [0.0, 0.05],
        "exit_us": [0.0, 3.0, 50.0],
        "ranks_per_host": [1, 2, 8],
        "late_rank": list(range(ranks)),
        "late_ms": [0.0, 2.0],
        "late_cause": ["compute", "throttle", "input", "pause"],
        "late_every": [1, 2],
        "dialect": list(DIALECTS),
        "inter_bandwidth_gbps": [0.0, 5.0],
        "inter_alpha_us": [0.0, 30.0],
        "communication_only": [False, False, True],
        "copy_ms": [0.0, 0.5],
        "compute_ms": [2.0, 40.0],
        "gradient_bytes": [4_000_000, 400_000_000],
    }
    fields = {name: draw.choice(values) for name, values in choices.items()}
    clocks = {"clock_offset_ms": (0.0, 3.5, -1.0), "clock_drift_ppm": (0.0, 10.0)}
    return Spec(ranks=ranks, tensor=tensor, pipeline=pipeline, steps=2, gz=False, **clocks, **fields)  # type: ignore[arg-type]
