"""What must not change, and what must hold of every run (`method` 9.2): a small synthetic job, its files edited as text, analysed again."""

import gzip
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.align import LEAVES, RankFacts, RunView, align
from scaleprof.pipeline import facts_of_rank
from scaleprof.readers import find_runs
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job

Json = dict[str, Any]
RANKS = 4
SPEC = Spec(
    ranks=RANKS,
    ranks_per_host=2,
    steps=5,
    layers=4,
    buckets=2,
    compute_ms=8.0,
    gradient_bytes=40_000_000,
    late_rank=2,
    late_ms=1.0,
    clock_offset_ms=(0.0, 4.0),
    jitter=0.05,
)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain files of four ranks."""
    return write_job(SPEC, tmp_path_factory.mktemp("job"), foreign=True)


def view_of(folder: Path) -> RunView:
    [run] = find_runs([folder])
    facts = {}
    for rank, files in run.ranks.items():
        of_rank = facts_of_rank(files)
        assert isinstance(of_rank, RankFacts), of_rank
        facts[rank] = of_rank
    return align(run.info, facts)


@pytest.fixture(scope="module")
def plain(job: Path) -> RunView:
    """The job as it was written."""
    return view_of(job)


def edited(job: Path, folder: Path, edit: Callable[[int, Json], None]) -> RunView:
    """The job with the file of each rank changed."""
    for path in sorted(job.glob("*.json.gz")):
        with gzip.open(path, "rt") as file:
            trace = json.load(file)
        edit(int(path.name.split("-")[1].split(".")[0]), trace)
        with gzip.open(folder / path.name, "wt", compresslevel=1) as file:
            json.dump(trace, file)
    shutil.copy(job / "truth.json", folder)
    return view_of(folder)


def leaves(view: RunView) -> dict[tuple[int, int], dict[str, int]]:
    """By rank and step."""
    table = view.leaves
    return {
        (rank, step): {leaf: int(table[f"{leaf}_ns"][row]) for leaf in ("window", "comm", "overlapped", *LEAVES)}
        for row, (rank, step) in enumerate(zip(table["rank"].tolist(), table["step"].tolist(), strict=True))
    }


def exchanged(view: RunView) -> dict[int, list[tuple[int, int]]]:
    """Waiting and transfer of every operation of each rank."""
    exchange = view.exchange
    return {
        rank: list(zip(exchange.wait_ns[rank].tolist(), exchange.transfer_ns[rank].tolist(), strict=True))
        for rank in view.ranks
    }


def timed(trace: Json) -> list[Json]:
    return [event for event in trace["traceEvents"] if event.get("ph") == "X"]


# ---- what holds


def test_leaves_add_up_and_no_part_is_negative(plain: RunView) -> None:
    for parts in leaves(plain).values():
        assert sum(parts[leaf] for leaf in LEAVES) == parts["window"]
        assert min(parts.values()) >= 0
        assert parts["exposed_untold"] == parts["bubble"] == 0
        assert parts["overlapped"] <= parts["comm"]


def test_in_every_collective_somebody_waits_for_nobody(plain: RunView) -> None:
    found = exchanged(plain)
    waits = np.array([[wait for wait, _ in found[rank]] for rank in range(RANKS)])
    assert waits.shape == (RANKS, (SPEC.steps + 1) * SPEC.buckets)
    assert (waits.min(axis=0) == 0).all() and (waits >= 0).all()
    transfers = np.array([[transfer for _, transfer in found[rank]] for rank in range(RANKS)])
    assert (transfers == transfers[0]).all(), "a transfer takes as long on every rank"


# ---- what changes nothing


def test_the_clock_of_one_host_moves_its_times_and_nothing_else(job: Path, plain: RunView, tmp_path: Path) -> None:
    def later(rank: int, trace: Json) -> None:
        trace["baseTimeNanoseconds"] += 3_000_000_000 if rank >= 2 else 0

    moved = edited(job, tmp_path, later)
    assert (leaves(moved), exchanged(moved)) == (leaves(plain), exchanged(plain))
    before, after = (view.clocks.of_rank[3].offset_ns for view in (plain, moved))
    assert before == 4_000_000 and after == 3_004_000_000


def test_names_of_streams_say_nothing(job: Path, plain: RunView, tmp_path: Path) -> None:
    def renamed(rank: int, trace: Json) -> None:
        for event in trace["traceEvents"]:
            if "stream" in event.get("args", {}):
                event["tid"] = event["args"]["stream"] = event["args"]["stream"] + 100 * (rank + 1)
            elif event.get("cat") == "ac2g" and event.get("ph") == "f":
                event["tid"] += 100 * (rank + 1)

    other = edited(job, tmp_path, renamed)
    assert (leaves(other), exchanged(other)) == (leaves(plain), exchanged(plain))


def test_a_kernel_in_two_abutting_parts_is_one(job: Path, plain: RunView, tmp_path: Path) -> None:
    def split(rank: int, trace: Json) -> None:
        for event in timed(trace):
            if event.get("cat") == "kernel" and "nccl" not in event["name"] and event["dur"] > 0.01:
                half = {**event, "dur": round(event["dur"] / 2, 3)}
                rest = {**event, "ts": round(event["ts"] + half["dur"], 3), "dur": round(event["dur"] - half["dur"], 3)}
                event.update(half)
                trace["traceEvents"].append(rest)

    halves = edited(job, tmp_path, split)
    assert (leaves(halves), exchanged(halves)) == (leaves(plain), exchanged(plain))


def test_ranks_in_another_order_are_the_same_ranks(job: Path, plain: RunView, tmp_path: Path) -> None:
    new = {0: 2, 1: 3, 2: 0, 3: 1}

    def permuted(rank: int, trace: Json) -> None:
        trace["distributedInfo"]["rank"] = new[rank]

    other = edited(job, tmp_path, permuted)
    assert {(new[rank], step): parts for (rank, step), parts in leaves(plain).items()} == leaves(other)
    assert {new[rank]: parts for rank, parts in exchanged(plain).items()} == exchanged(other)


def test_events_in_any_order_are_the_same_events(job: Path, plain: RunView, tmp_path: Path) -> None:
    def shuffled(rank: int, trace: Json) -> None:
        np.random.default_rng(rank).shuffle(trace["traceEvents"])

    other = edited(job, tmp_path, shuffled)
    assert (leaves(other), exchanged(other)) == (leaves(plain), exchanged(plain))


# ---- what follows


@pytest.mark.parametrize("factor", [2, 7])
def test_k_times_as_long_is_k_times_everything(job: Path, plain: RunView, tmp_path: Path, factor: int) -> None:
    def scaled(rank: int, trace: Json) -> None:
        first_ns = min(round(event["ts"] * 1000) for event in timed(trace))
        for event in trace["traceEvents"]:
            if "ts" in event:
                event["ts"] = (first_ns + (round(event["ts"] * 1000) - first_ns) * factor) / 1000
            if "dur" in event:
                event["dur"] = round(event["dur"] * 1000) * factor / 1000

    longer = leaves(edited(job, tmp_path, scaled))
    assert longer == {key: {leaf: ns * factor for leaf, ns in parts.items()} for key, parts in leaves(plain).items()}


@pytest.mark.parametrize(
    "change", [{"bandwidth_gbps": 80.0}, {"alpha_us": 40.0}, {"compute_ms": 4.0}, {"late_ms": 3.0}]
)
def test_an_edited_job_is_the_job_made_anew(tmp_path: Path, change: Mapping[str, float]) -> None:
    """The wire, the latency, the compute or the late rank are changed: exposed times follow the closed form of a bucket pipeline (`method` 6.1)."""
    fields = {"compute_ms": 20.0, "copy_ms": 0.0, **change}
    spec = Spec(ranks=2, ranks_per_host=2, steps=4, layers=4, buckets=4, gradient_bytes=80_000_000, **fields)  # type: ignore[arg-type]
    view = view_of(write_job(spec, tmp_path))
    forward, backward = 0.3 * spec.compute_ms, 0.65 * spec.compute_ms
    transfer = 2 * spec.alpha_us / 1e3 + spec.gradient_bytes / 4 / spec.bandwidth_gbps / 1e6
    done = 0.0
    for bucket in range(1, 5):
        done = max(done, forward + backward * bucket / 4) + transfer  # of a rank that is not late
    late = spec.late_ms
    exposed = {0: done - forward - backward, 1: done - forward - backward + late}
    for (rank, step), parts in leaves(view).items():
        if step:
            found = (parts["exposed_transfer"] + parts["exposed_wait"]) / 1e6
            assert found == pytest.approx(exposed[0 if rank == spec.late_rank else 1], abs=0.05)
