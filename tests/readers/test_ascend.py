"""Traces of Ascend's profiler, with the answer on paper, and against the vendor's own breakdown."""

import csv
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.analyses.account.account import account
from scaleprof.errors import BrokenFile, InputError
from scaleprof.readers import find_runs, read_rank
from scaleprof.readers.ascend.ascend import facts_of
from scaleprof.run import RankFiles
from scaleprof.trace import Kind, Trace
from tests.readers.making import Json, write_bytes, write_trace

HOST = 5000
DEVICE = 1
HARDWARE, HCCL, OVERLAP, CANN = (HOST << 10 | place << 5 | DEVICE for place in (13, 15, 23, 7))
MAIN, QUEUE = 5000, 5007


def named(pid: int, name: str, **threads: str) -> list[Json]:
    """What names a process and its threads."""
    return [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}},
        *(
            {"ph": "M", "name": "thread_name", "pid": pid, "tid": int(tid[1:]), "args": {"name": text}}
            for tid, text in threads.items()
        ),
    ]


PROCESSES = [
    *named(HOST, "Python"),
    *named(HARDWARE, "Ascend Hardware", _2="Stream 2", _4="Stream 4"),
    *named(HCCL, "HCCL", _0="Group 0 Communication", _1="Plane 0"),
    *named(OVERLAP, "Overlap Analysis", _0="Computing"),
    *named(CANN, "CANN"),
]


def piece(name: str, pid: int, tid: int, ts: float, dur: float, category: str = "", **args: Any) -> Json:
    """A slice; the times of tasks are strings in real files, and so they are here."""
    event: Json = {"ph": "X", "name": name, "pid": pid, "tid": tid, "ts": f"{ts:.3f}", "dur": dur}
    return {**event, **({"cat": category} if category else {}), **({"args": args} if args else {})}


def task(name: str, ts: float, dur: float, kind: str, *, stream: int = 2) -> Json:
    return piece(name, HARDWARE, stream, ts, dur, **{"Task Type": kind})


def arrow(
    number: int, launched: float, started: float, *, pid: int = HARDWARE, tid: int = 2, thread: int = QUEUE
) -> list[Json]:
    """From a launch to its task."""
    common = {"cat": "HostToDevice", "name": f"HostToDevice{number}", "id": str(number)}
    return [
        {**common, "ph": "s", "pid": CANN, "tid": thread, "ts": f"{launched:.3f}"},
        {**common, "ph": "f", "pid": pid, "tid": tid, "ts": f"{started:.3f}"},
    ]  # fmt: skip


def queued(number: int, ts: float, later: float) -> list[Json]:
    """An entry of the task queue, 2 us long, and its execution, 5 us long."""
    return [
        piece("Enqueue", HOST, MAIN, ts, 2, "enqueue", correlation_id=number),
        piece("Dequeue@aclnnMul", HOST, QUEUE, later, 5, "dequeue", correlation_id=number),
    ]


EVENTS = [
    piece("ProfilerStep#7", HOST, MAIN, 0, 1000, "cpu_op"),
    piece("aten::mul", HOST, MAIN, 8, 10, "cpu_op"),
    piece("HcclAllreduce", HOST, MAIN, 30, 5, "cpu_op"),
    *queued(1, 10, 20), *queued(2, 31, 40),
    task("MEMCPY_ASYNC", 50, 10, "PCIE_DMA_SQE"),
    task("aclnnMul_MulAiCore_Mul", 100, 100, "AI_CORE"),
    task("Conv2D", 150, 100, "MIX_AIV", stream=3),
    task("EVENT_WAIT", 60, 40, "EVENT_WAIT_SQE"),
    task("Notify Wait", 220, 50, "Notify Wait", stream=4),
    task("SDMA", 220, 80, "SDMA", stream=4),
    piece("hcom_allReduce__868_0_1", HCCL, 0, 220, 80, count=256, data_type="FP32"),
    piece("Notify_Wait", HCCL, 1, 220, 80),
    piece("Computing", OVERLAP, 0, 100, 150), piece("Communication", OVERLAP, 1, 220, 80),
    piece("Communication(Not Overlapped)", OVERLAP, 2, 250, 50), piece("Free", OVERLAP, 3, 300, 700),
    {"ph": "C", "name": "HBM", "pid": 3, "tid": 0, "ts": "1.5", "args": {"KB": 3}},
    *arrow(11, 21, 50), *arrow(12, 22, 100), *arrow(13, 41, 220, pid=HCCL, tid=0),
]  # fmt: skip


