"""The operations of a timeline: fused ones once, with their bytes, in rounds."""

from collections import Counter
from pathlib import Path

import pytest

from tests.readers.making import Json
from tests.readers.making_timelines import START_US, begin, end, negotiation, operation, read, rows_of


def test_streams_that_overlap_are_not_one_operation(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        # One background thread begins both, then a thread per stream tells what became of each.
        [begin("ALLREDUCE", 10, 1), begin("ALLREDUCE", 11, 2)],
        [begin("QUEUE", 12, 1), end(13, 1), begin("NCCL_ALLREDUCE", 14, 1)],
        [begin("QUEUE", 15, 2), end(16, 2), begin("NCCL_ALLREDUCE", 17, 2)],
        [end(50, 1), end(51, 2), end(52, 1, "[8]"), end(53, 2, "[16]")],
    )
    assert rows_of(trace, "collective") == [("NCCL_ALLREDUCE", 14, 36), ("NCCL_ALLREDUCE", 17, 34)]
    assert trace.comm.bytes.tolist() == [32, 64]
    assert (trace.info.backend, trace.info.device) == ("nccl", "cuda")


def test_one_after_the_other_is_not_fused(tmp_path: Path) -> None:
    wire = ("GLOO_ALLREDUCE",)
    trace = read(tmp_path, operation(100, {1: "[8]"}, activities=wire), operation(131, {2: "[8]"}, activities=wire))
    assert trace.comm.bytes.tolist() == [32, 32]


def test_a_hierarchical_operation_is_on_the_wire_from_first_to_last(tmp_path: Path) -> None:
    way = ("NCCL_REDUCESCATTER", "MEMCPY_IN_HOST_BUFFER", "MPI_ALLREDUCE", "MEMCPY_OUT_HOST_BUFFER", "NCCL_ALLGATHER")
    trace = read(tmp_path, operation(100, {1: "[8]"}, activities=way))
    assert rows_of(trace, "collective") == [("NCCL_REDUCESCATTER+MPI_ALLREDUCE+NCCL_ALLGATHER", 110, 90)]
    assert [name for name, _, _ in rows_of(trace, "activity")] == [way[1], way[3]]


@pytest.mark.parametrize(
    ("op", "dtype", "shape", "expected"),
    [
        ("ALLREDUCE", "float16", "[512, 256]", ("all_reduce", 262_144)),
        ("ALLREDUCE", "int64", "[]", ("all_reduce", 8)),
        ("ALLGATHER", "float32", "[6, 2]", ("all_gather", 48)),
        ("BROADCAST", "float32", None, ("broadcast", -1)),
        ("BROADCAST", "uint8", "[0, 3]", ("broadcast", 0)),
        ("REDUCESCATTER", "float32", "[6]", ("reduce_scatter", -1)),
        ("ALLTOALL", "float32", "[6]", ("all_to_all", 24)),
        ("ADASUM", "float64", "[6]", ("adasum", 48)),
        ("BARRIER", "", None, ("barrier", 0)),
        ("ALLREDUCE", "float3", "[6]", ("all_reduce", -1)),
        ("ALLREDUCE", "float32", "6", ("all_reduce", -1)),
        ("ALLREDUCE", "float32", "[4611686018427387904, 4]", ("all_reduce", -1)),
    ],
)
def test_bytes_are_those_of_the_large_side_or_unknown(
    tmp_path: Path, op: str, dtype: str, shape: str | None, expected: tuple[str, int]
) -> None:
    trace = read(tmp_path, operation(100, {1: shape}, op=op, activities=(), dtype=dtype))
    assert (trace.comm.op[0], int(trace.comm.bytes[0])) == expected
    assert rows_of(trace, "collective") == [(op, 100, 10)], "without an activity the whole operation stands for it"
    said = f"the sizes of 1 of 1 operations are not in the timeline (1 {expected[0]})"
    assert (said in trace.caveats) == (expected[1] < 0)


def test_a_round_of_the_same_tensors_is_a_step(tmp_path: Path) -> None:
    def one(at: int) -> list[Json]:
        metric = operation(at + 300, {7: "[]"}, activities=()), operation(at + 350, {7: "[]"}, activities=())
        fused = [*negotiation(at, 50, 2), *operation(at + 100, {1: "[4]"}), *operation(at + 200, {2: "[2]", 3: "[1]"})]
        return [*fused, *metric[0], *metric[1], {"ph": "i", "name": "CYCLE_START", "ts": at + 900, "s": "g"}]

    start = operation(0, {4: None, 5: None}, op="BROADCAST")
    trace = read(tmp_path, start, one(1000), one(2000), one(3500))
    steps = trace.steps
    assert trace.step_source == "rounds"
    assert (steps.start_ns // 1000 - START_US).tolist() == [1000, 2000, 3500]
    assert (steps.end_ns // 1000 - START_US).tolist() == [2000, 3500, 3860], "the last one ends with its last operation"
    assert steps.perturbed.tolist() == [False, False, True], "so how long it would have lasted is not known"
    assert not steps.profiled.any()
    of_step = Counter(trace.events.step[trace.comm.row].tolist())
    assert of_step == {-1: 1, 0: 4, 1: 4, 2: 4}
    bytes = [int(trace.comm.bytes[trace.events.step[trace.comm.row] == step].sum()) for step in range(3)]
    assert bytes == [4 * (4 + 3 + 2)] * 3
