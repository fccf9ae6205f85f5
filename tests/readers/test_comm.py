"""Which collectives, how many bytes, and which span belongs to what was issued."""

import msgspec
import pytest

from scaleprof.intervals import spans
from scaleprof.readers.base import CommNote
from scaleprof.readers.comm import Issued, _dtype_in, element_bytes, large_side, match_spans, op_of
from scaleprof.readers.schema import Arguments, note_of

OPS = {
    "all_reduce": ("nccl:all_reduce", "c10d::allreduce_", "AllReduce", "gloo:all_reduce", "allreduce_coalesced"),
    "all_gather": ("_allgather_base", "c10d::allgather_into_tensor_coalesced_", "nccl:_all_gather_base", "AllGather"),
    "reduce_scatter": ("c10d::_reduce_scatter_base_", "reduce_scatter_tensor_coalesced", "ReduceScatter"),
    "all_to_all": ("nccl:all_to_all", "c10d::alltoall_base_", "all_to_allv"),
    "send_recv": ("SendRecv",),
    "broadcast": ("c10d::broadcast_", "Broadcast"),
    "reduce": ("c10d::reduce_",),
    "gather": ("c10d::gather_",),
    "scatter": ("c10d::scatter_",),
    "barrier": ("gloo:barrier",),
    "send": ("c10d::send", "gloo:send"),
    "recv": ("c10d::recv_", "recv_any_source"),
    "wait": ("wait",),
}


@pytest.mark.parametrize(("op", "text"), [(op, text) for op, texts in OPS.items() for text in texts])
def test_every_spelling_is_one_word(op: str, text: str) -> None:
    assert op_of(text) == op


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("Float", 4), ("float", 4), ("c10::BFloat16", 2), ("c10::Half", 2), ("Long", 8), ("long int", 8), ("Byte", 1),
     ("unsigned char", 1), ("Float8_e4m3fn", 1), ("int8_t", 1), ("Bool", 1), ("double", 8), ("", -1), ("Mystery", -1)],
)  # fmt: skip
def test_types_have_sizes(dtype: str, size: int) -> None:
    assert element_bytes(dtype) == size


@pytest.mark.parametrize(
    ("op", "note", "expected"),
    [
        ("all_reduce", CommNote(in_elements=10, out_elements=10, dtype="Float"), 40),
        ("all_gather", CommNote(in_elements=10, out_elements=80, dtype="BFloat16"), 160),
        ("all_gather", CommNote(in_elements=10, dtype="BFloat16", group_size=8), 160),
        ("all_gather", CommNote(in_elements=10, dtype="BFloat16"), -1),
        ("reduce_scatter", CommNote(in_elements=80, out_elements=10, dtype="Float"), 320),
        ("all_to_all", CommNote(in_elements=10, out_elements=30, dtype="Float"), 40),
        ("send", CommNote(in_elements=10, dtype="Float"), 40),
        ("barrier", CommNote(), 0),
        ("all_reduce", CommNote(in_elements=10), -1),
        ("all_reduce", CommNote(dtype="Float"), -1),
    ],
)
def test_bytes_are_those_of_the_large_side(op: str, note: CommNote, expected: int) -> None:
    assert large_side(op, note) == expected


def all_reduce(time_ns: int, elements: int = 8) -> Issued:
    return Issued(time_ns, "all_reduce", elements)


def test_equal_collectives_run_in_the_order_issued() -> None:
    issued = [all_reduce(0), all_reduce(10), all_reduce(20)]
    assert match_spans(issued, [(5_000, "all_reduce", 8), (6_000, "all_reduce", 8), (7_000, "all_reduce", 8)]) == [
        0,
        1,
        2,
    ]


def test_two_workers_let_sizes_overtake_each_other() -> None:
    issued = [all_reduce(0, 100), all_reduce(10, 5), all_reduce(20, 100)]
    assert match_spans(issued, [(50, "all_reduce", 5), (60, "all_reduce", 100), (70, "all_reduce", 100)]) == [1, 0, 2]


def test_a_span_never_precedes_its_issue() -> None:
    issued = [all_reduce(100_000), all_reduce(200_000)]
    assert match_spans(issued, [(50_000, "all_reduce", 8), (150_000, "all_reduce", 8)]) == [-1, 0]


def test_what_was_issued_before_a_window_did_not_run_in_it() -> None:
    issued = [all_reduce(0), all_reduce(10), all_reduce(1_000), all_reduce(2_000), all_reduce(2_500)]
    since = spans([(900, 0), (1_900, 0)]).start
    found = match_spans(issued, [(1_500, "all_reduce", 8), (2_600, "all_reduce", 8), (2_700, "all_reduce", 8)], since)
    assert found == [2, 3, 4]


def test_gloo_runs_a_reduce_scatter_as_an_all_reduce() -> None:
    assert match_spans([Issued(0, "reduce_scatter", 8)], [(5, "all_reduce", 8)]) == [0]


def test_without_sizes_the_order_decides() -> None:
    issued = [Issued(0, "barrier", 1), Issued(5, "scatter", 8), all_reduce(10)]
    assert match_spans(issued, [(20, "barrier", -1), (30, "scatter", 16), (40, "all_reduce", -1)]) == [0, 1, 2]


def test_other_operations_are_not_mixed_up() -> None:
    assert match_spans([all_reduce(0)], [(5, "broadcast", 8)]) == [-1]
    assert match_spans([], [(5, "broadcast", 8)]) == [-1]


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [
        ("ncclKernel_AllReduce_RING_LL_Sum_float(ncclDevComm*)", "float"),
        ("ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*)", "int8_t"),
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "float32"),
        ("ncclDevKernel_AllReduce_Sum_bf16_TREE_LL(ncclDevKernelArgsStorage<4096ul>)", "bfloat16"),
        ("ncclAllReduceRingLLKernel_sum_f16(ncclColl)", "float16"),
        ("ncclSymkDevKernel_AllReduce_AGxLL_R_sum_f32", "float32"),
        ("ncclDevKernel_Generic(ncclDevComm*)", ""),
    ],
)
def test_a_kernel_of_nccl_says_its_type(kernel: str, dtype: str) -> None:
    assert _dtype_in(kernel) == dtype


def test_a_communicator_stands_for_a_group_that_has_no_name() -> None:
    unnamed = Arguments(collective="allreduce", communicator=10159970886766084423)
    assert note_of("record_param_comms", unnamed).group == "communicator 10159970886766084423"
    named = Arguments(collective="allreduce", communicator=7, group="3")
    assert note_of("record_param_comms", named).group == "3"


def test_the_span_around_a_launch_shows_its_tensors() -> None:
    shown = Arguments(shapes=msgspec.Raw(b"[[394241]]"), types=msgspec.Raw(b'["float"]'))
    note = note_of("nccl:all_reduce", shown)
    assert (note.in_elements, note.dtype, large_side("all_reduce", note)) == (394_241, "float", 1_576_964)
