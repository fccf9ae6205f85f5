"""Foreign traces to Traces, with the answer on paper, and the headlines of real ones."""

import csv
import json
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaleprof.errors import InputError
from scaleprof.intervals import clip, length, union
from scaleprof.readers import find_runs, read_rank
from scaleprof.run import ProcessGroup, RankFiles
from scaleprof.trace import Kind, Trace
from tests.readers.making import (
    COMM_STREAM,
    WORKER,
    Json,
    c10d_allreduce,
    complete,
    gloo,
    kernel,
    launch,
    rank_of,
    step,
    thread_name,
    write_bytes,
    write_trace,
)

GROUPS = {
    "backend": "nccl",
    "rank": 1,
    "world_size": 2,
    "pg_count": 1,
    "pg_config": [
        {"pg_name": "0", "pg_desc": "default_pg", "backend_config": "cuda:nccl", "pg_size": 2, "ranks": [0, 1]}
    ],
}


def read(tmp_path: Path, events: list[Json], **metadata: Any) -> Trace:
    return read_rank(rank_of(write_trace(tmp_path / "t.json", events, **metadata), rank=1))


def names(trace: Trace) -> list[str]:
    return [trace.names.text[name] for name in trace.events.name]


def test_the_steps_of_a_cut_off_file_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    def window(number: int) -> list[Json]:
        at = 1000 * number
        # As torch writes it: the kernels of all steps stand behind what the host did.
        return [
            *step(number, at, 900),
            launch(at + 10, number),
            kernel("gemm", at + 20, 500, number),
        ]

    whole, cut = write_trace(tmp_path / "a.json", window(1)), write_trace(tmp_path / "b.json", window(3))
    text = cut.read_text()
    cut.write_text(text[: text.index('"gemm"')])
    trace = read_rank(RankFiles(0, "kineto", (whole, cut)))
    assert trace.steps.index.tolist() == [1]
    assert (trace.events.step[trace.events.start_ns >= 3_000_000] == -1).all()
    assert any("any of them may have lost events" in caveat for caveat in trace.caveats)


def test_two_streams_with_launches_metadata_and_copies(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            kernel("ncclDevKernel_Generic", 60, 30, 3, stream=COMM_STREAM, op="allreduce", n_in=256, n_out=256, dtype="Float", group="0", seq=9),
            kernel("ncclDevKernel_Generic", 90, 10, 4, stream=COMM_STREAM, op="send", n_in=4, n_out=4, dtype="Half", group="0", dst=1),
            kernel("ampere_sgemm", 50, 30, 2),
            launch(20, 1, name="cudaMemcpyAsync"), launch(30, 2), launch(40, 3), launch(45, 4),
            complete("Memcpy HtoD (Pageable -> Device)", "gpu_memcpy", 40, 8, pid=0, tid=7, correlation=1, bytes=4096),
            complete("Memset (Device)", "gpu_memset", 49, 1, pid=0, tid=7, correlation=99, bytes=16),
            complete("aten::mm", "cpu_op", 28, 10),
        ],
        distributedInfo=GROUPS, deviceProperties=[{"name": "A100"}], baseTimeNanoseconds=1_000,
    )  # fmt: skip
    assert names(trace)[:4] == ["cudaMemcpyAsync", "aten::mm", "cudaLaunchKernel", "cudaLaunchKernel"]
    assert trace.events.start_ns.tolist() == [us * 1000 + 1000 for us in (20, 28, 30, 40, 40, 45, 49, 50, 60, 90)]
    assert trace.events.link.tolist() == [-1, -1, -1, -1, 0, -1, -1, 2, 3, 5]
    kinds = [Kind(kind).name for kind in trace.kinds]
    assert kinds == ["LAUNCH", "OP", "LAUNCH", "LAUNCH", "COPY", "LAUNCH", "COPY", "COMPUTE", "COLLECTIVE", "P2P"]
    assert trace.comm.row.tolist() == [8, 9]
    assert trace.comm.op == ("all_reduce", "send")
    assert trace.comm.bytes.tolist() == [1024, 8]
    assert trace.comm.issued_ns.tolist() == [41_000, 46_000]
    assert (trace.comm.group, trace.comm.seq.tolist(), trace.comm.peer.tolist()) == (("0", "0"), [9, -1], [-1, 1])
    assert trace.copies.row.tolist() == [4, 6]
    assert trace.copies.direction == ("HtoD", "memset")
    assert trace.copies.pageable.tolist() == [True, False]
    assert trace.copies.bytes.tolist() == [4096, 16]
    assert trace.lanes.device[trace.events.lane].tolist() == [-1, -1, -1, -1, 0, -1, 0, 0, 0, 0]
    assert trace.lanes.stream[trace.events.lane[-1]] == COMM_STREAM
    assert trace.info.process_groups == (ProcessGroup("0", (0, 1), "default_pg", "cuda:nccl"),)
    assert (trace.info.rank, trace.info.world_size, trace.info.device, trace.info.device_name) == (1, 2, "cuda", "A100")
    assert trace.step_source == "whole trace"
    assert trace.steps.windows.start.tolist() == [41_000]
    assert trace.steps.windows.end.tolist() == [101_000]
    assert set(trace.events.step[trace.on_device]) == {0}, "without any step everything on the device counts"


