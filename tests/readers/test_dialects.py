"""What each accelerator and each vintage of torch writes, event for event: its kind, place, launch and step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.analyses.account.account import account
from scaleprof.readers import find_runs, read_rank
from scaleprof.trace import Kind, Trace
from tests.readers.making import COMM_STREAM, Json, complete, kernel, launch, step, thread_name, write_trace


def read(tmp_path: Path, events: list[Json], **metadata: Any) -> Trace:
    (run,) = find_runs([write_trace(tmp_path / "t.json", events, **metadata)])
    return read_rank(run.ranks[min(run.ranks)])


def rows(trace: Trace) -> list[tuple[str, str, int, str | None]]:
    """Name, kind, device and name of the launch, in order of time."""
    names, events = trace.names, trace.events
    text = [names.text[name] for name in events.name]
    device = trace.lanes.device[events.lane].tolist()
    return [
        (text[row], Kind(trace.kinds[row]).name, device[row], text[link] if link >= 0 else None)
        for row, link in enumerate(events.link.tolist())
    ]


def leaves(trace: Trace) -> dict[str, list[int]]:
    table = account(trace)
    names = ("compute_ns", "exposed_comm_ns", "exposed_memory_ns", "idle_ns")
    return {name: table.columns[name].tolist() for name in names}


def without(event: Json, key: str) -> Json:
    return {name: value for name, value in event.items() if name != key}


def test_mtia_has_no_kernels_but_events_of_its_processors(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            *step(1, 0, 100)[:1], *step(2, 100, 100)[:1],
            complete("mtiaLaunchKernel", "mtia_runtime", 10, 5, correlation=1),
            complete("mtiaLaunchKernel", "mtia_runtime", 110, 5, correlation=2),
            complete("hccl:allreduce", "user_annotation", 118, 10),
            complete("mtiaLaunchKernel", "mtia_runtime", 120, 5, correlation=3),
            complete("fc_gemm", "mtia_ccp_events", 20, 70, pid=0, tid=1, correlation=1),
            complete("fc_gemm", "mtia_ccp_events", 125, 25, pid=0, tid=1, correlation=2),
            complete("hccl_all_reduce", "mtia_ccp_events", 140, 40, pid=0, tid=2, correlation=3),
            complete("firmware", "mtia_insight", 125, 70, pid=0, tid=2),
        ],
        distributedInfo={"backend": "mtia:hccl,cpu:gloo", "rank": 0, "world_size": 1},
        deviceProperties=[{"id": 0, "name": "MTIA"}],
    )  # fmt: skip
    assert [row for row in rows(trace) if row[2] >= 0] == [
        ("fc_gemm", "COMPUTE", 0, "mtiaLaunchKernel"),
        ("fc_gemm", "COMPUTE", 0, "mtiaLaunchKernel"),
        ("hccl_all_reduce", "COLLECTIVE", 0, "mtiaLaunchKernel"),
    ]
    assert (trace.comm.op, trace.comm.issued_ns.tolist()) == (("all_reduce",), [120_000])
    assert (trace.info.device, trace.info.device_name) == ("mtia", "MTIA")
    assert trace.steps.index.tolist() == [2]
    assert leaves(trace) == {
        "compute_ns": [25_000], "exposed_comm_ns": [30_000], "exposed_memory_ns": [0], "idle_ns": [35_000],
    }  # fmt: skip


def test_xpu_speaks_of_queues_and_of_no_stream(tmp_path: Path) -> None:
    queues = {"l0 queue": "0x55d0", "sycl queue": "0x55e0"}
    trace = read(
        tmp_path,
        [
            complete("urEnqueueKernelLaunch", "xpu_runtime", 10, 2, correlation=1),
            complete("urEnqueueUSMMemcpy", "xpu_runtime", 20, 2, correlation=2),
            complete("urUSMDeviceAlloc", "xpu_runtime", 30, 2),
            complete("urProgramBuildExp", "xpu_runtime", 35, 2),
            complete("urEventWait", "xpu_runtime", 40, 2),
            complete("zeCommandQueueSynchronize", "xpu_driver", 41, 1),
            without(complete("gemm_kernel", "kernel", 100, 50, pid=0, correlation=1, **queues), "tid"),
            complete("zeCommandListAppendMemoryCopy(M2D)", "gpu_memcpy", 150, 20, pid=0, tid="0x7", correlation=2, bytes=64),
            without(complete("zeCommandListAppendMemoryFill", "gpu_memset", 180, 20, pid=0, correlation=9), "tid"),
        ],
        deviceProperties=[],
    )  # fmt: skip
    assert rows(trace) == [
        ("urEnqueueKernelLaunch", "LAUNCH", -1, None),
        ("urEnqueueUSMMemcpy", "LAUNCH", -1, None),
        ("urUSMDeviceAlloc", "ALLOC", -1, None),
        ("urProgramBuildExp", "COMPILE", -1, None),
        ("urEventWait", "SYNC", -1, None),
        ("zeCommandQueueSynchronize", "SYNC", -1, None),
        ("gemm_kernel", "COMPUTE", 0, "urEnqueueKernelLaunch"),
        ("zeCommandListAppendMemoryCopy(M2D)", "COPY", 0, "urEnqueueUSMMemcpy"),
        ("zeCommandListAppendMemoryFill", "COPY", 0, None),
    ]
    assert (trace.copies.direction, trace.copies.bytes.tolist()) == (("HtoD", "memset"), [64, -1])
    assert trace.info.device == "xpu"


def test_rocm_calls_its_runtime_cuda_and_every_collective_alike(tmp_path: Path) -> None:
    generic, lane = "ncclDevKernel_Generic_1(ncclDevKernelArgsStorage<4096ul>)", {"pid": 2, "kind": "Dispatch Kernel"}
    args = {"n_in": 2, "n_out": 2, "dtype": "Float", "group": "0"}
    trace = read(
        tmp_path,
        [
            launch(1, 1, name="hipExtModuleLaunchKernel"), launch(10, 2, name="hipExtLaunchKernel"),
            launch(20, 3, name="hipMemcpyWithStream"), launch(30, 4, name="hipLaunchKernel"),
            complete("Cijk_Ailk_Bljk_MT128x128x64", "kernel", 50, 10, tid=0, correlation=1, **lane),
            complete(generic, "kernel", 60, 10, tid=3, correlation=2, op="allreduce", **args, **lane),
            complete(generic, "kernel", 70, 10, tid=3, correlation=4, op="recv", src=1, **args, **lane),
            complete("CopyDeviceToHost", "gpu_memcpy", 80, 10, tid=0, pid=2, correlation=3, bytes=8),
        ],
    )  # fmt: skip
    assert [row for row in rows(trace) if row[2] == 2] == [
        ("Cijk_Ailk_Bljk_MT128x128x64", "COMPUTE", 2, "hipExtModuleLaunchKernel"),
        (generic, "COLLECTIVE", 2, "hipExtLaunchKernel"),
        (generic, "P2P", 2, "hipLaunchKernel"),
        ("CopyDeviceToHost", "COPY", 2, "hipMemcpyWithStream"),
    ]
    assert (trace.comm.op, trace.comm.bytes.tolist(), trace.comm.peer.tolist()) == (
        ("all_reduce", "recv"),
        [8, 8],
        [-1, 1],
    )
    assert trace.copies.direction == ("DtoH",)


def test_graph_replays_belong_to_the_step_that_launched_the_graph(tmp_path: Path) -> None:
    events: list[Json] = []
    for number in range(4):
        at = 1000 * number
        events += [*step(number, at, 1000), launch(at + 10, number, name="cudaGraphLaunch")]
        # 300 kernels of 4 us: the replay runs on into the next step.
        events += [kernel("gemm", at + 100 + 4 * place, 4, number) for place in range(300)]
    trace = read(tmp_path, [*events, launch(4000, 99)])
    assert trace.steps.index.tolist() == [1, 2, 3]
    assert trace.steps.end_ns.tolist() == [2_300_000, 3_300_000, 4_300_000]
    on_device = trace.kinds == Kind.COMPUTE
    assert np.bincount(trace.events.step[on_device & (trace.events.step >= 0)]).tolist() == [300, 300, 300]
    assert (trace.events.link[on_device] >= 0).all()


def test_work_without_a_launch_counts_where_it_ran_and_is_said(tmp_path: Path) -> None:
    events: list[Json] = [kernel("gemm", 950, 100, 77)]  # launched before the file begins
    for number in range(3):
        at = 1000 * number
        events += [*step(number, at, 1000), launch(at + 10, 2 * number), launch(at + 20, 2 * number + 1)]
        events += [kernel("gemm", at + 500, 50, 2 * number), kernel("gemm", at + 800, 100, 2 * number + 1)]
    trace = read(tmp_path, [*events, launch(3000, 99)])
    assert trace.steps.start_ns.tolist() == [900_000, 1_900_000]
    assert trace.extra == {"device_events_without_launch": 1}
    assert any(caveat.startswith("1 device activities (0.1 ms) have no launch in the file") for caveat in trace.caveats)
    assert leaves(trace)["compute_ns"] == [250_000, 150_000]


def test_a_host_process_may_have_the_number_of_a_device(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            {**complete("aten::mm", "cpu_op", 10, 20), "pid": 0, "tid": 7},
            {**launch(12, 1), "pid": 0, "tid": 7},
            kernel("gemm", 20, 5, 1, stream=7),
            {**thread_name(7, "thread 7 (python)"), "pid": 0},
        ],
    )
    assert rows(trace) == [
        ("aten::mm", "OP", -1, None),
        ("cudaLaunchKernel", "LAUNCH", -1, None),
        ("gemm", "COMPUTE", 0, "cudaLaunchKernel"),
    ]
    assert len(trace.lanes.device) == 2
    assert trace.events.lane[0] == trace.events.lane[1] != trace.events.lane[2]


def test_steps_and_collectives_that_stand_in_several_categories_count_once(tmp_path: Path) -> None:
    said = {"op": "allreduce", "n_in": 64, "n_out": 64, "dtype": "Float", "group": "0"}
    events: list[Json] = []
    for number in range(3):
        at = 1000 * number
        events += [
            *step(number, at, 900),
            complete("c10d::allreduce_", "cpu_op", at + 100, 60),
            complete("record_param_comms", "cpu_op", at + 110, 40, **said),
            complete("record_param_comms", "cpu_op", at + 111, 38, **said),
            complete("nccl:all_reduce", "user_annotation", at + 112, 36),
            launch(at + 120, number),
            complete("record_param_comms", "cpu_op", at + 170, 5, op="wait", n_in=0, n_out=0, dtype="Float", group="0"),
            complete("nccl:all_reduce", "gpu_user_annotation", at + 300, 200, pid=0, tid=COMM_STREAM),
            kernel("ncclDevKernel_AllReduce_Sum_f32_RING_LL", at + 300, 200, number, stream=COMM_STREAM, **said),
        ]
    trace = read(tmp_path, [*events, launch(3000, 99)])
    assert trace.steps.index.tolist() == [1, 2]
    assert (trace.comm.op, trace.comm.bytes.tolist()) == (("all_reduce",) * 3, [256] * 3)
    assert account(trace).columns["comm_ns"].tolist() == [200_000, 200_000]


@pytest.mark.parametrize(
    ("name", "info", "expected"),
    [
        ("rank-34.Jul_15_10_52_41.1074.pt.trace.json", None, (34, 35, None)),
        ("rank0_trace.json", {"rank": 5}, (5, 6, None)),
        ("worker3_step_12.1694128201557.pt.trace.json", {"backend": "nccl"}, (3, 4, "nccl")),
        ("graph_capture_rank_0.99.pt.trace.json", {"backend": "nccl", "rank": 1, "world_size": 8}, (1, 8, "nccl")),
        (
            "t.json",
            {"backend": "nccl", "rank": 1, "world_size": 2, "pg_count": 1, "pg_config": [], "nccl_version": "2.27.5"},
            (1, 2, "nccl"),
        ),
    ],
)
def test_the_file_says_its_rank_or_else_its_name(
    tmp_path: Path, name: str, info: Any, expected: tuple[int, int, str | None]
) -> None:
    metadata = {} if info is None else {"distributedInfo": info}
    (run,) = find_runs([write_trace(tmp_path / name, [complete("aten::mm", "cpu_op", 1, 1)], **metadata)])
    trace = read_rank(run.ranks[min(run.ranks)])
    assert (trace.rank, trace.info.world_size, trace.info.backend) == expected
    assert run.info.world_size == expected[1]


def test_a_job_on_devices_that_recorded_only_its_host_is_one_of_the_host(tmp_path: Path) -> None:
    trace = read(tmp_path, [complete("aten::mm", "cpu_op", 10, 20)], deviceProperties=[{"name": "A100"}])
    assert (trace.info.device, trace.info.device_name) == ("cpu", None)


@pytest.mark.parametrize(
    ("kernel_name", "op"),
    [
        ("void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>", "all_reduce"),
        ("two_shot_all_reduce_kernel", "all_reduce"),
        ("dpsk::ep::internode::dispatch<true>", "all_to_all"),
        ("oneccl_reducescatter", "reduce_scatter"),
        ("ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)", "unknown"),
    ],
)
def test_kernels_of_other_libraries_say_what_they_do(tmp_path: Path, kernel_name: str, op: str) -> None:
    trace = read(tmp_path, [kernel(kernel_name, 10, 5, 1, stream=COMM_STREAM)])
    assert trace.comm.op == (op,)


def test_every_edge_case_is_accounted_for(foreign_traces: Path) -> None:
    for path in sorted([*(foreign_traces / "kineto/edge").iterdir(), *(foreign_traces / "kineto/sync").iterdir()]):
        (run,) = find_runs([path])
        trace = read_rank(run.ranks[min(run.ranks)])
        table = account(trace)
        names = ("compute_ns", "exposed_comm_ns", "exposed_memory_ns", "idle_ns")
        assert (sum(table.columns[name] for name in names) == table.columns["window_ns"]).all()
        # One file holds a step with communication and no operator: there is no compute to tell from it.
        assert len(table.columns["step"]) or "cpu-only" in path.name
        assert trace.info.device == ("cuda" if trace.has_device else "cpu")
