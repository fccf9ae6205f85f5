"""Every strategy recorded from a real job over gloo, against what was worked out on paper (`zoo/paper.py`)."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.collect.zoo.paper import paper
from tests.collect.zoo.table import Recorded, recordings

ROOT = Path(__file__).parent.parent.parent
WANTED = (
    "single:1", "tasks:2", "ddp:1", "ddp:2", "ddp_fp16:2", "ddp_bf16:2", "ddp_powersgd:2", "ddp_static:2", "ddp_accumulate:2", "ddp_syncbn:2",
    "replicate_composable:2", "zero1:2", "fsdp1:2", "fsdp2:2", "fsdp2_mixed:2", "hsdp:4", "tp:2", "tp_sp:2", "fsdp2_tp:4", "ddp_tp:4",
    "pp_gpipe:2", "pp_1f1b:2", "pp_interleaved:2", "pp_zero_bubble:2", "ddp_pp:4",
)  # fmt: skip
JOBS = [name.replace(":", "-") for name in WANTED]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recorded]:
    folder = tmp_path_factory.mktemp("zoo")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SCALEPROF")}
    command = [sys.executable, "-W", "ignore", "-m", "tests.collect.zoo", str(folder), "timeline", *WANTED]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return recordings(folder)


@pytest.mark.parametrize("name", JOBS)
def test_the_strategy_is_found_without_being_told(zoo: dict[str, Recorded], name: str) -> None:
    one = zoo[name]
    info, expected = one.run.info, paper(one.job, one.ranks)
    assert (info.strategy, info.mesh or {}, info.replicas) == (expected.strategy, expected.mesh, expected.replicas)
    rank = one.trace.info
    assert rank.coordinates == dict.fromkeys(expected.mesh, 0)
    inner = [list(group.ranks) for group in rank.process_groups if len(group.ranks) < one.ranks]
    assert inner == expected.groups
    assert not rank.warnings
    assert not one.trace.caveats


@pytest.mark.parametrize("name", JOBS)
def test_the_bytes_of_a_step_are_those_on_paper(zoo: dict[str, Recorded], name: str) -> None:
    one = zoo[name]
    assert one.sent == paper(one.job, one.ranks).sent


@pytest.mark.parametrize("name", JOBS)
def test_what_ran_is_joined_with_what_was_issued(zoo: dict[str, Recorded], name: str) -> None:
    spans, joined = zoo[name].joined
    assert joined == spans
    profiled = int(zoo[name].trace.steps.profiled.sum())
    assert spans == profiled * sum(count for count, _ in paper(zoo[name].job, zoo[name].ranks).sent.values())


WAITING = [
    name for name in JOBS if paper(name.split("-")[0], 2 if name[-1] == "1" else int(name[-1])).sent and name != "ddp-1"
]
HOOKED = ("ddp_fp16-2", "ddp_bf16-2", "ddp_powersgd-2")
"""A hook may decode on the training thread while that waits: this has no operation to blame, its span says what it is."""


@pytest.mark.parametrize("name", [name for name in WAITING if name not in HOOKED])
def test_most_blocked_time_has_an_operation(zoo: dict[str, Recorded], name: str) -> None:
    one = zoo[name]
    waits, steps = one.trace.blocked, one.trace.steps
    inside = steps.profiled[np.maximum(np.searchsorted(steps.host_start_ns, waits.start_ns, side="right") - 1, 0)]
    known = inside & (waits.comm >= 0)
    # What was ready before it was waited for has no operation to blame; and one such wait may be long, where the thread had no core.
    unknown_ns = np.sort(waits.dur_ns[inside & ~known])[:-1].sum()
    known_ns = waits.dur_ns[known].sum()
    assert known_ns > unknown_ns or known_ns + unknown_ns < 20_000_000
    assert all(one.trace.comm.group[row] for row in one.trace.blocked.comm.tolist() if row >= 0)


def test_all_ranks_of_a_mesh_know_their_place(zoo: dict[str, Recorded]) -> None:
    from scaleprof.readers.recorded.recorded import read_recorded

    places = {}
    for rank, files in zoo["fsdp2_tp-4"].run.ranks.items():
        places[rank] = read_recorded(files).info.coordinates
    assert places == {
        0: {"dp": 0, "tp": 0}, 1: {"dp": 0, "tp": 1}, 2: {"dp": 1, "tp": 0}, 3: {"dp": 1, "tp": 1},
    }  # fmt: skip


def test_batches_and_parameters_are_those_of_the_whole_job(zoo: dict[str, Recorded]) -> None:
    from tests.collect.zoo.jobs import BATCH
    from tests.collect.zoo.models import PARAMETERS

    whole = {
        name: (one.run.info.parameters, one.run.info.global_batch) for name, one in zoo.items() if "syncbn" not in name
    }
    replicas = {name: paper(zoo[name].job, zoo[name].ranks).replicas or zoo[name].ranks for name in whole}
    assert whole == {name: (PARAMETERS, BATCH * replicas[name]) for name in whole}
    assert zoo["fsdp2-2"].trace.info.local_parameters == PARAMETERS // 2
    assert zoo["fsdp1-2"].trace.info.local_parameters == PARAMETERS // 2


def test_details_say_how_a_strategy_was_set_up(zoo: dict[str, Recorded]) -> None:
    details = {name: one.trace.info.details for name, one in zoo.items()}
    assert details["ddp_fp16-2"]["ddp"]["comm_hooks"] == ["fp16_compress_hook"]
    assert details["ddp_static-2"]["ddp"]["static_graph"] is True
    assert details["ddp_accumulate-2"]["micro_batches"] == 4
    assert details["replicate_composable-2"]["ddp"]["composable"] is True
    assert details["fsdp1-2"]["fsdp"]["wrapped"] == details["fsdp2-2"]["fsdp"]["wrapped"] == {"Net": 1, "Block": 4}
    assert details["fsdp2_mixed-2"]["fsdp"]["param_dtype"] == "bfloat16"
    assert zoo["fsdp2_mixed-2"].trace.info.precision == "float32+mixed bfloat16"
    assert details["pp_1f1b-2"]["pipeline"] == {
        "schedule": "Schedule1F1B", "stages": [0], "num_stages": 2, "micro_batches": 4,
    }  # fmt: skip
    assert details["pp_interleaved-2"]["pipeline"]["stages"] == [0, 2]
    assert details["ddp_syncbn-2"]["sync_batch_norm"]["modules"] == 2


def test_what_hooks_and_norms_compute_stands_in_spans_of_its_name(zoo: dict[str, Recorded]) -> None:
    def count(name: str, text: str) -> int:
        trace = zoo[name].trace
        numbers = [number for number, known in enumerate(trace.names.text) if known == text]
        return sum(int((trace.events.name == number).sum()) for number in numbers)

    profiled = int(zoo["ddp_fp16-2"].trace.steps.profiled.sum())
    assert count("ddp_fp16-2", "scaleprof::encode fp16_compress_hook") == profiled
    assert count("ddp_fp16-2", "scaleprof::decode fp16_compress_hook") == profiled  # on gloo's threads, some of them
    assert count("ddp_bf16-2", "scaleprof::decode our_bf16_hook") == profiled
    assert (
        count("ddp_powersgd-2", "scaleprof::decode powerSGD_hook") == 3 * profiled
    )  # a callback for each of its all-reduces
    assert count("ddp_syncbn-2", "scaleprof::sync_batch_norm forward") == 2 * profiled
    assert count("ddp_syncbn-2", "scaleprof::sync_batch_norm backward") == 2 * profiled


def test_tasks_are_kept_one_by_one(zoo: dict[str, Recorded]) -> None:
    tasks, steps = zoo["tasks-2"].trace.tasks, zoo["tasks-2"].trace.steps
    assert tasks.name == ("trial 0", "trial 1")
    assert tasks.steps.tolist() == [5, 5]
    assert (tasks.error, tasks.parent.tolist()) == (("", ""), [-1, -1])
    assert tasks.end_ns[0] <= tasks.start_ns[1]
    assert tasks.start_ns[0] <= steps.start_ns[0] + 1_000_000_000
    assert steps.end_ns[4] <= tasks.end_ns[0] and steps.end_ns[9] <= tasks.end_ns[1]


def test_a_pipelines_transfers_name_their_peer_and_number(zoo: dict[str, Recorded]) -> None:
    comm = zoo["pp_gpipe-2"].trace.comm
    sends = [row for row, op in enumerate(comm.op) if op == "send" and comm.row[row] >= 0]
    assert {int(comm.peer[row]) for row in sends} == {1}
    numbers = [int(comm.seq[row]) for row in sends]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_time_in_a_pipeline_is_not_the_length_of_gloos_spans(zoo: dict[str, Recorded]) -> None:
    from scaleprof.analyses.account.account import account

    table = account(zoo["pp_gpipe-2"].trace)
    assert (table["comm_ns"] <= table["window_ns"]).all()
    assert (
        table["comm_ns"] <= table["exposed_comm_ns"]
    ).all()  # what nobody waited for cannot be told, and is not claimed
