"""Our own run directories: what all ranks together say about a run."""

from pathlib import Path
from typing import Any

import pytest

from scaleprof.readers.finding.directory import is_run_directory, run_of_directory
from scaleprof.run import Emulated, RunInfo
from tests.readers.making import step_line, write_rank, write_run, write_window


def directory(path: Path, ranks: list[dict[str, Any]], world_size: int | None = None, **fields: Any) -> Path:
    write_run(path, world_size=world_size or len(ranks), **fields)
    for rank, info in enumerate(ranks):
        write_rank(path, rank, world_size=world_size or len(ranks), steps=[step_line(0)], info=info)
    return path


def info_of(path: Path, ranks: list[dict[str, Any]], **fields: Any) -> RunInfo:
    return run_of_directory(directory(path / "job", ranks, **fields)).info


def test_a_run_directory_is_known_by_its_files(tmp_path: Path) -> None:
    assert not is_run_directory(tmp_path)
    assert is_run_directory(write_run(tmp_path / "a"))
    write_rank(tmp_path / "b", 0)
    assert is_run_directory(tmp_path / "b")
    assert not is_run_directory(tmp_path / "b" / "rank-00000")


def test_the_run_says_what_it_knows_and_the_ranks_the_rest(tmp_path: Path) -> None:
    emulated = Emulated(compute_ms_per_step=96.0)
    ranks = [
        {"host": f"node-{rank // 2}", "precision": "bf16", "overhead": {"export_ms": float(rank)}} for rank in range(4)
    ]
    ranks = [{**rank, "emulated": emulated, "versions": {"torch": "2.13"}, "parameters": 7} for rank in ranks]
    info = info_of(tmp_path, ranks, strategy="fsdp", series="weak", tags={"a": "b"})
    assert (info.name, info.world_size, info.series, info.strategy) == ("job", 4, "weak", "fsdp")
    assert (info.nodes, info.device, info.backend, info.framework, info.precision) == (
        2,
        "cpu",
        "gloo",
        "torch",
        "bf16",
    )
    assert (info.emulated, info.parameters, info.versions) == (emulated, 7, {"torch": "2.13"})
    assert info.overhead == {"export_ms": 3.0}
    assert (info.local_batch, info.global_batch) == (8, 32)


@pytest.mark.parametrize(
    ("strategy", "mesh", "batches", "expected"),
    [
        ("ddp", None, [8, 8, 8, 8], 32),
        ("ddp", None, [8, 8, 8, 4], 28),
        ("fsdp2", {"dp": 4}, [8, 8, 8, 8], 32),
        ("tp", {"tp": 4}, [8, 8, 8, 8], 8),
        ("ddp+tp", {"dp": 2, "tp": 2}, [8, 8, 8, 8], 16),
        ("fsdp+tp", {"dp_shard": 2, "tp": 2}, [8, 8, 8, 8], 16),
        ("pp", None, [8, 8, 8, 8], None),
        ("ddp", None, [8, 8, 8, None], None),
    ],
)
def test_the_global_batch_counts_every_replica_once(
    tmp_path: Path, strategy: str, mesh: Any, batches: list[Any], expected: float | None
) -> None:
    info = info_of(tmp_path, [{"local_batch": batch} for batch in batches], strategy=strategy, mesh=mesh)
    assert info.global_batch == expected


def test_a_stated_batch_wins(tmp_path: Path) -> None:
    assert info_of(tmp_path, [{}, {}], global_batch=99.0).global_batch == 99


def test_an_unknown_host_leaves_the_number_of_nodes_unknown(tmp_path: Path) -> None:
    assert info_of(tmp_path, [{"host": "a"}, {"host": None}]).nodes is None


def test_a_broken_rank_costs_that_rank(tmp_path: Path) -> None:
    path = directory(tmp_path / "job", [{}, {}, {}])
    (path / "rank-00001" / "rank.json").write_text('{"rank": 1')
    (path / "rank-00002" / "rank.json").unlink()
    run = run_of_directory(path)
    assert list(run.ranks) == [0]
    assert run.caveats[0].startswith("rank 1 was left out: rank-00001/rank.json is not readable JSON")
    assert run.caveats[1] == "rank 2 was left out: rank-00002/rank.json is missing"
    assert run.caveats[2] == "ranks 1, 2 of 3 are missing: what compares all ranks is incomplete"


def test_a_broken_run_record_costs_the_name(tmp_path: Path) -> None:
    path = directory(tmp_path / "folder", [{}, {}])
    (path / "run.json").write_text("")
    run = run_of_directory(path)
    assert (run.info.name, run.info.world_size, list(run.ranks)) == ("folder", 2, [0, 1])
    assert run.caveats[0].startswith("run.json is not readable JSON")


def test_ranks_that_disagree_about_the_world_are_noticed(tmp_path: Path) -> None:
    path = directory(tmp_path / "job", [{}, {}])
    write_rank(path, 1, world_size=4)
    run = run_of_directory(path)
    assert "do not agree on the world size (2, 4)" in run.caveats[0]


def test_windows_come_in_order_of_their_steps(tmp_path: Path) -> None:
    path = directory(tmp_path / "job", [{}])
    for first, last in ((100, 102), (5, 7), (20, 21)):
        write_window(path / "rank-00000", first, last, [])
    (path / "rank-00000" / ".trace-000001-000002.full.json.gz.1.tmp").touch()
    names = [file.name for file in run_of_directory(path).ranks[0].traces]
    assert names == [f"trace-{first:06}-{last:06}.timeline.json.gz" for first, last in ((5, 7), (20, 21), (100, 102))]
