"""The streams beside the steps: transfers, tasks, waits on the device's clock, and what rank and run say of a mesh."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.analyses.account.account import account
from scaleprof.readers.finding.directory import run_of_directory
from scaleprof.readers.recorded import recorded
from scaleprof.readers.recorded.recorded import read_recorded
from scaleprof.readers.recorded.streams import DeviceStep
from scaleprof.run import RANK_FILE, ProcessGroup, read_rank_info, write_json
from scaleprof.trace import Trace
from tests.recording import MS, UNIX_NS, Recorded, write_run


def stream(folder: Path, name: str, *lines: dict[str, Any]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)


def rank_folder(tmp_path: Path, job: Recorded | None = None) -> Path:
    return write_run(tmp_path, job or Recorded()) / "rank-00000"


def read(folder: Path) -> Trace:
    return read_recorded(run_of_directory(folder.parent).ranks[0])


def test_transfers_stand_beside_collectives_in_order_of_issue(tmp_path: Path) -> None:
    folder = rank_folder(tmp_path, Recorded(blocked_ms=0))
    transfer = {"d": 100, "group": "1", "peer": 1, "tag": 7, "n": 16, "dtype": "float32", "i": 0}
    stream(
        folder,
        "p2p.jsonl.gz",
        {**transfer, "t": 30 * MS, "op": "recv", "seq": 4},
        {**transfer, "t": 20 * MS, "op": "send", "seq": 5},
        {**transfer, "t": 10 * MS, "op": "nonsense", "seq": 6},
        {"op": "send"},
    )
    collective = {
        "record_id": 0, "collective_seq_id": 9, "process_group": ["0", "default_pg"], "profiling_name": "gloo:all_reduce",
        "input_sizes": [[8]], "output_sizes": [[8]], "input_dtypes": ["Float"], "time_created_ns": UNIX_NS + 25 * MS,
    }  # fmt: skip
    stream(folder, "collectives.jsonl.gz", collective)
    comm = read(folder).comm
    assert comm.op == ("send", "all_reduce", "recv")
    assert comm.bytes.tolist() == [64, 32, 64]
    assert comm.peer.tolist() == [1, -1, 1]
    assert comm.seq.tolist() == [5, 9, 4]
    assert comm.issued_ns.tolist() == [UNIX_NS + 20 * MS, UNIX_NS + 25 * MS, UNIX_NS + 30 * MS]


def test_transfers_that_the_flight_recorder_has_too_count_once(tmp_path: Path) -> None:
    folder = rank_folder(tmp_path, Recorded(blocked_ms=0))
    entry = {
        "record_id": 0, "p2p_seq_id": 1, "is_p2p": True, "process_group": ["0", "default_pg"], "profiling_name": "gloo:send",
        "input_sizes": [[16]], "input_dtypes": ["Float"], "time_created_ns": UNIX_NS + 20 * MS,
    }  # fmt: skip
    stream(folder, "collectives.jsonl.gz", entry)
    assert read(folder).comm.peer.tolist() == [-1]
    stream(folder, "p2p.jsonl.gz", {"t": 20 * MS, "d": 1, "op": "send", "group": "0", "peer": 1, "seq": 0, "n": 16})
    assert read(folder).comm.peer.tolist() == [1]


def test_a_gather_that_says_one_part_of_its_output_counts_the_whole(tmp_path: Path) -> None:
    groups = (ProcessGroup("0", (0, 1, 2, 3)), ProcessGroup("2", (0, 1), "mesh_tp"))
    folder = rank_folder(tmp_path, Recorded(blocked_ms=0, rank_info={"process_groups": groups}))
    entry = {
        "collective_seq_id": 1,
        "profiling_name": "gloo:all_gather",
        "input_sizes": [[8]],
        "input_dtypes": ["Float"],
    }
    in_full = {**entry, "record_id": 0, "process_group": ["0", ""], "output_sizes": [[4, 8]]}
    in_part = {**entry, "record_id": 1, "process_group": ["2", ""], "output_sizes": [[1, 8]]}
    times = [{"time_created_ns": UNIX_NS + place * MS} for place in (20, 21)]
    stream(folder, "collectives.jsonl.gz", in_full | times[0], in_part | times[1])
    assert read(folder).comm.bytes.tolist() == [4 * 8 * 4, 2 * 8 * 4]


def test_what_the_device_says_of_blocked_time_wins(tmp_path: Path) -> None:
    folder = rank_folder(tmp_path)
    stream(folder, "device.jsonl", {"i": 1, "wait": 7 * MS, "n_wait": 1, "time": 90 * MS}, {"i": 3, "wait": "x"})
    assert read(folder).steps.blocked_ns[:4].tolist() == [15 * MS, 7 * MS, 15 * MS, 15 * MS]


def test_of_a_step_that_the_device_says_nothing_of_no_time_is_known(tmp_path: Path) -> None:
    """The host may have been ahead of it: its own time of that step counts in no statistic."""
    steps = read(rank_folder(tmp_path)).steps
    steps = replace(steps, profiled=np.arange(len(steps)) < 2)
    first = int(steps.index[2])
    found = recorded._on_device_clock(steps, {first: DeviceStep(5 * MS, 90 * MS)})
    assert found.device_ns[found.index == first].tolist() == [90 * MS]
    others = ~found.profiled & (found.index != first)
    assert others.any()
    assert found.perturbed[others].all()
    assert (found.perturbed == steps.perturbed)[~others].all()


def test_a_task_without_an_end_has_none(tmp_path: Path) -> None:
    folder = rank_folder(tmp_path)
    first = {"n": 0, "name": "first", "t0": 5 * MS}
    stream(
        folder,
        "tasks.jsonl",
        first,
        {**first, "t1": 50 * MS, "steps": 2, "error": "ValueError"},
        {"n": 1, "name": "second", "t0": 60 * MS, "in": 0},
        {"n": "x", "t0": 1},
    )
    tasks = read(folder).tasks
    assert (tasks.name, tasks.error) == (("first", "second"), ("ValueError", ""))
    assert tasks.start_ns.tolist() == [UNIX_NS + 5 * MS, UNIX_NS + 60 * MS]
    assert (tasks.end_ns.tolist(), tasks.steps.tolist()) == ([UNIX_NS + 50 * MS, -1], [2, -1])
    assert tasks.parent.tolist() == [-1, 0]


def test_waits_name_the_collective_that_ended_them(tmp_path: Path) -> None:
    trace = read(rank_folder(tmp_path))
    assert set(trace.blocked.what) == {"backward_tail"}
    assert [trace.comm.op[row] for row in trace.blocked.comm.tolist()] == ["all_reduce"] * 12


def test_gloos_spans_of_transfers_count_while_somebody_waits(tmp_path: Path) -> None:
    folder = rank_folder(tmp_path)
    [path] = folder.glob("trace-*")
    with gzip.open(path, "rt") as file:
        trace = json.load(file)
    for event in trace["traceEvents"]:  # a receive from the start of the step, on the thread that trains
        if event.get("name") == "gloo:all_reduce":
            event |= {"name": "gloo:recv", "tid": 1, "ts": event["ts"] - 60_000, "dur": event["dur"] + 60_000}
    with gzip.open(path, "wt") as file:
        json.dump(trace, file)
    table = account(read(folder))
    assert np.asarray(table["comm_ns"]).tolist() == [15 * MS] * 12
    assert np.asarray(table["exposed_comm_ns"]).tolist() == [15 * MS] * 12


def pipeline(tmp_path: Path, stages: list[list[int]], parameters: list[int]) -> Path:
    mesh = {"mesh": {"pp": 2}, "replicas": 1, "strategy": "pp-1f1b"}
    run = write_run(tmp_path, Recorded(ranks=2, rank_info=mesh))
    for rank in range(2):
        file = run / f"rank-0000{rank}" / RANK_FILE
        details = {"pipeline": {"stages": stages[rank], "num_stages": 4}}
        info = read_rank_info(file)
        batch = info.local_batch if rank == 0 else None  # only the first stage loads data
        changed = {**vars(info), "details": details, "parameters": parameters[rank], "local_batch": batch}
        write_json(type(info)(**changed), file)
    return run


def test_a_pipelines_parameters_are_those_of_all_its_stages(tmp_path: Path) -> None:
    info = run_of_directory(pipeline(tmp_path, [[0, 2], [1, 3]], [10, 15])).info
    assert (info.parameters, info.mesh, info.replicas) == (25, {"pp": 2}, 1)
    assert (info.local_batch, info.global_batch) == (8, 8)


def test_parameters_of_a_pipeline_with_a_stage_missing_are_unknown(tmp_path: Path) -> None:
    assert run_of_directory(pipeline(tmp_path, [[0], [1]], [10, 15])).info.parameters is None


@pytest.mark.parametrize(("replicas", "expected"), [(1, 80.0), (2, 160.0), (None, 160.0)])
def test_ranks_that_share_their_samples_count_once(tmp_path: Path, replicas: int | None, expected: float) -> None:
    from scaleprof import analyze

    run = write_run(tmp_path, Recorded(ranks=2, steps=12, step_ms=100, rank_info={"replicas": replicas}))
    metric = analyze([run]).metric("step.throughput")
    assert metric.value == pytest.approx(expected)  # 8 samples in 100 ms, of one or of two replicas


def test_groups_of_one_dimension_stand_in_one_row(tmp_path: Path) -> None:
    from scaleprof import analyze

    run = write_run(tmp_path, Recorded(ranks=2, blocked_ms=0))
    for rank in range(2):
        folder = run / f"rank-0000{rank}"
        info = read_rank_info(folder / RANK_FILE)
        mine = ProcessGroup(str(rank + 1), (rank, rank + 2), "mesh_dp")
        write_json(type(info)(**{**vars(info), "process_groups": (mine,)}), folder / RANK_FILE)
        entry = {"record_id": 0, "profiling_name": "gloo:all_reduce", "input_sizes": [[8]], "input_dtypes": ["Float"]}
        when = {"time_created_ns": UNIX_NS + 950 * MS, "process_group": [str(rank + 1), "mesh_dp"]}
        stream(folder, "collectives.jsonl.gz", {**entry, **when})
    table = analyze([run]).tables["collectives"]
    assert table["group"].tolist() == ["dp (2 ranks)"]
