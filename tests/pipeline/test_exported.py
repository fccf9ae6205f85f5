"""A merged export: hand-made ranks with answers on paper, jobs with known clocks, and every recording that is at hand."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scaleprof.errors import InputError, OptionError
from scaleprof.pipeline import Options, Selection, export, export_tables
from scaleprof.pipeline.facts import facts_of_all, view_of
from scaleprof.readers import find_runs, read_rank
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from tests.export.checks import Checked, checked

ROOT = Path(__file__).parents[2]
SERIAL = Options(engine="serial", use_cache=False)
SAMPLES = sorted(path for path in (ROOT / "sample_traces").iterdir() if path.is_dir())
FOREIGN = [
    "ascend/2-rank-level0", "horovod/np2_fp32.json", "horovod/np2_torchprof", "horovod/np4_fp32.json", "jax/2dev", "kineto/dlrm-8xv100",
    "kineto/edge", "kineto/sampled-2-of-128", "kineto/sync", "kineto/vendor-pairs", "tensorflow/mwms_custom", "torch_gloo/strategies/ddp_w2",
    "torch_gloo/strategies/fsdp2_w2",
]  # fmt: skip


def exported(path: Path, folder: Path, **chosen: Any) -> list[Checked]:
    """Every run below a path, exported and checked."""
    written = export([path], folder / "out", selection=Selection(**chosen), options=SERIAL)
    return [checked(one.path) for one in written]


# ---- by hand ----
BASE_NS = 1_700_000_000_000_000_000
AHEAD_NS = 5_000_123
"""The clock of rank 1 is so far ahead."""


@dataclass(frozen=True)
class Kernel:
    """One kernel on a stream, in us of the true time."""

    name: str
    stream: int
    start_us: float
    end_us: float
    seq: int | None = None
    """Of an all-reduce."""


def kineto(rank: int, kernels: list[Kernel], *, ahead_ns: int = 0) -> dict[str, Any]:
    """A file of torch.profiler of one of two ranks on hosts of their own."""
    events = []
    for number, one in enumerate(kernels):
        start_ns = round(one.start_us * 1000) + ahead_ns
        common = {"ph": "X", "name": one.name, "ts": start_ns / 1000, "dur": round(one.end_us - one.start_us, 3)}
        args: dict[str, Any] = {"stream": one.stream, "device": 0, "correlation": number + 1}
        if one.seq is not None:
            args |= {
                "Collective name": "allreduce", "dtype": "Float", "In msg nelems": 1000, "Out msg nelems": 1000, "Group size": 2,
                "Process Group Name": "0", "Process Group Ranks": "[0, 1]", "Seq": one.seq,
            }  # fmt: skip
        events.append(common | {"cat": "kernel", "pid": 0, "tid": one.stream, "args": args})
        launch = {"ts": start_ns / 1000 - 1, "dur": 0.5, "name": "cudaLaunchKernel", "cat": "cuda_runtime"}
        events.append(common | launch | {"pid": 100 + rank, "tid": 100, "args": {"correlation": number + 1}})
    return {
        "schemaVersion": 1,
        "baseTimeNanoseconds": BASE_NS,
        "distributedInfo": {
            "backend": "nccl", "rank": rank, "world_size": 2,
            "pg_config": [{"pg_name": "0", "pg_desc": "default_pg", "pg_size": 2, "ranks": [0, 1]}],
        },
        "host_name": f"host-{rank}",
        "traceEvents": events,
    }  # fmt: skip


def all_reduce(seq: int, start_us: float, end_us: float) -> Kernel:
    return Kernel("ncclDevKernel_AllReduce_Sum_f32_RING_LL()", 20, start_us, end_us, seq)


@pytest.fixture
def two_ranks(tmp_path: Path) -> Path:
    """Each all-reduce ends on both at once. In the first rank 1 comes 40 us after rank 0, in the second 25 us before it."""
    ranks = [
        [Kernel("gemm", 7, 0, 60), all_reduce(0, 60, 110), Kernel("gemm", 7, 110, 190), all_reduce(1, 200, 230), all_reduce(2, 300, 310)],
        [Kernel("gemm", 7, 10, 90), all_reduce(0, 100, 110), Kernel("gemm", 7, 110, 170), all_reduce(1, 175, 230), all_reduce(2, 300, 310)],
    ]  # fmt: skip
    folder = tmp_path / "two"
    folder.mkdir()
    for rank, kernels in enumerate(ranks):
        content = kineto(rank, kernels, ahead_ns=rank * AHEAD_NS)
        (folder / f"rank{rank}.pt.trace.json").write_text(json.dumps(content))
    return folder


def test_two_ranks_on_hosts_of_their_own_have_one_clock(two_ranks: Path, tmp_path: Path) -> None:
    [file] = exported(two_ranks, tmp_path)
    found = {
        (one.rank, one.args["seq"]): (one.start - 1000, one.end - 1000, one.args["wait_us"], one.args["transfer_us"])
        for one in file.operations()
    }
    # The first launch, 1 us before the first kernel, is the origin. All clocks that are known of hosts come from the ends, which are the same.
    assert {key: [float(value) for value in values] for key, values in found.items()} == {
        (0, 0): [60_000, 110_000, 40.0, 10.0],
        (1, 0): [100_000, 110_000, 0.0, 10.0],
        (0, 1): [200_000, 230_000, 0.0, 30.0],
        (1, 1): [175_000, 230_000, 25.0, 30.0],
        (0, 2): [300_000, 310_000, 0.0, 10.0],
        (1, 2): [300_000, 310_000, 0.0, 10.0],
    }
    # Arrows lead from who came first to who came last; of two at once from the lower rank.
    assert [[one.rank for one in chain] for chain in file.chains.values()] == [[0, 1], [1, 0], [0, 1]]
    assert {one.rank: one.start - 1000 for one in file.named("gemm") if one.start < 20_000} == {0: 0, 1: 10_000}


# ---- jobs whose clocks are known ----
def synthetic(folder: Path, **fields: Any) -> Path:
    return write_job(Spec(**{"ranks": 4, "ranks_per_host": 2, "steps": 4, **fields}), folder)


def ends_of(file: Checked) -> dict[int, list[int]]:
    """By operation, its ends on the file's clock."""
    ends: dict[int, list[int]] = {}
    for one in file.operations():
        ends.setdefault(one.args["number"], []).append(one.end)
    return ends