def test_old_nccl_names_take_the_operation_from_the_host(tmp_path: Path) -> None:
    old = "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*, unsigned long, ncclWork*)"
    trace = read(
        tmp_path,
        [
            complete("nccl:all_to_all", "user_annotation", 10, 10),
            launch(12, 1),
            launch(30, 2),
            launch(40, 3),
            kernel(old, 50, 5, 1, stream=COMM_STREAM),
            kernel(old, 60, 5, 2, stream=COMM_STREAM),
            kernel("ncclKernel_AllReduce_RING_LL_Sum_float(ncclDevComm*)", 70, 5, 3, stream=COMM_STREAM),
        ],
    )
    assert trace.comm.op == ("all_to_all", "send_recv", "all_reduce")
    assert trace.comm.bytes.tolist() == [-1, -1, -1]
    assert trace.comm.dtype == ("int8_t", "int8_t", "float")
    assert set(trace.kinds[trace.comm.row]) == {Kind.COLLECTIVE}


def test_metadata_only_on_the_host_side_is_found_by_the_launch(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            complete("record_param_comms", "cpu_op", 10, 10, op="allreduce", n_in=100, n_out=100, dtype="Float", group="0"),
            launch(12, 1),
            kernel("ncclDevKernel_AllReduce_Sum_f32_RING_LL", 50, 5, 1, stream=COMM_STREAM),
        ],
    )  # fmt: skip
    assert (trace.comm.op, trace.comm.bytes.tolist(), trace.comm.group) == (("all_reduce",), [400], ("0",))


def test_peer_copies_on_a_communication_stream_communicate(tmp_path: Path) -> None:
    copy = {"category": "gpu_memcpy", "ts": 50, "dur": 5, "pid": 0}
    trace = read(
        tmp_path,
        [
            kernel("ncclDevKernel_AllGather_RING_LL", 10, 5, 1, stream=COMM_STREAM),
            complete("Memcpy PtoP (Device -> Device)", **copy, tid=COMM_STREAM, bytes=64),
            complete("Memcpy PtoP (Device -> Device)", **copy, tid=7, bytes=64),
        ],
    )
    assert [Kind(kind).name for kind in trace.kinds] == ["COLLECTIVE", "COLLECTIVE", "COPY"]
    assert trace.copies.direction == ("PtoP", "PtoP")


def test_copies_that_communication_started_are_pieces_of_it(tmp_path: Path) -> None:
    def copy(direction: str, ts: int, correlation: int) -> Json:
        name = f"Memcpy {direction} (Device -> Device)"
        return complete(name, "gpu_memcpy", ts, 5, pid=0, tid=7, correlation=correlation, bytes=64 * correlation)

    trace = read(
        tmp_path,
        [
            complete("symm_mem::fused_all_gather_matmul", "cpu_op", 0, 60),
            complete("aten::empty", "cpu_op", 5, 5),
            launch(10, 1, name="cudaMemcpyAsync"),
            launch(20, 2, name="cudaMemcpyAsync"),
            launch(30, 3),
            launch(40, 4),
            complete("aten::copy_", "cpu_op", 70, 20),
            launch(75, 5, name="cudaMemcpyAsync"),
            copy("PtoP", 100, 1),
            copy("DtoD", 110, 2),
            kernel("c10d::symmetric_memory::barrier_kernel(unsigned int**, int)", 120, 5, 3, stream=9),
            kernel("gemm", 130, 5, 4, stream=9),
            copy("PtoP", 140, 5),
        ],
    )
    kinds = [Kind(kind).name for kind, on_device in zip(trace.kinds, trace.on_device, strict=True) if on_device]
    assert kinds == ["COLLECTIVE", "COPY", "COLLECTIVE", "COMPUTE", "COPY"]
    assert (trace.comm.op, trace.comm.bytes.tolist()) == (("copy", "barrier"), [64, 0])


def test_a_kernel_without_words_takes_its_operation_from_symmetric_memory(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            complete("symm_mem::one_shot_all_reduce", "cpu_op", 0, 60),
            complete("symm_mem::inner", "cpu_op", 5, 2),
            launch(10, 1),
            kernel("void my_unsaid<4>(int)", 100, 5, 1),
        ],
    )
    assert not len(trace.comm.row), "a kernel of no family computes, wherever it was started"
    trace = read_rank(rank_of(tmp_path / "t.json"), ("unsaid",))
    assert trace.comm.op == ("all_reduce",)