def read(path: Path, events: Sequence[Json]) -> Trace:
    write_bytes(path, json.dumps([*events, *PROCESSES]).encode())
    return read_rank(RankFiles(0, "ascend", (path,)))


def kinds(trace: Trace) -> dict[str, str]:
    """Names and kinds of what runs on the device."""
    rows = np.flatnonzero(trace.on_device)
    return {trace.names.text[name]: Kind(trace.names.kind[name]).name for name in trace.events.name[rows]}


def test_tasks_are_what_their_type_says_and_nothing_derived_counts(tmp_path: Path) -> None:
    trace = read(tmp_path / "rank0" / "trace_view.json", EVENTS)
    assert kinds(trace) == {
        "MEMCPY_ASYNC": "COPY", "aclnnMul_MulAiCore_Mul": "COMPUTE", "Conv2D": "COMPUTE", "hcom_allReduce__868_0_1": "COLLECTIVE",
        "EVENT_WAIT": "OTHER", "Notify Wait": "OTHER", "SDMA": "OTHER", "Notify_Wait": "OTHER",
    }  # fmt: skip
    assert not {"Computing", "Communication", "Free"} & set(trace.names.text)
    assert trace.names.by_rule.all()
    assert {int(device) for device in trace.lanes.device} == {-1, DEVICE}
    assert sorted(trace.lanes.label[lane] for lane in np.unique(trace.events.lane[trace.on_device])) == [
        "", "Group 0 Communication", "Plane 0", "Stream 2", "Stream 4",
    ]  # fmt: skip
    comm = trace.comm
    assert (comm.op, comm.bytes.tolist(), comm.dtype, comm.group) == (("all_reduce",), [1024], ("float32",), ("868",))
    table = account(trace)
    leaves = {name: int(values[0]) for name, values in table.columns.items() if name.endswith("_ns")}
    # Conv2D has no launch in the file: a lone step holds what was launched in it.
    assert leaves == {
        "window_ns": 250_000, "compute_ns": 100_000, "exposed_comm_ns": 80_000, "exposed_memory_ns": 10_000, "idle_ns": 60_000,
        "comm_ns": 80_000, "overlapped_ns": 0, "compute_sum_ns": 100_000,
    }  # fmt: skip


def test_a_task_was_launched_where_it_was_put_into_the_queue(tmp_path: Path) -> None:
    trace = read(tmp_path / "rank0" / "trace_view.json", EVENTS)
    launched = {
        trace.names.text[trace.events.name[row]]: int(trace.events.start_ns[trace.events.link[row]])
        for row in np.flatnonzero(trace.events.link >= 0)
    }
    assert launched == {"MEMCPY_ASYNC": 10_000, "aclnnMul_MulAiCore_Mul": 10_000, "hcom_allReduce__868_0_1": 31_000}
    assert trace.comm.issued_ns.tolist() == [31_000]
    assert trace.extra == {"device_events_without_launch": 1}


def test_without_a_queue_the_operator_is_the_launch(tmp_path: Path) -> None:
    events = [
        piece("aten::mul", HOST, MAIN, 8, 10, "cpu_op"),
        task("aclnnMul", 100, 10, "AI_CORE"),
        *arrow(1, 9, 100, thread=MAIN),
    ]
    trace = read(tmp_path / "rank0" / "trace_view.json", events)
    assert trace.events.link.tolist() == [-1, 0]


def test_work_ends_where_the_profiler_says_it_did(tmp_path: Path) -> None:
    def end_ns(*lanes: Json) -> int:
        trace = read(tmp_path / "rank0" / "trace_view.json", [task("aclnnMul", 100, 10.00053125, "AI_CORE"), *lanes])
        return int((trace.events.start_ns + trace.events.dur_ns)[trace.kinds == Kind.COMPUTE][0])

    assert end_ns() == 110_001
    assert end_ns(piece("Computing", OVERLAP, 0, 100, 10)) == 110_000
    assert end_ns(piece("Computing", OVERLAP, 0, 100, 20)) == 110_001, "that is another end, not a rounding"