def test_a_clock_that_is_3_ms_ahead_and_drifts_is_brought_back(tmp_path: Path) -> None:
    """All ranks of a synthetic collective leave it at the same moment of the true time."""
    folder = synthetic(tmp_path, clock_offset_ms=(0.0, 3.0), clock_drift_ppm=(0.0, 20.0), late_rank=1, late_ms=2.0)
    starts = {
        rank: read_rank(files).events.start_ns[0] for run in find_runs([folder]) for rank, files in run.ranks.items()
    }
    assert starts[2] - starts[0] > 2_500_000, "as recorded they are 3 ms apart"
    [file] = exported(folder, tmp_path)
    apart = [max(ends) - min(ends) for ends in ends_of(file).values()]
    assert len(apart) == 16 + 4 and all(len(ends) == 4 for ends in ends_of(file).values())
    assert max(apart) <= 2_000, "2 us: the clocks' own resolution, far below their 3 ms"


def test_waiting_is_what_the_job_knows_of_itself(tmp_path: Path) -> None:
    folder = synthetic(tmp_path, clock_offset_ms=(0.0, 3.0), late_rank=1, late_ms=2.0)
    truth = json.loads((folder / "truth.json").read_text())["collectives"]
    columns = [truth[name] for name in ("rank", "arrival_ns", "wait_ns", "transfer_ns")]
    [file] = exported(folder, tmp_path)
    for rank in range(4):
        known = [(wait, transfer) for of, _, wait, transfer in sorted(zip(*columns, strict=True)) if of == rank]
        found = [
            (round(float(one.args["wait_us"]) * 1000), round(float(one.args["transfer_us"]) * 1000))
            for one in sorted(file.operations(), key=lambda one: one.start)
            if one.rank == rank
        ]
        assert found == known
        assert sum(wait for wait, _ in known) > 1_000_000 or rank == 1


