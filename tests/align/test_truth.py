"""Clocks and matches of hundreds of synthetic jobs against their truth."""

from dataclasses import replace

import numpy as np
import pytest

from scaleprof.align.matching import Matches
from scaleprof.results import Table
from scaleprof.synth.spec import Spec
from tests.align.true_jobs import TrueJob, true_job

SEEDS = 200


def clocks_of_seed(seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Offsets up to 3 ms and drifts up to 50 ppm of four hosts."""
    rng = np.random.default_rng(seed)
    offsets, drifts = rng.uniform(-3, 3, 3), rng.uniform(-50, 50, 3)
    return (0.0, *offsets.tolist()), (0.0, *drifts.tolist())


def job_of_seed(seed: int, **fields: object) -> TrueJob:
    offsets, drifts = clocks_of_seed(seed)
    spec = {
        "ranks": 8,
        "ranks_per_host": 2,
        "steps": 24,
        "layers": 8,
        "kernels_per_layer": 1,
        "buckets": 8,
        "jitter": 0.02,
        "exit_us": 3.0,
    }
    return true_job(Spec(**{**spec, "clock_offset_ms": offsets, "clock_drift_ppm": drifts, "seed": seed, **fields}))  # type: ignore[arg-type]


def errors_of(job: TrueJob) -> list[tuple[float, bool, bool]]:
    """For a rank of each other host at the start, in the middle and at the end: error in ns, whether within the bound, and within the interval."""
    clocks = job.clocks()
    assert not clocks.caveats
    found = []
    for rank in range(job.spec.ranks_per_host, job.spec.ranks, job.spec.ranks_per_host):
        clock = clocks.of_rank[rank]
        times = np.asarray(job.tables[rank]["start_ns"])
        for shown in (int(times[0]), int(times[len(times) // 2]), int(times[-1])):
            offset, bound = clock.offset_at(shown), clock.bound_at(shown)
            assert offset is not None and bound is not None and clock.half_width_ns is not None
            error = abs(offset - job.ahead_ns(rank, shown))
            found.append((error, error <= bound, error <= clock.half_width_ns))
    return found


def test_clocks_of_200_jobs_are_recovered_within_10_us() -> None:
    found = [one for seed in range(SEEDS) for one in errors_of(job_of_seed(seed))]
    errors, bounded, within = (list(column) for column in zip(*found, strict=True))
    assert max(errors) < 10_000
    assert all(bounded), "the causal bound is guaranteed"
    assert np.mean(within) >= 0.93, "the 95 % interval"
    assert np.median(errors) < 1_000


@pytest.mark.parametrize("fields", [
    {"tensor": 2, "strategy": "fsdp"},
    {"pipeline": 4, "micro_batches": 4, "buckets": 2, "steps": 12},
    {"pipeline": 2, "tensor": 2, "micro_batches": 4, "buckets": 2, "steps": 8},
], ids=["fsdp+tp", "pipeline across hosts", "all three"])  # fmt: skip
def test_clocks_of_other_strategies_are_recovered(fields: dict[str, object]) -> None:
    found = [one for seed in range(20) for one in errors_of(job_of_seed(seed, **fields))]
    errors, bounded, within = (list(column) for column in zip(*found, strict=True))
    assert max(errors) < 10_000 and all(bounded) and np.mean(within) >= 0.93


HOSTILE = {
    "fast drifts": {},
    "whole us": {"dialect": "old2022", "exit_us": 0.0},
    "exits of 50 us": {"exit_us": 50.0},
    "a clock for each rank": {"tensor": 4, "ranks_per_host": 1, "buckets": 1, "drop": 0.1},
    "three steps": {"steps": 3, "tensor": 2, "buckets": 2},
}


@pytest.mark.parametrize("fields", HOSTILE)
def test_intervals_and_bounds_hold_in_hostile_jobs(fields: str) -> None:
    """Offsets up to 50 ms, drifts up to 200 ppm."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        offsets, drifts = rng.uniform(-50, 50, 7).tolist(), rng.uniform(-200, 200, 7).tolist()
        own = {"clock_offset_ms": (0.0, *offsets), "clock_drift_ppm": (0.0, *drifts), "steps": 8, **HOSTILE[fields]}
        found += errors_of(job_of_seed(seed, **own))
    _, bounded, within = (list(column) for column in zip(*found, strict=True))
    assert all(bounded) and np.mean(within) >= 0.93


def without_numbers(table: Table) -> Table:
    return Table({**table.columns, "seq": np.full(len(table), -1)})


def pairs_of(job: TrueJob, matches: Matches) -> tuple[int, int, int]:
    """Rows that were matched, operations that are several in truth, and rows of which a partner survived."""
    number, ranks, rows = matches.members()
    true = np.array([job.instance[rank][row] for rank, row in zip(ranks.tolist(), rows.tolist(), strict=True)])
    first = np.flatnonzero(np.diff(number, prepend=-1))
    wrong = np.maximum.reduceat(true, first) != np.minimum.reduceat(true, first)
    count = np.bincount(np.concatenate(list(job.instance.values())))
    return len(true), int(wrong.sum()), int(count[count > 1].sum())


MIXES = {
    "ddp": {},
    "fsdp+tp": {"strategy": "fsdp", "tensor": 2, "steps": 6},
    "all three": {"pipeline": 2, "tensor": 2, "micro_batches": 4, "buckets": 2, "steps": 4},
}


@pytest.mark.parametrize("mix", MIXES)
def test_with_numbers_999_in_1000_are_matched_though_events_are_lost_and_none_wrongly(mix: str) -> None:
    right = wrong = possible = 0
    for seed in range(SEEDS if mix == "ddp" else 20):
        job = job_of_seed(seed, drop=0.01, **MIXES[mix])
        one, other, most = pairs_of(job, job.matches())
        right, wrong, possible = right + one, wrong + other, possible + most
    assert wrong == 0
    assert right >= 0.999 * possible


@pytest.mark.parametrize("mix", MIXES)
def test_without_numbers_what_is_matched_is_right_and_the_rest_is_flagged(mix: str) -> None:
    matched, possible = [0, 0], 0
    for seed in range(100 if mix == "ddp" else 10):
        job = job_of_seed(seed, drop=0.01, **MIXES[mix])
        job = replace(job, tables={rank: without_numbers(table) for rank, table in job.tables.items()})
        for way, matches in enumerate((job.matches(), job.settled())):
            right, wrong, most = pairs_of(job, matches)
            assert wrong == 0
            assert right + matches.unmatched.total() == sum(map(len, job.tables.values()))
            matched[way] += right
        possible += most
    assert matched[0] < matched[1], "clocks decide where order cannot"
    assert matched[1] >= (0.999 if mix == "ddp" else 0.95) * possible