def test_a_gather_of_unknown_group_size_has_no_size(tmp_path: Path) -> None:
    gather = piece("hcom_allGather__868_0_1", HCCL, 0, 220, 80, count=256, data_type="FP16")
    receive = piece("hcom_receive__868_1_1", HCCL, 0, 320, 80, count=2, data_type="INT8")
    trace = read(tmp_path / "rank0" / "trace_view.json", [task("aclnnMul", 100, 10, "AI_CORE"), gather, receive])
    assert (trace.comm.op, trace.comm.bytes.tolist()) == (("all_gather", "recv"), [-1, 2])


def test_steps_tile_at_the_ends_of_their_tasks(tmp_path: Path) -> None:
    events = []
    for number in range(4):
        at = 1000.0 * number
        first, second = at + 300, at + 700
        events += [
            piece(f"ProfilerStep#{number}", HOST, MAIN, at, 1000, "cpu_op"),
            # The queue may be worked off after the step has ended on the host.
            *queued(number, at + 500, at + 1100),
            task("a", first + 1000, 50, "AI_CORE"), task("b", second + 1000, 50, "AI_CORE"),
            *arrow(2 * number, at + 1101, first + 1000), *arrow(2 * number + 1, at + 1102, second + 1000),
        ]  # fmt: skip
    trace = read(tmp_path / "rank0" / "trace_view.json", events)
    assert trace.steps.index.tolist() == [1, 2, 3]
    assert trace.steps.start_ns.tolist() == [1_750_000, 2_750_000, 3_750_000]
    assert trace.steps.end_ns.tolist() == [2_750_000, 3_750_000, 4_750_000]


@pytest.mark.parametrize(
    ("path", "rank", "folder"),
    [
        ("job/rank3/trace_view.json", 3, "job"),
        ("job/rank_1_ascend_pt/ASCEND_PROFILER_OUTPUT/trace_view.json", 1, "job"),
        ("job/node-a_4711_20250101120000_ascend_pt/ASCEND_PROFILER_OUTPUT/trace_view.json", None, None),
        ("job/trace_view.json", None, None),
        ("job/rank2_trace_view.json", 2, None),
    ],
)
def test_the_rank_is_in_the_names_of_folders(tmp_path: Path, path: str, rank: int | None, folder: str | None) -> None:
    facts = facts_of(write_bytes(tmp_path / path, json.dumps(EVENTS).encode()))
    assert facts is not None
    assert (facts.rank, facts.folder) == (rank, tmp_path / folder if folder else None)
    assert (facts.host, facts.pid) == (("node-a", 4711) if "node-a" in path else (None, None))


def test_the_profiler_writes_the_rank_beside_its_output(tmp_path: Path) -> None:
    for rank in (0, 1):
        folder = tmp_path / "job" / f"node-a_{4711 + rank}_20250101120000_ascend_pt"
        write_bytes(folder / "ASCEND_PROFILER_OUTPUT" / "trace_view.json.gz", json.dumps(EVENTS).encode())
        write_bytes(folder / f"profiler_info_{rank}.json", b"{}")
    (run,) = find_runs([tmp_path])
    assert (run.info.name, sorted(run.ranks), run.info.world_size) == ("job", [0, 1], 2)
    assert {files.reader for files in run.ranks.values()} == {"ascend"}


def test_other_traces_are_not_taken_for_ascends(tmp_path: Path) -> None:
    kineto = write_trace(tmp_path / "rank0.json", [piece("aten::mul", 1, 1, 1, 1, "cpu_op")])
    assert facts_of(kineto) is None
    assert facts_of(write_bytes(tmp_path / "bare.json", json.dumps([EVENTS[1]]).encode())) is None


def test_a_file_that_is_cut_off_says_so(tmp_path: Path) -> None:
    text = json.dumps([*PROCESSES, *EVENTS])
    path = write_bytes(tmp_path / "rank0" / "trace_view.json", text[: text.index('"SDMA"')].encode())
    trace = read_rank(RankFiles(0, "ascend", (path,)))
    assert trace.caveats[0] == "trace_view.json is cut off after 12 events: what came later is missing"
    assert not len(trace.steps), "its tasks stand behind what the host did: any step may have lost some"
    with pytest.raises(BrokenFile):
        read_rank(RankFiles(0, "ascend", (write_bytes(tmp_path / "x.json", b"[]"),)))