def test_a_pipeline_has_arrows_from_sender_to_receiver(tmp_path: Path) -> None:
    folder = synthetic(tmp_path, pipeline=4, micro_batches=4, buckets=1, clock_offset_ms=(0.0, 3.0))
    [file] = exported(folder, tmp_path)
    sent = [one for one in file.operations() if one.args["operation"] == "send"]
    assert len(file.transfers()) == len(sent) > 100
    assert any(one.category == "arrow" for one in file.slices), "receivers that came first"
    for sender, receiver in file.transfers():
        assert sender.args["peer"] == receiver.rank and receiver.args["peer"] == sender.rank
        assert sender.args["bytes"] == receiver.args["bytes"]


def test_a_rank_whose_clock_nothing_ties_is_shown_with_its_steps_and_said(two_ranks: Path, tmp_path: Path) -> None:
    for file in two_ranks.iterdir():
        content = json.loads(file.read_text())
        content["traceEvents"] = [event for event in content["traceEvents"] if "AllReduce" not in event["name"]]
        file.write_text(json.dumps(content))
    [one] = export([two_ranks], tmp_path / "x.json", options=SERIAL)
    assert any("the clock of rank 1 cannot be compared" in remark for remark in one.remarks)
    firsts = {
        rank: min(one.start for one in checked(tmp_path / "x.json").slices if one.rank == rank) for rank in (0, 1)
    }
    assert abs(firsts[0] - firsts[1]) < 1_000_000, "not 5 ms apart, as their clocks are"


# ---- a part of a run ----
def test_steps_and_ranks_are_what_was_asked_for(tmp_path: Path) -> None:
    folder = synthetic(tmp_path)
    [whole] = exported(folder, tmp_path)
    [part] = exported(folder, tmp_path / "part", steps=(2, 3), ranks=(1, 3))
    assert set(part.ranks) == {1, 3}
    assert sorted({one.name for one in part.slices if one.category == "step"}) == ["step 2", "step 3"]
    assert {len(chain) for chain in part.chains.values()} == {2}
    times = {(one.rank, one.name, one.start, one.end) for one in whole.slices}
    assert all((one.rank, one.name, one.start, one.end) in times for one in part.slices), (
        "at the same times as in the whole"
    )


def test_seconds_are_a_window_for_all_ranks(tmp_path: Path) -> None:
    folder = synthetic(tmp_path)
    [part] = exported(folder, tmp_path, seconds=(0.05, 0.1))
    assert part.slices and all(one.start < 100_000_000 and one.end >= 50_000_000 for one in part.slices)
    assert set(part.ranks) == {0, 1, 2, 3}


def test_a_budget_is_kept_and_what_it_costs_is_said(tmp_path: Path) -> None:
    folder = synthetic(tmp_path, kernels_per_layer=8)
    [whole] = export([folder], tmp_path / "whole.json", options=SERIAL)
    size = whole.path.stat().st_size
    budget = round(size / 1e6 * 0.6, 3)
    [small] = export([folder], tmp_path / "small.json", selection=Selection(budget_mb=budget), options=SERIAL)
    assert whole.remarks == ()
    assert small.path.stat().st_size <= budget * 1e6 + 2_000, "what a file says of itself is not counted"
    [remark] = small.remarks
    before, after = checked(whole.path), checked(small.path)
    left_out = len(before.slices) - len(after.slices)
    assert remark.startswith(f"{left_out:,} of ") and f"{budget:g} MB" in remark
    assert len(after.operations()) == len(before.operations()) and after.chains.keys() == before.chains.keys()
    assert remark in checked(small.path).about.values(), "the file says it too"


