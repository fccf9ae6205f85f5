"""What two real ranks over gloo record, held against torch's own timers and against bytes counted by hand."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from scaleprof.run import read_rank_info, read_run_info
from tests.collect import jobs
from tests.collect.training import lines, spans

ROOT = Path(__file__).parent.parent.parent


def run_job(name: str, folder: Path) -> list[Path]:
    """The two rank folders that a job recorded."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SCALEPROF")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.collect.jobs", name, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(folder.glob("*/rank-*"))


@pytest.fixture(scope="module")
def data_parallel(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return run_job("data_parallel", tmp_path_factory.mktemp("ddp"))


def test_each_rank_has_its_folder_in_one_run_and_knows_its_place(data_parallel: list[Path]) -> None:
    assert [rank.name for rank in data_parallel] == ["rank-00000", "rank-00001"]
    assert len({rank.parent for rank in data_parallel}) == 1
    run = read_run_info(data_parallel[0].parent / "run.json")
    assert (run.world_size, run.run_id) == (2, "test-run")
    for number, folder in enumerate(data_parallel):
        info = read_rank_info(folder / "rank.json")
        assert (info.rank, info.world_size, info.strategy, info.backend, info.finished) == (
            number,
            2,
            "ddp",
            "gloo",
            True,
        )
        assert info.process_groups[0].ranks == (0, 1)
        assert info.details["ddp"]["bucket_cap_mb"] == 25
        assert info.model == "Linear"
        assert not info.warnings


def test_the_flight_recorder_knows_the_gradient_bytes_of_every_step(data_parallel: list[Path]) -> None:
    for folder in data_parallel:
        entries = lines(folder / "collectives.jsonl.gz")
        assert len({entry["record_id"] for entry in entries}) == len(entries)
        sizes = [4 * entry["input_sizes"][0][0] for entry in entries if entry["profiling_name"] == "gloo:all_reduce"]
        # DDP sends its first bucket (1 MB) and then the rest; the sum of a step is the size of all gradients.
        assert sum(sizes) == jobs.STEPS * jobs.GRADIENT_BYTES
        sequence = [entry["collective_seq_id"] for entry in entries]
        assert sequence == sorted(sequence)


def test_blocked_time_agrees_with_the_timer_inside_data_parallel(data_parallel: list[Path]) -> None:
    folder = data_parallel[0]
    timer = json.loads((folder.parent.parent / "timer.0").read_text())
    steps = lines(folder / "steps.jsonl")
    measured, theirs = [], []
    for number in range(2, jobs.STEPS - 1):
        data = timer[number + 1]  # read one iteration later
        end_of_compute = max(int(data["backward_compute_time_end"]), 0)
        theirs.append((int(data["backward_comm_time_end"]) - end_of_compute) / 1e6)
        measured.append(steps[number]["wait"] / 1e6)
    assert statistics.median(measured) > 1  # rank 1 is late by a matrix product of 1500
    assert statistics.median(measured) == pytest.approx(statistics.median(theirs), rel=0.25, abs=1.0)


def test_waits_stand_in_the_trace_and_sum_to_the_step_lines(data_parallel: list[Path]) -> None:
    for folder in data_parallel:
        steps, waits = lines(folder / "steps.jsonl"), lines(folder / "waits.jsonl.gz")
        for step in steps:
            mine = [wait for wait in waits if wait["i"] == step["i"]]
            assert sum(wait["d"] for wait in mine) == step["wait"]
            assert all(step["t0"] <= wait["t"] and wait["t"] + wait["d"] <= step["t1"] for wait in mine)
        profiled = [step for step in steps if step["profiled"]]
        events = spans(folder)
        assert len([event for event in events if event["name"] == "scaleprof::wait"]) == sum(
            step["n_wait"] for step in profiled
        )
        assert len([event for event in events if event["name"] == "gloo:all_reduce"]) >= len(profiled)


def test_ranks_without_an_environment_do_not_share_a_folder(tmp_path: Path) -> None:
    ranks = run_job("spawned", tmp_path)
    assert [rank.name for rank in ranks] == ["rank-00000", "rank-00001"]
    assert len({rank.parent for rank in ranks}) == 1
    assert all(len(lines(rank / "steps.jsonl")) == jobs.STEPS for rank in ranks)
    assert read_rank_info(ranks[1] / "rank.json").process_groups[0].ranks == (0, 1)


def test_ranks_that_do_not_communicate_are_tasks(tmp_path: Path) -> None:
    for number, rank in enumerate(run_job("tasks", tmp_path)):
        info = read_rank_info(rank / "rank.json")
        assert (info.rank, info.strategy) == (number, "tasks")


def test_an_optimizer_around_an_optimizer_steps_once(tmp_path: Path) -> None:
    assert [len(lines(rank / "steps.jsonl")) for rank in run_job("sharded_optimizer", tmp_path)] == [6, 6]


def test_a_killed_job_leaves_every_step_it_had_finished(tmp_path: Path) -> None:
    script = (
        "import os, signal, scaleprof\n"
        "from tests.collect.training import loop\n"
        f"with scaleprof.profile({str(tmp_path)!r}, sample_hz=0):\n"
        "    loop(9)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -9
    [rank] = tmp_path.glob("*/rank-*")
    assert len(lines(rank / "steps.jsonl")) == 9
    info = read_rank_info(rank / "rank.json")
    assert not info.finished
    assert info.model == "Sequential"
