"""Finding runs below a path, and what is said where there is none."""

from pathlib import Path
from typing import Any

import pytest

from scaleprof.errors import NothingToRead
from scaleprof.readers import READERS, find_runs
from tests.readers.making import complete, step_line, write_bytes, write_rank, write_run, write_trace

EVENTS = [complete("aten::mm", "cpu_op", 10, 5)]


def foreign(path: Path, rank: int | None = None, world_size: int | None = None, **metadata: Any) -> Path:
    """A trace of torch.profiler."""
    info = {
        "backend": "nccl",
        **({"rank": rank} if rank is not None else {}),
        **({"world_size": world_size} if world_size else {}),
    }
    return write_trace(path, EVENTS, distributedInfo=info, **metadata)


def own(path: Path, ranks: int = 1, **fields: Any) -> Path:
    """A recorded run with one step a rank."""
    write_run(path, world_size=ranks, **fields)
    for rank in range(ranks):
        write_rank(path, rank, world_size=ranks, steps=[step_line(0)])
    return path


def test_readers_are_a_list_to_read() -> None:
    assert [reader.name for reader in READERS] == ["recorded", "xplane", "ascend", "kineto", "horovod"]
    assert all(reader.recognises for reader in READERS)


def test_every_run_below_a_folder_is_found(tmp_path: Path) -> None:
    own(tmp_path / "study" / "n1")
    own(tmp_path / "study" / "n2", ranks=2)
    foreign(tmp_path / "other" / "rank0.json", 0, 2)
    foreign(tmp_path / "other" / "rank1.json.gz", 1, 2)
    runs = find_runs([tmp_path])
    assert [(run.info.name, sorted(run.ranks)) for run in runs] == [("n1", [0]), ("n2", [0, 1]), ("other", [0, 1])]
    assert [run.ranks[0].reader for run in runs] == ["recorded", "recorded", "kineto"]
    assert not any(run.caveats for run in runs)


def test_a_run_that_is_reached_twice_counts_once(tmp_path: Path) -> None:
    run = own(tmp_path / "n1")
    assert len(find_runs([run, run, run / "run.json"])) == 1
    path = foreign(tmp_path / "x" / "rank0.json", 0)
    assert len(find_runs([path, path])) == 1


def test_a_rank_folder_alone_is_its_run_without_the_others(tmp_path: Path) -> None:
    own(tmp_path / "n4", ranks=4)
    (run,) = find_runs([tmp_path / "n4" / "rank-00002"])
    assert list(run.ranks) == [2]
    assert run.info.name == "n4"
    assert run.caveats == ("ranks 0, 1, 3 of 4 are missing: what compares all ranks is incomplete",)


def test_a_single_file_is_a_run(tmp_path: Path) -> None:
    (run,) = find_runs([foreign(tmp_path / "model.pt.trace.json.gz")])
    assert (run.info.name, run.info.world_size, list(run.ranks)) == ("model", 1, [0])


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for vendor in ("h100", "mi300"):
        foreign(tmp_path / vendor / "bert.json")
        foreign(tmp_path / vendor / "qwen.json")
    names = [run.info.name for run in find_runs([tmp_path])]
    assert names == ["h100/bert", "h100/qwen", "mi300/bert", "mi300/qwen"]


def test_sizes_and_repeats_of_one_study_keep_their_name(tmp_path: Path) -> None:
    own(tmp_path / "job-n1", name="job")
    own(tmp_path / "job-n2", ranks=2, name="job")
    own(tmp_path / "job-n2-again", ranks=2, name="job", repeat=1)
    assert [run.info.name for run in find_runs([tmp_path])] == ["job", "job", "job"]
    own(tmp_path / "job-n2-later", ranks=2, name="job")
    names = [run.info.name for run in find_runs([tmp_path])]
    assert names == ["job", "job-n2", "job", "job-n2-later"]


def test_a_pattern_overrides_the_grouping(tmp_path: Path) -> None:
    foreign(tmp_path / "a" / "rank0.json", 0, 2)
    foreign(tmp_path / "b" / "rank1.json", 1, 2)
    foreign(tmp_path / "c" / "rank0.json", 0, 1)
    runs = find_runs([tmp_path], [("mine", f"{tmp_path}/[ab]/*.json")])
    assert [(run.info.name, sorted(run.ranks)) for run in runs] == [("mine", [0, 1]), ("c", [0])]
    assert [run.info.name for run in find_runs([], [("it", f"{tmp_path}/c")])] == ["it"]
    with pytest.raises(NothingToRead, match=r"--run x=.*no trace file matches"):
        find_runs([tmp_path], [("x", f"{tmp_path}/nothing/*")])


