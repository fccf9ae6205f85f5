"""XPlane files to Traces, with the answer on paper: every trap that real files of TensorFlow and JAX set."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.analyses.account.account import account
from scaleprof.errors import BrokenFile, NothingToRead
from scaleprof.pipeline import Options, analyze
from scaleprof.readers import find_runs, read_rank
from scaleprof.readers.xplane.schema import messages
from scaleprof.readers.xplane.xplane import facts_of
from scaleprof.run import ProcessGroup, RankFiles
from scaleprof.trace import UNKNOWN, Kind
from tests.readers.making_xplanes import (
    START_NS,
    Plane,
    collective,
    group_of,
    hlo,
    op,
    program,
    read,
    space,
    step,
    times_us,
    write,
    write_rank,
)

HOST = "/host:CPU"
MATMUL, SEND = "matmul:_MklMatMul", "Relu/_1:_Send"
KEY = "/job:worker/replica:0/task:{0}/device:CPU:0;be29;/job:worker/replica:0/task:{1}/device:CPU:0;edge_7_Relu;0:0"


def host(*lines: tuple[str, list[Any]]) -> Plane:
    plane = Plane(HOST)
    for name, events in lines:
        plane.line(name, events)
    return plane


def kinds(trace: Any) -> dict[str, str]:
    return {text: Kind(kind).name for text, kind in zip(trace.names.text, trace.names.kind.tolist(), strict=True)}


def two_steps(late_us: float = 0) -> Plane:
    """A rank that computes 200 us, is `late_us` late, then exchanges 4,000 bytes until 600 us of each step of 1 ms."""
    plane = host(("python", [step(3, 0, 990), step(4, 1000, 990)]))
    plane.line("tf_Compute/1", [op(MATMUL, at + 100, 200 + late_us) for at in (0, 1000)])
    events = [group_of(2, 1)]
    for number, at in enumerate((0, 1000)):
        events += collective(106 + number, at + 310 + late_us, 290 - late_us, chunk=2000)
    return plane.line("collective_ops/9", events)


def test_the_parts_of_a_step_are_told_apart_and_add_up(tmp_path: Path) -> None:
    trace = read(tmp_path, two_steps())
    assert trace.step_source == "annotations"
    assert trace.steps.index.tolist() == [3, 4]
    assert (trace.steps.start_ns - START_NS).tolist() == [0, 1_000_000]
    assert (trace.steps.end_ns - START_NS).tolist() == [1_000_000, 1_990_000]
    [row, _] = zip(*(account(trace)[name] for name in ("compute_ns", "exposed_comm_ns", "idle_ns")), strict=True)
    assert row == (200_000, 290_000, 510_000)
    assert kinds(trace)["CollectiveReduceV2:CollectiveReduceV2"] == "COLLECTIVE"
    assert (trace.comm.op, trace.comm.group, trace.comm.seq.tolist()) == (("all_reduce",) * 2, ("1", "1"), [106, 107])
    assert (trace.info.framework, trace.info.device, trace.info.world_size, trace.info.host) == (
        "tensorflow",
        "cpu",
        2,
        "a-host",
    )


def test_collectives_of_several_ranks_are_one_by_group_and_instance(tmp_path: Path) -> None:
    for rank, late_us in enumerate((0, 150)):
        write_rank(tmp_path / "job", rank, two_steps(late_us))
    report = analyze([tmp_path / "job"], options=Options(engine="serial"))
    [run] = report.runs
    assert (run.info.name, run.info.world_size, run.ranks_read) == ("job", 2, (0, 1))
    found = {name: run.metric(name) for name in ("collectives.matched_share", "collectives.bytes", "step.count")}
    assert {name: metric and metric.value for name, metric in found.items()} == {
        "collectives.matched_share": 1.0,
        "collectives.bytes": 4000.0,
        "step.count": 2,
    }
    # Rank 1 comes 150 us late: rank 0 waits that long in each step of 1000 and 990 us.
    wait = run.metric("time.exposed_wait_share")
    assert wait is not None
    assert wait.value == pytest.approx(2 * 150 / (2 * 1990))


def test_a_ring_says_its_size_but_for_padding(tmp_path: Path) -> None:
    chunk = collective(1, 10, 100, chunk=3_166_144)
    plane = host(("collective_ops/1", [group_of(2), *chunk]))
    trace = read(tmp_path, plane)
    assert trace.comm.bytes.tolist() == [6_332_288]
    assert any("a ring's parts" in caveat for caveat in trace.caveats)
    taken = ("MemoryAllocation", 5, 0, {"tf_op": ["concat"], "requested_bytes": 6_332_416})
    other = ("MemoryAllocation", 6, 0, {"tf_op": ["mul"], "requested_bytes": 6_400_000})
    trace = read(tmp_path, host(("collective_ops/1", [group_of(2), *chunk]), ("tf_Compute/1", [taken, other])))
    assert trace.comm.bytes.tolist() == [6_332_416]
    assert not any("ring" in caveat for caveat in trace.caveats)


def test_ranks_whose_rings_pad_differently_still_match(tmp_path: Path) -> None:
    for rank, chunk in enumerate((3_166_144, 3_166_272)):
        write_rank(
            tmp_path / "job", rank, host(("collective_ops/1", [group_of(2), *collective(1, 10, 100, chunk=chunk)]))
        )
    [run] = analyze([tmp_path / "job"], options=Options(engine="serial")).runs
    matched = run.metric("collectives.matched_share")
    assert matched is not None
    assert matched.value == 1.0


def test_a_tiny_collective_has_no_size(tmp_path: Path) -> None:
    trace = read(tmp_path, host(("collective_ops/1", [group_of(2), *collective(1, 10, 5)])))
    assert trace.comm.bytes.tolist() == [UNKNOWN]


def test_the_size_of_a_group_stands_on_its_leader_only(tmp_path: Path) -> None:
    plane = host(("collective_ops/1", collective(1, 10, 100, chunk=2000)))
    assert read(tmp_path, plane, rank=1, world_size=2).comm.bytes.tolist() == [4000]
    alone = read(tmp_path, plane)
    assert alone.comm.bytes.tolist() == [UNKNOWN]
    assert any("among how many ranks" in caveat for caveat in alone.caveats)


def test_a_group_larger_than_what_was_found_is_said(tmp_path: Path) -> None:
    trace = read(tmp_path, host(("collective_ops/1", [group_of(4), *collective(1, 10, 100)])), world_size=1)
    assert trace.info.world_size == 4
    assert trace.info.process_groups == (ProcessGroup("1", (0, 1, 2, 3)),)
    assert any("4 processes, of which 1 were found" in caveat for caveat in trace.caveats)


def test_two_devices_of_one_process_take_part_twice(tmp_path: Path) -> None:
    plane = host(
        ("collective_ops/1", [group_of(2), *collective(103, 0, 50), *collective(104, 100, 50)]),
        ("collective_ops/2", [*collective(103, 5, 45), *collective(104, 105, 45)]),
    )
    trace = read(tmp_path, plane)
    assert trace.info.world_size == 1
    assert len(trace.comm.row) == 4
    assert any("2 times, once for each of its devices" in caveat for caveat in trace.caveats)


def test_numbers_that_come_again_in_every_step_are_no_devices(tmp_path: Path) -> None:
    for rank in range(2):
        events = [group_of(2)]
        for number in range(3):
            for instance in (1, 2):
                events += collective(
                    instance, 100 * number + 20 * instance, 10, name="CollectiveReduce", step_id=-number
                )
        marks = [step(number, 100 * number, 100) for number in range(3)]
        write_rank(tmp_path / "job", rank, host(("python", marks), ("collective_ops/1", events)))
    [run] = analyze([tmp_path], options=Options(engine="serial")).runs
    found = [run.metric(name) for name in ("collectives.matched_share", "collectives.count")]
    assert [metric and metric.value for metric in found] == [1.0, 2.0]
    assert not any("devices" in caveat for caveat in run.caveats)


@pytest.mark.parametrize(
    ("name", "op"),
    [
        ("CollectiveReduceV3", "all_reduce"),
        ("CollectiveReduce", "all_reduce"),
        ("CollectiveGatherV2", "all_gather"),
        ("CollectiveBcastSendV2", "broadcast"),
        ("CollectiveBcastRecvV2", "broadcast"),
        ("CollectiveReduceScatterV2", "reduce_scatter"),
        ("CollectiveAllToAllV2", "all_to_all"),
        ("NcclAllReduce", "all_reduce"),
    ],
)
def test_every_collective_has_its_name(tmp_path: Path, name: str, op: str) -> None:
    trace = read(tmp_path, host(("collective_ops/1", collective(1, 0, 10, name=name))))
    assert trace.comm.op == (op,)


# ---- steps


def test_our_marks_count_before_all_others(tmp_path: Path) -> None:
    marks = [
        step(0, 0, 500),
        step(7, 10, 400, "scaleprof_step"),
        step(1, 500, 500),
        step(8, 510, 400, "scaleprof_step"),
    ]
    trace = read(tmp_path, host(("python", [*marks, op(MATMUL, 20, 10)])))
    assert trace.steps.index.tolist() == [7, 8]


def test_of_nested_marks_the_outermost_count(tmp_path: Path) -> None:
    marks = [
        step(4, 0, 500, "Profiled batch"),
        step(4, 10, 400),
        step(5, 500, 500, "Profiled batch"),
        step(5, 510, 400),
    ]
    trace = read(tmp_path, host(("python", [*marks, op(MATMUL, 20, 10)])))
    assert trace.steps.index.tolist() == [4, 5]
    assert (trace.steps.start_ns - START_NS).tolist() == [0, 500_000]


def test_numbers_that_begin_anew_are_counted_on(tmp_path: Path) -> None:
    trace = read(
        tmp_path, host(("python", [step(7, 0, 100), step(0, 100, 100), step(1, 200, 100), op(MATMUL, 20, 10)]))
    )
    assert trace.steps.index.tolist() == [0, 1, 2]


def test_without_marks_the_trace_is_one_step(tmp_path: Path) -> None:
    trace = read(tmp_path, host(("tf_Compute/1", [op(MATMUL, 100, 300)])))
    assert trace.step_source == "whole trace"
    assert (trace.steps.start_ns[0] - START_NS, trace.steps.end_ns[0] - START_NS) == (100_000, 400_000)
    assert any("marks no steps" in caveat for caveat in trace.caveats)


# ---- what counts as compute


def test_what_python_does_is_no_compute_and_input_on_its_own_threads_takes_no_time_from_it(tmp_path: Path) -> None:
    plane = host(
        ("python", [step(0, 0, 1000), op("EagerExecute", 0, 900), op("$train.py:12 step", 0, 900)]),
        (
            "tf_Compute/1",
            [
                op("ExecutorState::Process", 0, 1000),
                op(MATMUL, 100, 200),
                op("IteratorGetNext:IteratorGetNext", 300, 50),
            ],
        ),
        ("tf_data_private_threadpool/2", [op("random_normal:AddV2", 0, 600), op("Iterator::Root::Map", 0, 650)]),
    )
    trace = read(tmp_path, plane)
    assert {text: kind for text, kind in kinds(trace).items() if kind in ("OP", "INPUT", "COMPUTE")} == {
        MATMUL: "OP",
        "IteratorGetNext:IteratorGetNext": "INPUT",
        "random_normal:AddV2": "INPUT",
        "Iterator::Root::Map": "INPUT",
    }
    assert account(trace)["compute_ns"].tolist() == [200_000]
    [run] = analyze([tmp_path], options=Options(engine="serial")).runs
    shares = {name: run.metric(name) for name in ("time.idle_share", "idle.input_share")}
    # Nothing computes for 800 us; for 450 of them (0-100, 300-650) the input is being made.
    assert {name: metric and metric.value for name, metric in shares.items()} == {
        "time.idle_share": pytest.approx(0.8),
        "idle.input_share": pytest.approx(0.45),
    }


def test_an_operator_inside_another_counts_once(tmp_path: Path) -> None:
    events = [op("while:While", 0, 400), op(MATMUL, 100, 200)]
    trace = read(tmp_path, host(("python", [step(0, 0, 500)]), ("tf_Compute/1", events)))
    assert account(trace)["compute_ns"].tolist() == [200_000]


def test_the_users_own_names_communicate(tmp_path: Path) -> None:
    file = write(tmp_path / "a.xplane.pb", host(("tf_Compute/1", [op("ring:MyRing", 0, 400)])))
    trace = read_rank(RankFiles(0, "xplane", (file,)), ["MyRing"])
    assert kinds(trace) == {"ring:MyRing": "COLLECTIVE"}
    assert len(trace.comm.row) == 1


# ---- what is sent between devices


def test_a_send_says_both_ends_and_a_receive_lasts_from_its_start_to_its_end(tmp_path: Path) -> None:
    start = {"name": ["Relu/_2"], "kernel_type": ["_Recv"], "_pt": 2, "_p": 77}
    plane = host(
        (
            "tf_Compute/1",
            [
                ("ExecutorState::ProcessAsync::Start", 100, 3, start),
                (SEND, 200, 4, {"key": [KEY.format(0, 0)]}),
                ("ExecutorState::ProcessAsync::Done", 350, 3, {"kernel_type": ["_Recv"], "_ct": 2, "_c": 77}),
            ],
        ),
    )
    trace = read(tmp_path, plane)
    assert (trace.comm.op, trace.comm.peer.tolist(), trace.comm.bytes.tolist()) == (("recv", "send"), [0, 0], [-1, -1])
    assert times_us(trace, "Relu/_2:_Recv") == [(100, 250)]
    assert {kinds(trace)[name] for name in ("Relu/_2:_Recv", SEND)} == {"P2P"}
    assert any("how much was sent" in caveat for caveat in trace.caveats)


def test_a_send_to_another_task_names_its_rank(tmp_path: Path) -> None:
    trace = read(tmp_path, host(("tf_Compute/1", [(SEND, 200, 4, {"key": [KEY.format(1, 3)]})])), rank=1)
    assert trace.comm.peer.tolist() == [3]


def test_a_start_that_never_ends_is_no_transfer(tmp_path: Path) -> None:
    start = {"name": ["Relu/_2"], "kernel_type": ["_Recv"], "_pt": 2, "_p": 77}
    trace = read(tmp_path, host(("tf_Compute/1", [("ExecutorState::ProcessAsync::Start", 100, 3, start)])))
    assert len(trace.comm.row) == 0


def test_horovods_kernels_are_collectives_from_start_to_end(tmp_path: Path) -> None:
    start = {"name": ["DistributedOptimizer/allreduce.w"], "kernel_type": ["HorovodAllreduce"], "_pt": 2, "_p": 5}
    done = {"kernel_type": ["HorovodAllreduce"], "_ct": 2, "_c": 5}
    events = [("ExecutorState::ProcessAsync::Start", 10, 2, start), ("ExecutorState::ProcessAsync::Done", 90, 2, done)]
    trace = read(tmp_path, host(("tf_Compute/1", events)))
    assert trace.comm.op == ("all_reduce",)
    assert times_us(trace, "DistributedOptimizer/allreduce.w:HorovodAllreduce") == [(10, 80)]


# ---- accelerators


def gpu(events: list[Any], number: int = 0) -> Plane:
    plane = Plane(f"/device:GPU:{number}", {"device_vendor": b"NVIDIA"})
    plane.line("Stream #13(Compute)", events, id=13)
    for derived in (
        "TensorFlow Ops",
        "TensorFlow Name Scope",
        "Steps",
        "XLA Modules",
        "XLA Ops",
        "Launch Stats",
        "Framework Ops",
    ):
        plane.line(derived, [op("again", 0, 1000)])
    return plane


def kernel(name: str, start_us: float, dur_us: float, number: int, **more: Any) -> Any:
    return (name, start_us, dur_us, {"correlation_id": number, **more})


def test_derived_lines_of_a_gpu_say_the_same_time_again_and_are_left_out(tmp_path: Path) -> None:
    calls = [kernel("cuLaunchKernel", at, 5, number) for number, at in ((1, 10), (2, 1010), (3, 20), (4, 1020))]
    plane = gpu(
        [
            kernel("volta_sgemm", 100, 300, 1),
            kernel("volta_sgemm", 1100, 300, 2),
            kernel("relu", 400, 50, 3),
            kernel("relu", 1400, 50, 4),
        ]
    )
    trace = read(
        tmp_path, plane, host(("python", [step(0, 0, 500), step(1, 1000, 500), step(2, 2000, 5)]), ("cuda/1", calls))
    )
    assert "again" not in trace.names.text
    assert trace.extra["derived_lines"] == 7
    assert trace.info.device == "cuda"
    # Step 1 is what lies between the ends of the device work of steps 0 and 1.
    assert (trace.steps.start_ns[0] - START_NS, trace.steps.end_ns[0] - START_NS) == (450_000, 1_450_000)
    assert account(trace)["compute_ns"].tolist()[0] == 350_000


def test_copies_say_their_size_and_direction(tmp_path: Path) -> None:
    events = [
        kernel("MemcpyH2D", 0, 10, 1, memcpy_details=["size:6144 dest:4 async:1"]),
        kernel("MemcpyD2H", 20, 10, 2, memcpy_details=["kind_src:device kind_dst:pageable size:8"]),
        kernel("Memset", 40, 10, 3, memset_details=["size:16"]),
    ]
    trace = read(tmp_path, gpu(events))
    assert (trace.copies.direction, trace.copies.bytes.tolist(), trace.copies.pageable.tolist()) == (
        ("HtoD", "DtoH", "memset"),
        [6144, 8, 16],
        [False, True, False],
    )


def test_kernels_of_nccl_take_number_and_group_from_the_host(tmp_path: Path) -> None:
    name = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevComm*)"
    trace = read(
        tmp_path,
        gpu([kernel(name, 100, 50, 1), kernel("sgemm", 10, 50, 2)]),
        host(("collective_ops/1", [group_of(8), *collective(42, 90, 5)])),
    )
    assert (trace.comm.op, trace.comm.seq.tolist(), trace.comm.group) == (("all_reduce",), [42], ("1",))
    assert trace.lanes.device[trace.events.lane[trace.comm.row]].tolist() == [0]
    assert trace.info.backend == "nccl"


def test_launches_that_carry_the_kernels_name_are_no_kernels(tmp_path: Path) -> None:
    calls = host(("cuda/1", [kernel("volta_sgemm", 10, 400, 1)]))
    trace = read(tmp_path, gpu([kernel("volta_sgemm", 100, 300, 1)]), calls)
    assert account(trace)["compute_ns"].tolist() == [300_000]
    assert sorted(zip(trace.names.text, trace.names.category, strict=True)) == [
        ("volta_sgemm", "cuda_runtime"),
        ("volta_sgemm", "kernel"),
    ]
    assert trace.events.link.tolist() == [-1, 0]


def test_each_device_of_a_process_is_a_rank(tmp_path: Path) -> None:
    planes = [gpu([kernel(f"gemm{number}", 100, 50, number + 1)], number) for number in range(2)]
    write(tmp_path / "profile.xplane.pb", *planes)
    [run] = find_runs([tmp_path])
    assert (run.info.name, run.info.world_size, list(run.ranks)) == ("profile", 2, [0, 1])
    traces = [read_rank(files) for files in run.ranks.values()]
    assert [trace.names.text for trace in traces] == [("gemm0",), ("gemm1",)]


def test_on_a_tpu_the_line_of_xlas_operations_is_the_first(tmp_path: Path) -> None:
    plane = (
        Plane("/device:TPU:0")
        .line("XLA Ops", [op("fusion.3", 0, 10), op("all-reduce.1", 10, 5)])
        .line("Steps", [op("0", 0, 20)])
    )
    trace = read(tmp_path, plane)
    assert kinds(trace) == {"fusion.3": "COMPUTE", "all-reduce.1": "COLLECTIVE"}
    assert trace.info.device == "tpu"


# ---- JAX

FLOAT, TUPLE = 11, 13
ALL_REDUCE = {
    "name": b"all-reduce.3",
    "opcode": b"all-reduce",
    "id": 9,
    "shape": {
        "element_type": TUPLE,
        "tuple_shapes": [
            {"element_type": FLOAT, "dimensions": [1024, 512]},
            {"element_type": FLOAT, "dimensions": [10]},
        ],
    },
}


def two_devices(late_us: float = 0) -> tuple[Plane, Plane]:
    first = [hlo("dot.5", 0, 100), hlo("all-reduce.3", 100, 300 + late_us, run=-5)]
    second = [hlo("dot.5", 0, 100, device=1), hlo("all-reduce.3", 100 + late_us, 300, device=1, run=-5)]
    metadata = Plane("/host:metadata", {"jax_version": b"0.10.2"}, {"jit_step(1)": program(ALL_REDUCE)})
    plane = host(("python", [step(0, 0, 1000)]), ("tf_XLAEigen/1", first), ("tf_XLAEigen/2", second))
    return metadata, plane


def test_devices_of_jax_on_one_host_are_ranks_that_match_by_run_and_operation(tmp_path: Path) -> None:
    write(tmp_path / "logs" / "plugins" / "profile" / "2026_11_23" / "h.xplane.pb", *two_devices(50))
    [run] = analyze([tmp_path], options=Options(engine="serial")).runs
    assert (run.info.name, run.info.framework, run.ranks_read) == ("logs", "jax", (0, 1))
    found = [run.metric(name) for name in ("collectives.matched_share", "collectives.bytes", "time.exposed_wait_share")]
    assert [metric and metric.value for metric in found] == [1.0, 4 * (1024 * 512 + 10), pytest.approx(50 / 2000)]


def test_processes_of_jax_match_by_run_and_operation(tmp_path: Path) -> None:
    for rank, late_us in enumerate((0, 50)):
        events = [
            hlo("dot.5", 0, 100),
            hlo("all-reduce.3", 100 + late_us, 300 - late_us, run=-9),
            hlo("all-reduce.3", 500, 9, run=-8),
        ]
        write_rank(
            tmp_path / "job", rank, two_devices()[0], host(("python", [step(0, 0, 1000)]), ("tf_XLAEigen/1", events))
        )
    [run] = analyze([tmp_path], options=Options(engine="serial")).runs
    found = [run.metric(name) for name in ("collectives.matched_share", "collectives.bytes", "time.exposed_wait_share")]
    assert (run.info.world_size, run.ranks_read) == (2, (0, 1))
    assert [metric and metric.value for metric in found] == [1.0, 8 * (1024 * 512 + 10), pytest.approx(50 / 2000)]


def test_what_is_started_is_one_operation_with_its_end(tmp_path: Path) -> None:
    events = [hlo("all-reduce-start.1", 0, 5), hlo("dot.5", 5, 50), hlo("all-reduce-done.1", 55, 20)]
    trace = read(tmp_path, host(("tf_XLAEigen/1", events)))
    assert trace.comm.op == ("all_reduce",)
    assert kinds(trace) == {"all-reduce-start.1": "COLLECTIVE", "dot.5": "OP", "all-reduce-done.1": "COLLECTIVE"}


def test_sizes_of_xla_are_those_of_the_large_side(tmp_path: Path) -> None:
    part = {"name": b"p", "opcode": b"parameter", "id": 1, "shape": {"element_type": 16, "dimensions": [8]}}
    gather = {
        "name": b"all-gather.1",
        "opcode": b"all-gather",
        "id": 2,
        "operand_ids": [1],
        "shape": {"element_type": 16, "dimensions": [32]},
    }
    scatter = {
        "name": b"reduce-scatter.2",
        "opcode": b"reduce-scatter",
        "id": 3,
        "operand_ids": [2],
        "shape": {"element_type": 16, "dimensions": [8]},
    }
    inner = [{"element_type": 16, "dimensions": [8]}, {"element_type": 16, "dimensions": [32]}]
    started = {
        "name": b"all-gather-start",
        "opcode": b"all-gather-start",
        "id": 4,
        "operand_ids": [1],
        "shape": {"element_type": TUPLE, "tuple_shapes": inner},
    }
    metadata = Plane("/host:metadata", {}, {"jit(1)": program(part, gather, scatter, started)})
    events = [hlo(name, at, 5) for at, name in enumerate(("all-gather.1", "reduce-scatter.2"))]
    trace = read(tmp_path, metadata, host(("tf_XLAEigen/1", events)))
    assert dict(zip(trace.comm.op, zip(trace.comm.bytes.tolist(), trace.comm.dtype, strict=True), strict=True)) == {
        "all_gather": (64, "bfloat16"),
        "reduce_scatter": (64, "bfloat16"),
    }


def test_groups_of_devices_are_those_of_the_program(tmp_path: Path) -> None:
    one = {**ALL_REDUCE, "replica_groups": [{"replica_ids": [0, 1]}, {"replica_ids": [2, 3]}]}
    metadata = Plane("/host:metadata", {}, {"jit_step(1)": program(one)})
    trace = read(tmp_path, metadata, host(("tf_XLAEigen/1", [hlo("all-reduce.3", 0, 5)])), rank=3, world_size=4)
    assert trace.info.process_groups == (ProcessGroup("all-reduce.3", (2, 3)),)


def test_a_program_that_cannot_be_read_says_no_sizes(tmp_path: Path) -> None:
    metadata = Plane("/host:metadata", {}, {"jit_step(1)": b"\x0a\xff"})
    trace = read(tmp_path, metadata, host(("tf_XLAEigen/1", [hlo("all-reduce.3", 0, 5)])))
    assert trace.comm.bytes.tolist() == [UNKNOWN]


# ---- clocks and places


def test_a_line_may_say_unix_time_itself(tmp_path: Path) -> None:
    plane = Plane(HOST).line("tf_Compute/1", [op(MATMUL, 5, 1)], timestamp_ns=START_NS)
    plane.line("tf_Compute/2", [op("b:Relu", 5, 1)], timestamp_ns=2000)
    trace = read(tmp_path, plane)
    assert (times_us(trace, MATMUL), times_us(trace, "b:Relu")) == ([(5, 1)], [(7, 1)])


def test_an_older_file_that_says_no_time_of_day_has_a_clock_of_its_own(tmp_path: Path) -> None:
    trace = read(tmp_path, host(("tf_Compute/1", [op(MATMUL, 5, 1)])), started=False)
    assert trace.events.start_ns.tolist() == [5000]
    assert trace.info.host is None
    assert any("does not say when it was recorded" in caveat for caveat in trace.caveats)


def test_two_hosts_write_into_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "plugins" / "profile" / "2026_11_23"
    for name in ("alpha", "beta"):
        write(folder / f"{name}.xplane.pb", host(("tf_Compute/1", [op(MATMUL, 5, 1)])), host=name)
    [run] = find_runs([tmp_path])
    assert (run.info.name, list(run.ranks), run.info.nodes) == ("logs", [0, 1], 2)
    assert any(
        "its place" not in caveat and "is the place of beta" in caveat for caveat in read_rank(run.ranks[1]).caveats
    )


def test_a_task_is_a_rank(tmp_path: Path) -> None:
    for task in (0, 1):
        device = f"/job:worker/replica:0/task:{task}/device:CPU:0"
        plane = host(("tf_Compute/1", [("RemoteCallOpDone", 5, 1, {"device": [device]}), op(MATMUL, 5, 1)]))
        write(tmp_path / "job" / "ab"[task] / "plugins" / "profile" / "x" / "h.xplane.pb", plane)
    [run] = find_runs([tmp_path])
    assert (run.info.name, list(run.ranks)) == ("job", [0, 1])


def test_one_process_that_is_no_job_is_a_run_by_itself(tmp_path: Path) -> None:
    device = "/job:localhost/replica:0/task:0/device:CPU:0"
    for name in ("a", "b"):
        plane = host(("tf_Compute/1", [("RemoteCallOpDone", 5, 1, {"device": [device]}), op(MATMUL, 5, 1)]))
        write(tmp_path / name / "plugins" / "profile" / "x" / "h.xplane.pb", plane)
    assert sorted((run.info.name, run.info.world_size) for run in find_runs([tmp_path])) == [("a", 1), ("b", 1)]


def test_compressed_files_are_read_too(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "a.xplane.pb.gz"
    path.write_bytes(gzip.compress(space(host(("tf_Compute/1", [op(MATMUL, 5, 1)])))))
    [run] = find_runs([tmp_path])
    assert times_us(read_rank(run.ranks[0]), MATMUL) == [(5, 1)]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(NothingToRead, match=r"a\.xplane\.pb\.gz: is damaged"):
        find_runs([tmp_path])


# ---- what cannot be read


def test_without_protobuf_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.xplane.pb", host(("tf_Compute/1", [op(MATMUL, 5, 1)])))
    messages.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "google"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    try:
        with pytest.raises(
            NothingToRead, match=r"needs protobuf, which is not installed: pip install 'scaleprof\[protobuf\]'"
        ):
            find_runs([path])
    finally:
        messages.cache_clear()


def test_an_empty_file_and_one_without_events_say_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty.xplane.pb"
    empty.write_bytes(b"")
    with pytest.raises(BrokenFile, match="is empty"):
        facts_of(empty)
    idle = write(tmp_path / "idle.xplane.pb", Plane(HOST))
    with pytest.raises(BrokenFile, match="holds no event"):
        read_rank(RankFiles(0, "xplane", (idle,)))


def test_a_broken_file_costs_itself(tmp_path: Path) -> None:
    good = write_rank(tmp_path / "job", 0, two_steps())
    bad = write_rank(tmp_path / "job", 1, two_steps())
    bad.write_bytes(good.read_bytes()[:-100])
    [run] = analyze([tmp_path], options=Options(engine="serial")).runs
    assert run.ranks_read == (0,)
    trace = read_rank(RankFiles(0, "xplane", (good, bad)))
    assert any("was left out: it is cut off" in caveat for caveat in trace.caveats)


def test_impossible_times_are_counted_not_believed(tmp_path: Path) -> None:
    plane = host(
        (
            "tf_Compute/1",
            [op(MATMUL, 5, -3), op(MATMUL, 9e12, 1), op(MATMUL, -9e12, 1), op(MATMUL, 1, 9e12), op(MATMUL, 7, 1)],
        )
    )
    plane.line("tf_Compute/2", [op(MATMUL, 5, 1)], timestamp_ns=2**63 - 1)
    plane.line("tf_Compute/3", [op(MATMUL, 5, 1)], timestamp_ns=-(2**63))
    trace = read(tmp_path, plane)
    assert times_us(trace, MATMUL)[:2] == [(5, 0), (7, 1)] or times_us(trace, MATMUL)[0][1] >= 0
    assert trace.extra["negative_durations"] == 1
    assert trace.extra["events_lost"] >= 2
    assert any("events lost" in caveat for caveat in trace.caveats)
    assert (np.diff(trace.events.start_ns) >= 0).all()