def test_spans_of_mpi_and_of_the_users_run_on_the_host(tmp_path: Path) -> None:
    events = [
        complete("mpi:all_reduce", "user_annotation", 10, 40, dims=[[100]], types=["float"], values=[""]),
        complete("MPI_Bcast", "user_annotation", 60, 10),
        complete("my_exchange", "user_annotation", 80, 20),
        complete("aten::mm", "cpu_op", 110, 10),
    ]
    trace = read(tmp_path, events)
    assert (trace.comm.op, trace.comm.bytes.tolist()) == (("all_reduce", "broadcast"), [400, -1])
    own = read_rank(rank_of(tmp_path / "t.json"), ("my_exchange",))
    assert [Kind(kind).name for kind in own.kinds] == ["COLLECTIVE", "COLLECTIVE", "COLLECTIVE", "OP"]
    assert own.comm.op == ("all_reduce", "broadcast", "my_exchange")


def test_one_graph_launch_owns_all_its_kernels(tmp_path: Path) -> None:
    kernels = [kernel("gemm", 20 + 2 * number, 1, 7) for number in range(300)]
    trace = read(tmp_path, [launch(1, 7, name="cudaGraphLaunch"), *kernels])
    assert trace.events.link.tolist() == [-1] + [0] * 300


def test_correlations_of_operators_launch_nothing(tmp_path: Path) -> None:
    trace = read(tmp_path, [complete("aten::mm", "cpu_op", 1, 1, correlation=7), kernel("gemm", 5, 1, 7)])
    assert trace.events.link.tolist() == [-1, -1]


def test_mirrors_and_stream_waits_are_never_busy(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            *step(1, 0, 100),
            complete("Stream Synchronize", "cuda_sync", 5, 90, pid=0, tid=7, correlation=1),
            complete("nccl:all_reduce", "gpu_user_annotation", 5, 90, pid=0, tid=20),
            kernel("gemm", 10, 5, 2),
            launch(1, 2),
        ],
    )
    busy = np.isin(trace.kinds, (Kind.COMPUTE, Kind.COLLECTIVE, Kind.P2P, Kind.COPY))
    assert names(trace)[int(np.flatnonzero(busy)[0])] == "gemm"
    assert busy.sum() == 1
    assert len(trace.steps) == 1


def test_gloo_on_the_cpu(tmp_path: Path) -> None:
    group = {**GROUPS, "backend": "gloo"}
    trace = read(
        tmp_path,
        [
            complete("ProfilerStep#3", "user_annotation", 0, 100), complete("ProfilerStep#4", "user_annotation", 102, 100),
            c10d_allreduce(10, 1000), c10d_allreduce(20, 10), c10d_allreduce(120, 1000), c10d_allreduce(190, 5),
            gloo("all_reduce", 16, 50, 1000), gloo("all_reduce", 25, 5, 10, tid=WORKER + 1), gloo("all_reduce", 130, 40, 1000),
            thread_name(WORKER, "thread 200 (pt_gloo_runloop)"),
        ],
        distributedInfo=group, deviceProperties=[],
    )  # fmt: skip
    assert trace.comm.op == ("all_reduce",) * 4
    assert trace.comm.bytes.tolist() == [4000, 40, 4000, -1]
    assert trace.comm.issued_ns.tolist() == [10_000, 20_000, 120_000, 190_000]
    starts = [int(trace.events.start_ns[row]) if row >= 0 else None for row in trace.comm.row]
    assert starts == [16_000, 25_000, 130_000, None]
    assert trace.comm.group == ("0",) * 4
    assert trace.lanes.label[trace.events.lane[trace.comm.row[0]]] == "thread 200 (pt_gloo_runloop)"
    assert trace.steps.index.tolist() == [3, 4]
    assert trace.steps.start_ns.tolist() == [0, 102_000]
    assert trace.steps.end_ns.tolist() == [102_000, 202_000]
    assert (trace.info.device, trace.step_source) == ("cpu", "annotations")


