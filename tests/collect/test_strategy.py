"""Less usual uses of torch, as real jobs over gloo (`odd_jobs.py`): what is recorded of them, and that they train what they train without us."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scaleprof.readers.finding.directory import run_of_directory
from scaleprof.readers.recorded.recorded import read_recorded
from scaleprof.run import P2P_FILE, WAITS_FILE, RankInfo, RunInfo, read_rank_info
from scaleprof.trace import Trace
from tests.collect.odd_jobs import COMPARED, JOBS, PROFILED, STEPS, result
from tests.collect.training import lines
from tests.collect.zoo.models import FLOAT, PARAMETERS

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every job was recorded, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("odd")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SCALEPROF")}
    command = [sys.executable, "-W", "ignore", "-m", "tests.collect.odd_jobs", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def rank_folder(odd: Path, name: str) -> Path:
    return next((odd / name).glob("*/rank-00000"))


def rank_of(odd: Path, name: str) -> RankInfo:
    return read_rank_info(rank_folder(odd, name) / "rank.json")


def read(odd: Path, name: str) -> tuple[RunInfo, Trace]:
    run = run_of_directory(rank_folder(odd, name).parent)
    return run.info, read_recorded(run.ranks[0])


def sent_in_a_step(odd: Path, name: str, step: int = STEPS - 1) -> dict[str, tuple[int, int]]:
    """How often and how many bytes, by operation."""
    _, trace = read(odd, name)
    comm, found = trace.comm, dict[str, tuple[int, int]]()
    for row, issued_ns in enumerate(comm.issued_ns.tolist()):
        if trace.steps.host_start_ns[step] <= issued_ns < trace.steps.host_end_ns[step]:
            count, size = found.get(comm.op[row], (0, 0))
            found[comm.op[row]] = (count + 1, size + int(comm.bytes[row]))
    return found


@pytest.mark.parametrize("name", COMPARED)
def test_a_recorded_job_trains_what_it_trains_alone(odd: Path, name: str) -> None:
    """Bit for bit; and torch.compile does no more work for it, and a profiler of its own sees no less."""
    for rank in range(JOBS[name][0] if name in JOBS else 1):
        alone, recorded = (json.loads(result(odd / name, rank, is_recorded=one).read_text()) for one in (False, True))
        assert recorded == alone
        assert name not in PROFILED or name == "annotated" or recorded[1] > 0


STRATEGIES: dict[str, tuple[str, dict[str, int], int]] = {
    "hook_partial": ("ddp+_sum", {"dp": 2}, 2),
    "hook_lambda": ("ddp+hook", {"dp": 2}, 2),
    "hook_wrapped": ("ddp+powersgd+fp16", {"dp": 2}, 2),
    "hook_built_in": ("ddp+fp16", {"dp": 2}, 2),
    "fsdp1_no_shard": ("ddp", {"dp": 2}, 2),
    "fsdp1_hybrid": ("hsdp1", {"outer": 2, "inner": 2}, 4),
    "fsdp1_named": ("fsdp1", {"workers": 2}, 2),
    "fsdp2_without_a_mesh": ("fsdp2", {"shard": 2}, 2),
    "fsdp2_accumulates": ("fsdp2+accumulate4", {"shard": 2}, 2),
    "distributed_2d": ("tp", {"tp0": 2, "tp1": 2}, 1),
    "after_something_else": ("ddp", {"dp": 2}, 2),
    "evaluated_between_steps": ("ddp", {"dp": 2}, 2),
    "every_transfer": ("ddp", {"dp": 2}, 2),
    "compiled": ("ddp", {"dp": 2}, 2),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_strategy_is_found_and_nothing_is_complained_about(odd: Path, name: str) -> None:
    info = rank_of(odd, name)
    assert (info.strategy, info.mesh, info.replicas) == STRATEGIES[name]
    assert not info.warnings
    assert info.finished


DOUBTS = {
    "distributed_whole": ("dtensor-dp", "no parameter is split along tp, which was taken for data parallelism"),
    "ddp_in_halves": ("ddp", "dp 2 makes 2 of 4 ranks"),
    "by_hand": (None, "they communicate, but not by a strategy of torch's: name it with strategy="),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_what_is_not_known_about_the_strategy_is_said(odd: Path, name: str) -> None:
    info, (strategy, doubt) = rank_of(odd, name), DOUBTS[name]
    assert info.strategy == strategy
    assert info.warnings == (f"how the ranks share the work is not fully known ({doubt})",)
    assert info.model == ("Linear" if name == "distributed_whole" else "Net")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("in_another_thread", "optimizers stepped in another thread: record the function that runs there"),
        ("without_an_optimizer", "no optimizer of torch's stepped: say where a step ends with scaleprof.step()"),
    ],
)
def test_a_recording_without_steps_says_why(odd: Path, name: str, why: str) -> None:
    assert rank_of(odd, name).warnings == (f"no step was recorded ({why})",)


def test_bytes_are_those_that_must_be_sent(odd: Path) -> None:
    whole, blocks = PARAMETERS * FLOAT, 4
    assert sent_in_a_step(odd, "fsdp2_without_a_mesh")["reduce_scatter"] == (blocks + 1, whole)
    assert sent_in_a_step(odd, "fsdp1_named") == {
        "all_gather": (blocks + 1, whole), "reduce_scatter": (blocks + 1, whole),
    }  # fmt: skip
    assert sent_in_a_step(odd, "fsdp1_hybrid")["all_reduce"] == (blocks + 1, whole // 2)
    assert sent_in_a_step(odd, "fsdp1_no_shard") == {"all_reduce": (blocks + 1, whole)}
    assert sent_in_a_step(odd, "hook_built_in") == {"all_reduce": (1, whole // 2)}
    assert sent_in_a_step(odd, "hook_lambda") == {"all_reduce": (1, whole)}


def test_batches_of_an_evaluation_without_gradients_are_not_the_trainings(odd: Path) -> None:
    run, trace = read(odd, "evaluated_between_steps")
    assert (run.local_batch, run.global_batch) == (8, 16)
    assert {int(samples) for samples in trace.steps.samples} == {8}


def test_every_way_to_send_and_to_receive_is_seen(odd: Path) -> None:
    step = [line for line in lines(rank_folder(odd, "every_transfer") / P2P_FILE) if line["i"] == STEPS - 1]
    assert [(line["op"], line["peer"], line["tag"], line["n"]) for line in step] == [
        ("send", 1, 3, 16), ("send", 1, 0, 16), ("send", 1, 9, 16), ("send", 1, 10, 16), ("send", 1, 0, 16), ("recv", 1, 0, 16),
    ]  # fmt: skip
    other = lines(rank_folder(odd, "every_transfer").with_name("rank-00001") / P2P_FILE)
    assert [(line["op"], line["peer"], line["tag"]) for line in other if line["i"] == STEPS - 1] == [
        ("recv", 0, 3), ("recv", 0, 0), ("recv", 0, 9), ("recv", -1, 10), ("send", 0, 0), ("recv", 0, 0),
    ]  # fmt: skip


def test_a_monitored_barrier_is_waited_for(odd: Path) -> None:
    waits = lines(rank_folder(odd, "every_transfer") / WAITS_FILE)
    barriers = [wait for wait in waits if wait["what"] == "monitored_barrier"]
    assert len(barriers) == STEPS
    assert {wait["op"] for wait in barriers} == {"barrier"}
    assert max(wait["d"] for wait in barriers) > 5_000_000  # rank 1 sleeps for 10 ms


def test_no_collective_is_lost_when_a_group_is_destroyed(odd: Path) -> None:
    assert not rank_of(odd, "group_destroyed").warnings
    for step in (5, 15):
        assert sent_in_a_step(odd, "group_destroyed", step)["all_reduce"][0] == 300 + 1


@pytest.mark.parametrize("name", PROFILED)
def test_windows_make_room_for_every_profiler_of_the_trainings(odd: Path, name: str) -> None:
    info, rank = rank_of(odd, name), rank_folder(odd, name)
    assert any("a profiler of its own" in warning for warning in info.warnings)
    windows: list[Any] = sorted(rank.glob("trace-*"))
    assert bool(windows) == (name != "profiled_around_in_all_threads")  # it ended after the recording