def test_a_budget_is_shared_so_that_the_operations_of_every_rank_fit(tmp_path: Path) -> None:
    """The stages in the middle of a pipeline send and receive twice as much as its ends."""
    [folder] = (ROOT / "sample_traces").glob("emulated-pp-1f1b-n4-*")
    [one] = export([folder], tmp_path / "x.json", selection=Selection(budget_mb=2.1), options=SERIAL)
    assert one.path.stat().st_size <= 2.1e6 + 2_000
    assert any("left out on" in remark for remark in one.remarks)


def test_a_budget_that_not_even_operations_fit_names_the_rank(tmp_path: Path) -> None:
    folder = synthetic(tmp_path)
    with pytest.raises(InputError, match=r"rank 0: its steps and operations alone need .* MB"):
        export([folder], tmp_path / "x.json.gz", selection=Selection(budget_mb=0.05), options=SERIAL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name], "nothing is left of the file"


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"ranks": (7,)}, "has no rank 7; there are: 0, 1, 2, 3"),
        ({"steps": (90, 99)}, "has any of the chosen steps; it has steps 0 to 4"),
        ({"seconds": (5.0, 6.0)}, "nothing of run ddp lies in the chosen seconds; it lasts from 0 to 0."),
        ({"runs": ("other",)}, "there is no run 'other'; there are: ddp-n4"),
        ({"steps": (3, 2)}, "--steps must go from an earlier to a later one"),
        ({"budget_mb": 0.0}, "--budget must be a positive number"),
    ],
)
def test_what_no_run_has_is_said(tmp_path: Path, chosen: dict[str, Any], said: str) -> None:
    folder = synthetic(tmp_path)
    with pytest.raises(OptionError, match=said.replace("(", r"\(")):
        exported(folder, tmp_path, **chosen)


# ---- where it is written ----
def test_a_trace_is_never_written_over(two_ranks: Path, tmp_path: Path) -> None:
    trace = two_ranks / "rank0.pt.trace.json"
    before = trace.read_bytes()
    (tmp_path / "link").symlink_to(two_ranks)
    for place in (trace, tmp_path / "link" / trace.name):
        with pytest.raises(
            OptionError, match="is a trace that is read, or lies among them: choose another place with -o"
        ):
            export([two_ranks], place, options=SERIAL)
    assert trace.read_bytes() == before
    recorded = synthetic(tmp_path)
    for place in (recorded / "rank-00000" / "x.json", recorded / "rank-00001" / "steps.jsonl.gz"):
        with pytest.raises(OptionError, match="choose another place"):
            export([recorded], place, options=SERIAL)
        assert not place.exists()


def test_beside_the_traces_it_is_no_trace_the_next_time(two_ranks: Path) -> None:
    first, again = (export([two_ranks], two_ranks / "merged.json", options=SERIAL)[0] for _ in range(2))
    assert set(checked(again.path).ranks) == {0, 1} and first.remarks == again.remarks


def test_a_file_that_is_none_of_these_is_no_place_for_one(two_ranks: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"notes\.txt is no folder: -o takes a folder, or a file called \.json"):
        export([two_ranks], tmp_path / "notes.txt", options=SERIAL)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_rank_on_which_nothing_was_recorded_is_said(two_ranks: Path, tmp_path: Path) -> None:
    (two_ranks / "rank1.pt.trace.json").write_text(json.dumps(kineto(1, [])))
    [one] = export([two_ranks], tmp_path / "x.json", options=SERIAL)
    assert "nothing was recorded on rank 1" in one.remarks
    assert not any("cannot be compared" in remark for remark in one.remarks), (
        "of what has no times nothing is told of the clock"
    )
    assert {slice_.rank for slice_ in checked(one.path).slices} == {0}


