"""A job whose only communication is expert-parallel kernels, without any name of NCCL and without metadata: every number by hand."""

from pathlib import Path

import pytest

from scaleprof.analyses.account.account import account
from scaleprof.pipeline import Options, analyze
from scaleprof.readers import read_rank
from scaleprof.run import RankFiles
from scaleprof.trace import Trace
from tests.readers.making import COMM_STREAM, Json, kernel, launch, step, write_trace

STEPS, STEP_US = 10, 1_000
DISPATCH = "void deep_ep::intranode::dispatch<8, 768, 8192>(int4*, float*, int*, long*)"
COMBINE = "void deep_ep::intranode::combine<__nv_bfloat16, 8, 768, 4096>(__nv_bfloat16*, float*)"
OWN_EXCHANGE = "void my_moe::ring_exchange<8>(float*)"

COMPUTE_US = {0: ((0, 300), (450, 350), (850, 150)), 1: ((0, 400), (450, 350), (850, 150))}
"""Start within the step and duration, by rank: before the experts, the experts, after them. Rank 1 comes to the dispatch 150 us after rank 0."""
EXCHANGES_US = {0: ((250, 200), (700, 150)), 1: ((400, 50), (700, 150))}


def write(folder: Path, names: tuple[str, str] = (DISPATCH, COMBINE)) -> list[Path]:
    """The files of both ranks."""
    return [
        write_trace(
            folder / f"rank{rank}.json",
            [event for number in range(STEPS) for event in _events(rank, number, names)],
            distributedInfo={"rank": rank, "world_size": 2},
        )
        for rank in (0, 1)
    ]


def _events(rank: int, number: int, names: tuple[str, str]) -> list[Json]:
    at = (number + 1) * STEP_US
    events = [*step(number, at - 500, STEP_US)]
    for place, (start, dur) in enumerate(COMPUTE_US[rank]):
        events += [launch(at - 400 + 10 * place, 100 * number + place)]
        events += [kernel("ampere_sgemm_128x64_nn", at + start, dur, 100 * number + place)]
    for place, (start, dur) in enumerate(EXCHANGES_US[rank]):
        events += [launch(at - 300 + 10 * place, 100 * number + 50 + place)]
        events += [kernel(names[place], at + start, dur, 100 * number + 50 + place, stream=COMM_STREAM)]
    return events


def read(path: Path, own: tuple[str, ...] = ()) -> Trace:
    return read_rank(RankFiles(0, "kineto", (path,)), own)


BY_HAND_US = {
    # 50 us of the dispatch and 100 of the combine run under compute; the other way round 150 and 50 are exposed.
    0: {"window_ns": 1000, "compute_ns": 800, "exposed_comm_ns": 200, "comm_ns": 350, "overlapped_ns": 150, "idle_ns": 0},
    # The dispatch of 50 us runs under nothing, 100 us of the combine under the experts.
    1: {"window_ns": 1000, "compute_ns": 900, "exposed_comm_ns": 100, "comm_ns": 200, "overlapped_ns": 100, "idle_ns": 0},
}  # fmt: skip


def test_busy_hidden_and_exposed_are_those_on_paper(tmp_path: Path) -> None:
    for rank, path in enumerate(write(tmp_path)):
        table = account(read(path))
        assert len(table) >= STEPS - 2
        for column, us in BY_HAND_US[rank].items():
            assert set(table[column].tolist()) == {1000 * us}, (rank, column)


def test_the_kernels_say_what_they_do_and_are_matched_by_order(tmp_path: Path) -> None:
    write(tmp_path)
    report = analyze([tmp_path], options=Options(engine="serial"))
    table = report.tables["collectives"]
    assert table["op"].tolist() == ["all_to_all", "all_to_all"]
    assert table["name"].tolist() == [COMBINE, DISPATCH]
    assert table["count_per_step"].tolist() == [1, 1]
    # The shortest of both ranks is the transfer: 50 us of the dispatch, so that rank 0 waited 150 us in half of all dispatches.
    assert table["transfer_ms"].tolist() == pytest.approx([0.15, 0.05])
    assert table["wait_ms"].tolist() == pytest.approx([0, 0.075])
    shares = {leaf: report.metric(f"time.{leaf}_share") for leaf in ("compute", "exposed_comm", "idle")}
    assert {leaf: metric.value for leaf, metric in shares.items() if metric} == pytest.approx(
        {"compute": 0.85, "exposed_comm": 0.15, "idle": 0}
    )
    matched = report.metric("collectives.matched_share")
    assert matched is not None and matched.value == 1
    assert "lookalikes" not in report.tables


def test_a_library_nobody_knows_is_listed_and_counts_once_it_is_named(tmp_path: Path) -> None:
    paths = write(tmp_path, (OWN_EXCHANGE, OWN_EXCHANGE))
    report = analyze([tmp_path], options=Options(engine="serial"))
    assert report.tables["lookalikes"]["name"].tolist() == [OWN_EXCHANGE]
    share = report.runs[0].metric("kernels.lookalike_share")
    # 350 us of rank 0 and 200 us of rank 1 in each of the steps that the account divides, and in the first one, which it does not.
    assert share is not None and 0.27 < float(share.value) < 0.32
    [kernels] = [section for section in report.runs[0].sections if section.name == "kernels"]
    [said] = [caveat for caveat in kernels.caveats if "--communication" in caveat]
    assert said.startswith("1 name (") and f"the longest `{OWN_EXCHANGE}`" in said
    own = ("ring_exchange",)
    for rank, path in enumerate(paths):
        table = account(read(path, own))
        for column, us in BY_HAND_US[rank].items():
            assert set(table[column].tolist()) == {1000 * us}, (rank, column)
    named = analyze([tmp_path], options=Options(engine="serial", communication=own))
    side_by_side = analyze([tmp_path], options=Options(workers=2, communication=own))
    assert named.to_dict() | {"made_with": 0} == side_by_side.to_dict() | {"made_with": 0}, (
        "worker processes know it, too"
    )
    assert "lookalikes" not in named.tables
    assert named.made_with["communication"] == "ring_exchange"
    assert any("`ring_exchange` was taken as communication" in caveat for caveat in named.caveats)
    exposed = named.metric("time.exposed_comm_share")
    assert exposed is not None and exposed.value == pytest.approx(0.15)