SEED = json.dumps(
    {
        "schemaVersion": 1,
        "distributedInfo": GROUPS,
        "traceEvents": [
            *step(1, 0, 50), *step(2, 50, 50), launch(1, 7), launch(2, 8), kernel("gemm", 5, 10, 7), kernel("gemm", 16, 10, 8),
            launch(61, 17), kernel("ncclDevKernel_Generic", 70, 9, 17, op="allreduce", n_in=8, n_out=8, dtype="Float", group="0", dst=1),
            c10d_allreduce(3, 9), gloo("all_reduce", 8, 4, 9), thread_name(WORKER, "w"),
            complete("Memcpy DtoH (Device -> Pageable)", "gpu_memcpy", 80, 2, pid=0, tid="stream 3", correlation=17, bytes=5),
        ],
        "baseTimeNanoseconds": 1_700_000_000_000_000_000,
    }
)  # fmt: skip
NUMBERS = re.compile(r"(?<=: )-?\d+")
HOSTILE = [
    "1e999",
    "-1",
    "99999999999999999999",
    "9223372036854775807",
    "4611686018427387903",
    '"x"',
    "null",
    "[]",
    "{}",
    "true",
    "0.0001",
    "NaN",
]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_hostile_files_are_read_or_refused_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = SEED
    for _ in range(data.draw(st.integers(1, 3))):
        places = [found.span() for found in NUMBERS.finditer(text)]
        start, end = data.draw(st.sampled_from(places))
        text = text[:start] + data.draw(st.sampled_from(HOSTILE)) + text[end:]
    content = bytearray(text.encode())
    for _ in range(data.draw(st.integers(0, 2))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = write_bytes(tmp_path_factory.mktemp("hostile") / "rank0.json", bytes(content), gz=False)
    with suppress(InputError):
        (run,) = find_runs([path])
        read_rank(run.ranks[min(run.ranks)])


def busy_ms(trace: Trace) -> float:
    rows = np.isin(trace.kinds, (1, 2, 3, 4)) & trace.on_device & (trace.events.step >= 0)
    window = trace.steps.windows
    return length(clip(union(trace.events.spans(rows)), int(window.start[0]), int(window.end[-1]))) / 1e6


def test_dlrm_has_eight_collectives_a_rank(foreign_traces: Path) -> None:
    total_us = 0
    for rank, path in enumerate(sorted((foreign_traces / "kineto/dlrm-8xv100").glob("*.json.gz"))):
        trace = read_rank(rank_of(path, rank=rank))
        assert trace.step_source == "lone step"
        assert Counter(trace.comm.op) == {"all_to_all": 5, "all_reduce": 3}
        assert set(trace.lanes.stream[trace.events.lane[trace.comm.row]]) == {84}
        assert trace.extra.get("device_events_without_launch", 0) == (64 if rank in (1, 3) else 0)
        assert trace.names.by_rule.all()
        total_us += int(trace.events.dur_ns[trace.comm.row].sum()) // 1000
    assert total_us / 1000 == pytest.approx(48.5, abs=0.05)


def test_vendor_pairs_agree_with_the_other_tools_own_answer(foreign_traces: Path) -> None:
    answers = sorted((foreign_traces / "kineto/vendor-pairs").glob("*/*.gpu_timeline.csv"))
    assert len(answers) == 6
    for answer in answers:
        with answer.open() as file:
            times = {row["type"]: float(row["time ms"]) for row in csv.DictReader(file)}
        trace = read_rank(rank_of(answer.with_name(answer.name.replace(".gpu_timeline.csv", ".json.gz"))))
        window = trace.steps.windows
        assert (int(window.end[0]) - int(window.start[0])) / 1e6 == pytest.approx(times["total_time"], rel=1e-6)
        assert busy_ms(trace) == pytest.approx(times["busy_time"], rel=2e-5)
        assert trace.names.by_rule.all()


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("ddp", {("all_reduce", 540_672): 2}),
        ("ddp_fp16", {("all_reduce", 270_336): 2}),
        ("fsdp2", {("all_gather", 199_936): 8, ("all_gather", 140_800): 2, ("reduce_scatter", 199_936): 4, ("reduce_scatter", 140_800): 2}),
        ("pp_gpipe", {("send", 16_384): 8, ("recv", 16_384): 8}),
        ("zero1", {("all_reduce", 540_672): 2, ("broadcast", 256): 40,
                    ("broadcast", 1024): 6, ("broadcast", 8192): 2, ("broadcast", 16_384): 16, ("broadcast", 65_536): 12}),
        ("single", {}),
    ],
)  # fmt: skip
def test_strategies_issue_what_they_issue(foreign_traces: Path, strategy: str, expected: dict[Any, int]) -> None:
    trace = read_rank(rank_of(foreign_traces / f"torch_gloo/strategies/{strategy}_w2/rank0.plain.json.gz"))
    assert Counter(zip(trace.comm.op, trace.comm.bytes.tolist(), strict=True)) == expected
    assert (trace.comm.row >= 0).all() and (trace.comm.issued_ns >= 0).all(), "every span has its operator"
    assert trace.steps.index.tolist() == [2, 3]


def test_every_foreign_file_becomes_a_trace(foreign_traces: Path) -> None:
    for path in sorted((foreign_traces / "kineto").rglob("*.json*")):
        trace = read_rank(rank_of(path))
        assert len(trace.events) and len(trace.steps), path.name
