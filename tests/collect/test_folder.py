"""A rank's folder: nothing is lost while it cannot be written, and nothing half written stays."""

import errno
import gzip
import itertools
from contextlib import suppress
from pathlib import Path

import pytest

from scaleprof import run
from scaleprof.collect.written import folder as folders
from scaleprof.collect.written.folder import MOST_HELD, RankFolder, claim_rank_folder
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


def test_memory_is_bounded_while_nothing_can_be_written_and_the_loss_is_counted(tmp_path: Path) -> None:
    folder = RankFolder()
    for number in range(MOST_HELD + 5):
        folder.line("steps.jsonl", {"i": number})
    folder.open(claim_rank_folder(tmp_path, "job", rank=0, number=1), RunInfo("job", 1), RankInfo(0, 1))
    lost, *kept = lines(tmp_path / "job" / "rank-00000" / "steps.jsonl")
    assert [line["i"] for line in kept] == list(range(lost["lost"], MOST_HELD + 5))
    assert MOST_HELD * 0.8 < len(kept) <= MOST_HELD


def test_a_stream_that_holds_much_is_written_with_any_other(tmp_path: Path) -> None:
    # Three hundred waits a step, ten steps a second: waiting for the next full flush would lose some.
    folder = opened(tmp_path)
    for number in range(3 * MOST_HELD):
        folder.line("waits.jsonl.gz", {"i": number})
        if number % 300 == 0:
            folder.line("steps.jsonl", {"i": number // 300})
            folder.flush("steps.jsonl")
    folder.flush()
    assert numbers(tmp_path / "job" / "rank-00000" / "waits.jsonl.gz") == list(range(3 * MOST_HELD))


def test_numbers_of_numpy_and_torch_are_numbers(tmp_path: Path) -> None:
    import numpy as np
    import torch

    folder = opened(tmp_path)
    folder.line("steps.jsonl", {"samples": np.int64(8), "more": torch.tensor(4)})
    folder.flush()
    assert lines(tmp_path / "job" / "rank-00000" / "steps.jsonl") == [{"samples": 8, "more": 4}]


def small_streams(monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    for stream in run.STREAM_BYTES:
        monkeypatch.setitem(run.STREAM_BYTES, stream, size_bytes)


def numbers(path: Path) -> list[int]:
    return [line["i"] for line in lines(path)]


@pytest.mark.parametrize("stream", ["steps.jsonl", "waits.jsonl.gz"])
def test_a_full_stream_keeps_its_beginning_and_what_is_newest(
    stream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_streams(monkeypatch, 8_000)
    folder = opened(tmp_path)
    most = 0
    for number in range(3000):
        folder.line(stream, {"i": number})
        folder.flush()
        if number % 100 == 0:
            files = list(folder.path.glob("*.jsonl*"))  # type: ignore[union-attr]
            most = max(most, sum(file.stat().st_size for file in files))
    segments = run.segments_of(tmp_path / "job" / "rank-00000", stream)
    kept = [numbers(file) for file in segments.values()]
    assert 0.8 * 8_000 < most <= 8_000
    assert len(kept) == run.SEGMENTS
    assert next(iter(segments)) == 0
    assert list(segments)[1:] == list(range(max(segments) - 6, max(segments) + 1))
    assert kept[0] == list(range(len(kept[0])))
    newest = [*itertools.chain(*kept[1:])]
    assert newest == list(range(newest[0], 3000))


def test_many_lines_at_once_are_spread_over_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_streams(monkeypatch, 8_000)
    folder = opened(tmp_path)
    for number in range(400):
        folder.line("steps.jsonl", {"i": number})
    folder.flush()
    files = run.segments_of(tmp_path / "job" / "rank-00000", "steps.jsonl").values()
    assert max(file.stat().st_size for file in files) <= 1000
    assert [*itertools.chain(*map(numbers, files))] == list(range(400))


def test_taking_a_stream_back_takes_every_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_streams(monkeypatch, 800)
    folder = opened(tmp_path)
    for number in range(500):
        folder.line("steps.jsonl", {"i": number})
        folder.line("waits.jsonl.gz", {"i": number})
        folder.flush("steps.jsonl")
    folder.discard("steps.jsonl")
    folder.line("steps.jsonl", {"i": 7})
    folder.flush()
    rank = tmp_path / "job" / "rank-00000"
    assert sorted(file.name for file in rank.glob("steps*")) == ["steps.jsonl"]
    assert numbers(rank / "steps.jsonl") == [7]
    assert list(rank.glob("waits*"))


def test_a_segment_that_cannot_be_taken_away_stops_the_stream_not_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_streams(monkeypatch, 800)
    folder = opened(tmp_path)
    unlink = Path.unlink

    def refuse(file: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    for number in range(500):
        folder.line("steps.jsonl", {"i": number})
        with suppress(PermissionError):
            folder.flush()
    rank = tmp_path / "job" / "rank-00000"
    assert sum(file.stat().st_size for file in rank.glob("steps*")) <= 800
    monkeypatch.setattr(Path, "unlink", unlink)
    folder.flush()
    newest = max(run.segments_of(rank, "steps.jsonl").items())[1]
    assert numbers(newest)[-1] == 499


def test_a_signal_handler_may_record_in_the_middle_of_recording(tmp_path: Path) -> None:
    # Such as one that saves a checkpoint, which waits for the other ranks.
    import signal

    folder = opened(tmp_path)
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        folder.line("waits.jsonl.gz", {"i": handled})
        folder.flush("waits.jsonl.gz")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for number in range(1500):
            folder.line("waits.jsonl.gz", {"i": -number})
            folder.flush()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    folder.flush()
    found = numbers(tmp_path / "job" / "rank-00000" / "waits.jsonl.gz")
    assert handled > 10
    assert sorted(found) == sorted([*range(-1499, 1), *range(1, handled + 1)])


def test_an_interruption_in_the_middle_of_writing_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = opened(tmp_path)
    append = folders._append

    def interrupted(file: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folders, "_append", interrupted)
    folder.line("steps.jsonl", {"i": 0})
    with pytest.raises(KeyboardInterrupt):
        folder.flush()
    monkeypatch.setattr(folders, "_append", append)
    folder.line("steps.jsonl", {"i": 1})
    folder.flush()
    assert numbers(tmp_path / "job" / "rank-00000" / "steps.jsonl") == [0, 1]