@pytest.mark.parametrize("hostile", ["1e999", "-1", "99999999999999999999", '"x"', "null", "[]", "{}", "true", "NaN"])
def test_hostile_numbers_are_read_or_refused_never_a_crash(tmp_path: Path, hostile: str) -> None:
    text = json.dumps([*EVENTS, *PROCESSES])
    for found in list(re.finditer(r'(?<=": )"?\d[\d.]*"?(?=[,}])', text))[::2]:
        path = write_bytes(
            tmp_path / "rank0" / "trace_view.json", (text[: found.start()] + hostile + text[found.end() :]).encode()
        )
        with suppress(InputError):
            (run,) = find_runs([path])
            account(read_rank(run.ranks[0]))


def test_the_vendors_own_breakdown_comes_out(foreign_traces: Path) -> None:
    """Computing, Communication and what of it is (not) overlapped are ours to the ns.

    The definitions of the rest differ. The vendor's step begins with the first task that computes or communicates, ours with the first copy:
    `lead_ns` lies between. What does neither is Free there; here copies are told from it. The csv adds up floats, hence the rounding.
    """
    root = foreign_traces / "ascend" / "2-rank-level0"
    (run,) = find_runs([root])
    assert (run.info.name, sorted(run.ranks), run.info.world_size) == ("2-rank-level0", [0, 1], 2)
    for rank, files in run.ranks.items():
        with (root / f"rank{rank}" / "step_trace_time.csv").open() as file:
            (row,) = csv.DictReader(file)
        said = {name: round(float(value) * 1000) for name, value in row.items()}
        trace = read_rank(files)
        ours = {name: int(values[0]) for name, values in account(trace).columns.items()}
        assert ours["compute_ns"] == said["Computing"]
        assert ours["comm_ns"] == said["Communication"]
        assert ours["overlapped_ns"] == said["Overlapped"]
        assert ours["exposed_comm_ns"] == said["Communication(Not Overlapped)"]
        work = trace.on_device & np.isin(trace.kinds, (Kind.COMPUTE, Kind.COLLECTIVE))
        lead_ns = int(trace.events.start_ns[work].min() - trace.steps.start_ns[0])
        assert ours["idle_ns"] + ours["exposed_memory_ns"] - lead_ns == said["Free"]
        assert ours["window_ns"] - lead_ns == pytest.approx(said["Stage"], abs=250), "its clock has steps of 250 ns"
        assert trace.comm.bytes.tolist() == [
            4 * elements for elements in (4_097_000, 16_781_312, 37_752_832, 2_469_696)
        ]
        assert trace.names.by_rule.all() and not trace.extra


def test_kernels_that_carry_out_a_collective_are_parts_of_it_where_it_has_a_lane(tmp_path: Path) -> None:
    aiv = task("aiv_all_gather_bfloat16_t", 10, 20, "KERNEL_AIVEC", stream=4)
    dispatch = task("MoeDistributeDispatchV2", 40, 10, "MIX_AIC")
    lane = piece("hcom_allGather__868_0_1", HCCL, 0, 9, 22)
    path = write_bytes(tmp_path / "a.json", json.dumps([*PROCESSES, aiv, dispatch, lane]).encode())
    trace = read_rank(RankFiles(0, "ascend", (path,)))
    assert trace.comm.op == ("all_gather", "all_to_all")
    without = [event for event in PROCESSES if event["pid"] != HCCL]
    path = write_bytes(tmp_path / "b.json", json.dumps([*without, aiv, dispatch]).encode())
    trace = read_rank(RankFiles(0, "ascend", (path,)))
    assert trace.comm.op == ("all_gather", "all_to_all"), "else they are all there is of it"


def test_the_users_patterns_count_on_ascend(tmp_path: Path) -> None:
    mine = task("MyRingExchange", 10, 20, "KERNEL_AIVEC")
    path = write_bytes(tmp_path / "a.json", json.dumps([*PROCESSES, mine]).encode())
    trace = read_rank(RankFiles(0, "ascend", (path,)), ("RingExchange",))
    assert [Kind(kind) for kind in trace.kinds] == [Kind.COLLECTIVE]
