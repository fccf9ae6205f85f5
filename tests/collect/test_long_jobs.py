"""A job of days: neither the process nor the disk fills with what is recorded. `benchmarks/long_job.py` does a whole day."""

import gc
import gzip
import tracemalloc
from pathlib import Path

import pytest

import scaleprof
from scaleprof import run
from scaleprof.collect import recording
from tests.collect.training import info_of, only_rank, steps_of

STREAM_BYTES = 24_000
STEPS = 6000


@pytest.fixture
def small_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in run.STREAM_BYTES:
        monkeypatch.setitem(run.STREAM_BYTES, stream, STREAM_BYTES)


def live(steps: int) -> None:
    """Steps of an ever-changing number of samples, each with two waits."""
    session = recording._Process.current
    assert session is not None
    for number in range(steps):
        for place in range(2):
            session.on_wait(session._start_ns + place, 5_000 + number, 0, {"what": "Work.wait"})
        scaleprof.step(samples=number + 0.5)


@pytest.mark.usefixtures("small_streams")
def test_a_long_light_job_takes_bounded_memory_and_disk(tmp_path: Path) -> None:
    kept = []
    with scaleprof.profile(tmp_path, level="light", sample_hz=0):
        live(STEPS // 2)  # everything that fills up to a limit is full now
        tracemalloc.start()
        try:
            for _ in range(2):
                live(STEPS // 4)
                gc.collect()
                kept.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    assert kept[1] - kept[0] < 100_000, "no more than what waits for the next flush"
    rank = only_rank(tmp_path)
    for stream in (run.STEPS_FILE, run.WAITS_FILE):
        assert sum(file.stat().st_size for file in run.segments_of(rank, stream).values()) <= STREAM_BYTES
    assert info_of(tmp_path).local_batch is None
    assert [step["i"] for step in steps_of(tmp_path)][:3] == [0, 1, 2]
    (report,) = scaleprof.analyze([tmp_path]).runs
    said = "; ".join(report.caveats)
    assert f"to {STEPS - 1:,} were not kept" not in said, "the newest steps are there"
    assert "were not kept: steps.jsonl is limited to 0.024 MB" in said


def test_a_job_with_more_waits_than_are_held_between_two_flushes_loses_none(tmp_path: Path) -> None:
    with scaleprof.profile(tmp_path, level="light", sample_hz=0):
        session = recording._Process.current
        assert session is not None
        for number in range(60):
            for place in range(300):
                session.on_wait(session._start_ns + place, number, 0, {"what": "Work.wait"})
            scaleprof.step()
    text = b"".join(file.read_bytes() for file in run.segments_of(only_rank(tmp_path), run.WAITS_FILE).values())
    assert gzip.decompress(text).count(b"\n") == 60 * 300