# ---- several runs ----
def test_several_runs_need_a_folder_or_a_name(tmp_path: Path) -> None:
    for ranks in (2, 4):
        synthetic(tmp_path / "traces", ranks=ranks)
    with pytest.raises(OptionError, match=r"one file, and there are 2 runs.*ddp-n2, ddp-n4"):
        export([tmp_path / "traces"], tmp_path / "x.json.gz", options=SERIAL)
    written = export([tmp_path / "traces"], tmp_path / "out", options=SERIAL)
    assert [one.path.name for one in written] == ["ddp-n2.json.gz", "ddp-n4.json.gz"]
    [one] = export([tmp_path / "traces"], tmp_path / "y.json", selection=Selection(runs=("ddp-n2",)), options=SERIAL)
    assert set(checked(one.path).ranks) == {0, 1}


def test_the_same_run_gives_the_same_bytes(two_ranks: Path, tmp_path: Path) -> None:
    first, second = (export([two_ranks], tmp_path / f"{name}.json.gz", options=SERIAL)[0] for name in "ab")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert gzip.decompress(first.path.read_bytes()).startswith(b'{"displayTimeUnit":"ns"')


def test_a_rank_that_cannot_be_read_is_named(two_ranks: Path, tmp_path: Path) -> None:
    (two_ranks / "rank1.pt.trace.json").write_bytes(b"{")
    written = export([two_ranks], tmp_path / "x.json", options=SERIAL)
    assert "rank 1" in " ".join(remark for one in written for remark in one.remarks)


# ---- every recording ----
def as_recorded(path: Path, folder: Path) -> None:
    """Every run below a path holds what it must, and every event of its traces, at the time that the alignment gives it."""
    runs = find_runs([path])
    written = export([path], folder / "out", options=SERIAL, selection=Selection(budget_mb=4000))
    facts, _ = facts_of_all(runs, SERIAL, lambda stage, done, total: None)
    for run, of_run, one in zip(runs, facts, written, strict=True):
        file, view = checked(one.path), view_of(run, of_run)
        origin = int(file.about["time 0"].split()[0])
        assert set(file.ranks) == set(of_run)
        for rank in of_run:
            trace = read_rank(run.ranks[rank])
            mine = [one for one in file.slices if one.rank == rank and one.category not in TOLD]
            assert len(mine) == len(trace.events)
            clock = view.clocks.of_rank[rank]
            if clock.offset_ns is None or not mine:
                continue
            placed = sorted(start - (clock.offset_at(start) or 0) - origin for start in trace.events.start_ns.tolist())
            assert max(abs(a - b) for a, b in zip(placed, sorted(one.start for one in mine), strict=True)) <= 1
        at_all = {int(number) for number in view.matches["collective"]}
        assert {int(key, 16) - 1 for key in file.chains} <= at_all and len(file.transfers()) <= len(at_all)
        synchronised = view.exchange.collectives
        assert len(synchronised) == 0 or file.chains, "operations that were matched have arrows"


TOLD = {"step", "blocked", "task", "issued", "wait", "transfer", "arrow", "scaleprof,gc", "scaleprof,compile"}
"""Categories of what stands in no event: what is recorded beside them, and parts of operations."""


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample_holds_what_it_must(path: Path, tmp_path: Path) -> None:
    as_recorded(path, tmp_path)


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_traces_hold_what_they_must(name: str, foreign_traces: Path, tmp_path: Path) -> None:
    as_recorded(foreign_traces / name, tmp_path)


# ---- tables ----
def test_every_table_of_the_report_is_a_file(tmp_path: Path) -> None:
    [sample] = [path for path in SAMPLES if path.name.startswith("emulated-ddp-n2")]
    paths = export_tables([sample], tmp_path, "csv", options=SERIAL)
    names = {path.stem for path in paths}
    assert {"grouping", "steps", "collectives", "ranks"} <= names
    steps = (tmp_path / "steps.csv").read_text().splitlines()
    assert steps[0].startswith("run,world_size,") and len(steps) > 5
