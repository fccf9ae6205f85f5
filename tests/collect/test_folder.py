"""A rank's folder: nothing is lost while it cannot be written, and nothing half written stays."""

import errno
import gzip
from pathlib import Path

import pytest

from scaleprof.collect import folder as folders
from scaleprof.collect.folder import MOST_HELD, RankFolder, claim_rank_folder
from scaleprof.run import RankInfo, RunInfo
from tests.collect.training import lines


def opened(path: Path, rank: int = 0) -> RankFolder:
    folder = RankFolder()
    claimed = claim_rank_folder(path, "job", rank=rank, number=1)
    folder.open(claimed, RunInfo("job", 2), RankInfo(rank, 2))
    return folder


def test_only_rank_0_writes_the_run(tmp_path: Path) -> None:
    opened(tmp_path / "a", rank=1)
    assert sorted(path.name for path in (tmp_path / "a" / "job").iterdir()) == ["rank-00001"]
    opened(tmp_path / "b", rank=0)
    assert sorted(path.name for path in (tmp_path / "b" / "job").iterdir()) == ["rank-00000", "run.json"]


def test_lines_wait_until_the_folder_is_known(tmp_path: Path) -> None:
    folder = RankFolder()
    folder.line("steps.jsonl", {"i": 0})
    folder.flush()
    folder.open(claim_rank_folder(tmp_path, "job", rank=0, number=1), RunInfo("job", 1), RankInfo(0, 1))
    assert lines(tmp_path / "job" / "rank-00000" / "steps.jsonl") == [{"i": 0}]


def test_every_flush_of_a_compressed_stream_is_readable_by_itself(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    for number in range(3):
        folder.line("waits.jsonl.gz", {"t": number})
        folder.flush("waits.jsonl.gz")
    assert gzip.decompress((tmp_path / "job" / "rank-00000" / "waits.jsonl.gz").read_bytes()).count(b"\n") == 3


def test_an_earlier_job_with_the_same_id_is_not_mixed_in(tmp_path: Path) -> None:
    claimed = [claim_rank_folder(tmp_path, "job", rank=rank, number=1) for _ in range(2) for rank in range(2)]
    assert [path.parent.name for path in claimed] == ["job", "job", "job-2", "job-2"]


def test_the_second_recording_of_a_process_has_the_same_number_on_every_rank(tmp_path: Path) -> None:
    # Rank 1 could not write its first recording.
    claim_rank_folder(tmp_path, "job", rank=0, number=1)
    second = [claim_rank_folder(tmp_path, "job", rank=rank, number=2) for rank in range(2)]
    assert {path.parent.name for path in second} == {"job-2"}


def test_a_full_disk_keeps_what_was_written_and_gets_the_rest_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = opened(tmp_path)
    folder.line("waits.jsonl.gz", {"t": 0})
    folder.flush()
    append = folders._append

    def full(file: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders, "_append", full)
    folder.line("waits.jsonl.gz", {"t": 1})
    with pytest.raises(OSError, match="No space"):
        folder.flush()
    monkeypatch.setattr(folders, "_append", append)
    folder.line("waits.jsonl.gz", {"t": 2})
    folder.flush()
    assert [line["t"] for line in lines(tmp_path / "job" / "rank-00000" / "waits.jsonl.gz")] == [0, 1, 2]


def test_half_a_write_is_taken_back(tmp_path: Path) -> None:
    import resource
    import signal

    file = tmp_path / "steps.jsonl"
    file.write_bytes(b"x" * 90)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        with pytest.raises(OSError, match="large"):
            folders._append(file, b"y" * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert file.read_bytes() == b"x" * 90


def test_memory_is_bounded_while_nothing_can_be_written() -> None:
    folder = RankFolder()
    for number in range(MOST_HELD + 5):
        folder.line("steps.jsonl", {"i": number})
    assert len(folder._held["steps.jsonl"]) <= MOST_HELD