def test_a_pattern_renames_a_recorded_run(tmp_path: Path) -> None:
    own(tmp_path / "n1")
    assert [run.info.name for run in find_runs([tmp_path], [("base", str(tmp_path / "n1"))])] == ["base"]


def test_a_broken_file_beside_good_ones_is_a_caveat(tmp_path: Path) -> None:
    foreign(tmp_path / "rank0.json", 0, 2)
    write_bytes(tmp_path / "rank1.json", b"")
    (run,) = find_runs([tmp_path])
    assert list(run.ranks) == [0]
    assert run.caveats == (
        "rank 1 of 2 is missing: what compares all ranks is incomplete",
        "rank1.json was left out: it is empty, or its compressed data is damaged",
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"not json", "is not JSON"),
        (b'{"traceEvents"', "is no whole JSON"),
        (b"\x1f\x8b\x08\x00", "damaged"),
    ],
)
def test_where_everything_is_broken_the_reasons_are_said(tmp_path: Path, content: bytes, reason: str) -> None:
    write_bytes(tmp_path / "rank0.json", content)
    with pytest.raises(NothingToRead, match=rf"every file that could be a trace is broken: .*rank0\.json: .*{reason}"):
        find_runs([tmp_path])


def test_what_is_wrong_with_the_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(NothingToRead, match="does not exist"):
        find_runs([tmp_path / "nowhere"])
    with pytest.raises(NothingToRead, match="holds no trace: point scaleprof at"):
        find_runs([tmp_path])
    write_bytes(tmp_path / "package.json", b'{"name": "x"}')
    with pytest.raises(NothingToRead, match="holds 1 JSON files, but no trace that can be read"):
        find_runs([tmp_path])
    with pytest.raises(NothingToRead, match=r"package\.json: is no trace that can be read"):
        find_runs([tmp_path / "package.json"])


def test_traces_of_other_tools_are_not_taken_for_torchs(tmp_path: Path) -> None:
    write_bytes(
        tmp_path / "horovod.json",
        b'[{"ph": "B", "name": "NEGOTIATE", "ts": 1}, {"ph": "X", "cat": "x", "ts": 2, "dur": 1}]',
    )
    write_bytes(tmp_path / "chrome.json", b'{"traceEvents": [{"ph": "X", "name": "a", "ts": 1, "dur": 1}]}')
    with pytest.raises(NothingToRead, match="holds 2 JSON files, but no trace"):
        find_runs([tmp_path])


def test_a_recorded_run_without_any_rank_is_no_run(tmp_path: Path) -> None:
    write_run(tmp_path / "job")
    with pytest.raises(NothingToRead, match="no folder of any rank"):
        find_runs([tmp_path])


def test_hidden_folders_and_files_are_passed_over(tmp_path: Path) -> None:
    foreign(tmp_path / ".cache" / "rank0.json", 0)
    foreign(tmp_path / "a" / ".rank0.json.tmp.json", 0)
    foreign(tmp_path / "a" / "rank0.json", 0)
    assert len(find_runs([tmp_path])) == 1


def test_real_folders_group_as_they_should(foreign_traces: Path) -> None:
    runs = {run.info.name: run for run in find_runs([foreign_traces / "kineto"])}
    assert len(runs) == 20
    assert sorted(runs["dlrm-8xv100"].ranks) == list(range(8))
    assert not runs["dlrm-8xv100"].caveats
    assert runs["sampled-2-of-128"].info.world_size == 128
    assert "(126 in all)" in runs["sampled-2-of-128"].caveats[0]
    assert list(runs["cpu-only-rank-34-of-300"].ranks) == [34]
    assert sum("vendor-pairs" in str(run.path) for run in runs.values()) == 6
    strategies = find_runs([foreign_traces / "torch_gloo/strategies"])
    assert len(strategies) == 22
    assert all(sorted(run.ranks) == [0, 1] and run.info.world_size == 2 for run in strategies)
