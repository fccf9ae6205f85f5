"""Waiting told from transfer: on paper, and on a public trace of 8 GPUs."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from scaleprof import Report, analyze
from scaleprof.analyses.communication import exchange
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job

BASE_NS = 1_700_000_000_000_000_000
RANKS = 4


def kernel(name: str, start_us: float, dur_us: float, number: int, **arguments: Any) -> list[dict[str, Any]]:
    """A launch and what it started."""
    known = {"correlation": number, "stream": 20, **arguments}
    launch = {
        "ph": "X",
        "cat": "cuda_runtime",
        "name": "cudaLaunchKernel",
        "pid": 1,
        "tid": 1,
        "ts": start_us - 5,
        "dur": 3,
    }
    ran = {"ph": "X", "cat": "kernel", "name": name, "pid": 0, "tid": 20, "ts": start_us, "dur": dur_us, "args": known}
    return [{**launch, "args": {"correlation": number}}, ran]


def write(
    folder: Path, *, arrive_us: dict[int, float], clock_us: dict[int, float], elements: int, op: str, dtype: str
) -> None:
    """One all-reduce, or another collective, that lasts 1000 us after the last of the ranks has come, on clocks that disagree."""
    last = max(arrive_us.values())
    for rank, arrive in arrive_us.items():
        shift = clock_us.get(rank, 0)
        said = {
            "Collective name": op,
            "In msg nelems": elements,
            "Out msg nelems": elements,
            "dtype": dtype,
            "Group size": RANKS,
        }
        said |= {"Process Group Name": "0", "Process Group Ranks": str(list(range(RANKS)))}
        events = [
            *kernel("gemm", 100 + shift, 50, 1),
            *kernel("ncclDevKernel_AllReduce_Sum_f32_RING_LL", arrive + shift, last + 1000 - arrive, 2, **said),
        ]
        step = {
            "ph": "X",
            "cat": "user_annotation",
            "name": "ProfilerStep#1",
            "pid": 1,
            "tid": 1,
            "ts": 10 + shift,
            "dur": 5000,
        }
        trace = {
            "schemaVersion": 1, "baseTimeNanoseconds": BASE_NS, "distributedInfo": {"backend": "nccl", "rank": rank, "world_size": RANKS},
            "traceEvents": [step, *events],
        }  # fmt: skip
        (folder / f"rank{rank}.json.gz").write_bytes(gzip.compress(json.dumps(trace).encode()))


def section(report: Report) -> Any:
    [run] = report.runs
    return next(part for part in run.sections if part.name == "collectives")


ARRIVE = {0: 200.0, 1: 300.0, 2: 500.0, 3: 250.0}


def test_the_rank_that_comes_last_waits_for_nobody_whatever_the_clocks_say(tmp_path: Path) -> None:
    write(tmp_path, arrive_us=ARRIVE, clock_us={0: 7000, 3: -4000}, elements=100_000_000, op="allreduce", dtype="Float")
    report = analyze([tmp_path])
    waited = 300 + 200 + 0 + 250
    assert report.metric("collectives.wait_share").value == pytest.approx(waited / (waited + 4 * 1000))
    assert report.metric("collectives.matched_share").value == 1
    found = section(report)
    [row] = [
        dict(zip(found.tables["collectives"].columns, row, strict=True)) for row in found.tables["collectives"].rows()
    ]
    assert (row["wait_ms"], row["transfer_ms"]) == (pytest.approx(waited / 4 / 1e3), pytest.approx(1.0))
    # 400 MB in 1 ms are 400 GB/s of the algorithm, and 2 x 3/4 of that on the bus.
    assert row["busbw_gbps"] == pytest.approx(600.0)


def test_busbw_is_75_where_bytes_and_times_say_so(tmp_path: Path) -> None:
    write(
        tmp_path,
        arrive_us=dict.fromkeys(range(RANKS), 200.0),
        clock_us={},
        elements=50_000_000,
        op="allreduce",
        dtype="Float8_e4m3fn",
    )
    found = section(analyze([tmp_path]))
    [row] = [
        dict(zip(found.tables["collectives"].columns, row, strict=True)) for row in found.tables["collectives"].rows()
    ]
    assert row["bytes"] == 50_000_000  # a float8 is one byte
    assert row["busbw_gbps"] == pytest.approx(75.0)  # 50 GB/s x 2 x 3/4


def test_a_rank_that_was_not_read_leaves_the_split_open(tmp_path: Path) -> None:
    write(tmp_path, arrive_us=ARRIVE, clock_us={}, elements=1000, op="allreduce", dtype="Float")
    (tmp_path / "rank2.json.gz").unlink()
    found = section(analyze([tmp_path]))
    assert "collectives.wait_share" not in {metric.id for metric in found.metrics}
    assert any("a rank of the group, so waiting" in caveat for caveat in found.caveats)


@pytest.mark.parametrize(
    ("often", "times", "ranks", "chance"), [(5, 8, 8, 0.00998), (42, 72, 2, 0.193), (1, 1, 2, 1.0), (3, 3, 1, 1.0)]
)
def test_a_rank_is_named_only_where_it_is_no_chance(often: int, times: int, ranks: int, chance: float) -> None:
    assert exchange._chance(often, times, ranks) == pytest.approx(chance, rel=0.02)


def test_most_of_a_public_jobs_communication_is_waiting_for_one_rank(foreign_traces: Path) -> None:
    report = analyze([foreign_traces / "kineto" / "dlrm-8xv100"])
    share = report.metric("collectives.wait_share")
    assert share.value == pytest.approx(0.964, abs=5e-4)
    assert "(92.5 % without the first, 89.9 % without the first two)" in share.note
    assert "rank 7 came last in 5 of 8" in section(report).headline
    residual = report.metric("clock.residual_us")
    assert 0 < residual.value < 3.5 and "in 8 collectives" in residual.note
    apart = [float(word) for word in re.findall(r"([0-9.]+) µs (?:in the median|at most)", residual.note)]
    assert 1 <= apart[0] <= apart[1] <= 7, "the ends of a collective agree within 1 to 7 us"
    assert report.metric("clock.bound_us").value < 200
    assert report.metric("collectives.matched_share").value == 1


def test_sizes_that_only_the_spans_on_the_host_show_give_bandwidths(foreign_traces: Path) -> None:
    """1,576,964 bytes in 86 us on 8 ranks are 32.1 GB/s on the bus, 907,840 in 69 us 23.0 (`Input Dims` of `nccl:all_reduce`)."""
    report = analyze([foreign_traces / "kineto" / "dlrm-8xv100"])
    table = report.tables["link_sizes"]
    found = {(row.op, row.bytes): row.busbw_gbps for row in table.itertuples()}
    assert found["all_reduce", 1_576_964] == pytest.approx(32.09, abs=0.01)
    assert found["all_reduce", 907_840] == pytest.approx(23.02, abs=0.01)
    assert found["all_to_all", 24_576] == pytest.approx(2.15, abs=0.01)


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_waits_of_synthetic_jobs_are_the_true_ones_on_clocks_that_disagree(
    tmp_path: Path, seed: int, foreign: bool
) -> None:
    late = {"late_rank": seed, "late_ms": 1.0 + seed, "clock_offset_ms": (0.0, -7.5), "clock_drift_ppm": (0.0, 20.0)}
    spec = Spec(ranks=4, ranks_per_host=2, steps=6, jitter=0.05, seed=seed, **late)  # type: ignore[arg-type]
    run = write_job(spec, tmp_path, foreign=foreign)
    truth = json.loads((run / "truth.json").read_text())["collectives"]
    rows = [
        row for row in zip(*(truth[name] for name in ("step", "wait_ns", "transfer_ns")), strict=True) if row[0] > 0
    ]
    waited, sent = (sum(row[place] for row in rows) for place in (1, 2))
    report = analyze([run])
    assert report.metric("collectives.matched_share").value == 1
    assert report.metric("collectives.wait_share").value == pytest.approx(waited / (waited + sent), rel=0.02)
    assert f"rank {seed} came last in" in section(report).headline
    steps = json.loads((run / "truth.json").read_text())["steps"]
    window = sum(steps["window_ns"])
    for part in ("exposed_wait", "exposed_transfer"):
        true = sum(steps[f"{part}_ns"]) / window
        assert report.metric(f"time.{part}_share").value == pytest.approx(true, abs=0.002 + 0.02 * true), part
