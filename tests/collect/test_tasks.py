"""Tasks that the training names."""

import subprocess
import sys
from pathlib import Path

import pytest

import scaleprof
from scaleprof.readers.finding.directory import run_of_directory
from scaleprof.readers.recorded.recorded import read_recorded
from tests.collect.training import info_of, lines, loop, only_rank, spans


def tasks_in(folder: Path) -> scaleprof.trace.Tasks:
    [run] = folder.iterdir()
    return read_recorded(run_of_directory(run).ranks[0]).tasks


def test_tasks_lie_one_after_the_other_and_inside_one_another(tmp_path: Path) -> None:
    with scaleprof.profile(tmp_path, sample_hz=0) as prof:
        with prof.task("search"):
            with prof.task("trial-1"):
                loop(3)
            with prof.task("trial-2"):
                loop(2)
        loop(1)
    tasks = tasks_in(tmp_path)
    assert tasks.name == ("search", "trial-1", "trial-2")
    assert tasks.parent.tolist() == [-1, 0, 0]
    assert tasks.steps.tolist() == [5, 3, 2]
    assert (
        tasks.start_ns[0] < tasks.start_ns[1] < tasks.end_ns[1] < tasks.start_ns[2] < tasks.end_ns[2] < tasks.end_ns[0]
    )
    assert info_of(tmp_path).strategy == "tasks"


def test_a_task_is_a_span_in_the_trace(tmp_path: Path) -> None:
    with scaleprof.profile(tmp_path, sample_hz=0) as prof:
        loop(6)
        with prof.task("late"):
            loop(1)
        loop(1)
    assert [event["name"] for event in spans(only_rank(tmp_path)) if "task" in event["name"]] == [
        "scaleprof::task late"
    ]


def test_a_task_that_fails_says_with_what_and_the_exception_goes_on(tmp_path: Path) -> None:
    with scaleprof.profile(tmp_path, sample_hz=0) as prof:
        with pytest.raises(ValueError, match="boom"), prof.task("bad"):
            loop(3, fail=1)
        with prof.task("good"):
            loop(2)
    assert tasks_in(tmp_path).error == ("ValueError", "")
    assert info_of(tmp_path).exception is None


def test_a_killed_job_leaves_the_task_it_was_in(tmp_path: Path) -> None:
    script = (
        "import os, signal, scaleprof\nfrom tests.collect.training import loop\n"
        f"with scaleprof.profile({str(tmp_path)!r}, sample_hz=0) as prof:\n"
        "    with prof.task('first'):\n        loop(2)\n"
        "    with prof.task('second'):\n        loop(2)\n        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parent.parent.parent
    assert subprocess.run([sys.executable, "-c", script], cwd=root, timeout=60, check=False).returncode == -9
    tasks = tasks_in(tmp_path)
    assert tasks.name == ("first", "second")
    assert (tasks.end_ns[0] > 0, tasks.end_ns[1]) == (True, -1)


def test_outside_a_recording_a_task_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEPROF", "0")
    with scaleprof.profile(tmp_path) as prof, prof.task("none"):
        assert loop(1) == "done"
    assert not list(tmp_path.iterdir())


def test_names_of_tasks_are_redacted_like_everything_else(tmp_path: Path) -> None:
    with scaleprof.profile(tmp_path, sample_hz=0, redact=True) as prof, prof.task("/home/ada/data/cats"):
        loop(1)
    assert [line["name"] for line in lines(only_rank(tmp_path) / "tasks.jsonl")] == ["<path>", "<path>"]
