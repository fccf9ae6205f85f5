"""Which names look like communication, which only seem to, and what a report says of them."""

from pathlib import Path

import pytest

from scaleprof.analyses.account import kernels
from scaleprof.analyses.account.kernels import kernels as kernels_of
from scaleprof.analyses.account.lookalikes import looks_like_communication
from scaleprof.errors import InputError
from scaleprof.readers import find_runs, read_rank
from scaleprof.trace import Kind
from tests.making import STREAM_7, STREAM_20, Event, Made, Step, make_view

ALIKE = [
    "void my_lib::RingSend<float>(float*)",
    "flagos_all_reduce_kernel",
    "void fused::gemm_allreduce_nvls_kernel<8>(x)",
    "MatmulAllReduce",
    "void moe::tokenDispatch<8>(int*)",
    "my_combine_kernel",
    "void flashinfer::trtllm_mnnvl_allreduce::rmsNormLamport<float>(x)",
    "p2pCopyKernel",
    "rdma_put_kernel",
    "peer_exchange",
    "mega_kernel_dispatch_token_moe_grouped_gemm",
]
UNLIKE = [
    "void cub::DeviceReduceByKeyKernel<cub::DispatchReduceByKey<long*>>(long*)",
    "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float>>(x)",
    "void flash::flash_fwd_splitkv_combine_kernel<Flash_fwd_kernel_traits<128>>(x)",
    "triton_red_fused_all_gather_into_tensor_native_layer_norm_wait_tensor_3",
    "void moe_align_block_size_kernel<int>(int*)",
    "aclnnEqTensor_BroadcastToAiCore_BroadcastTo",
    "void cutlass::device_kernel<AllReduce>(x)",
    "softmax_occlusion_kernel",
    "ascend_descend",
    "gemm",
]


@pytest.mark.parametrize("name", ALIKE)
def test_names_like_those_that_communicate(name: str) -> None:
    assert looks_like_communication(name, "compute")
    assert not looks_like_communication(name, "collective")


@pytest.mark.parametrize("name", UNLIKE)
def test_false_friends(name: str) -> None:
    assert not looks_like_communication(name, "compute")


def test_copies_between_devices_that_nothing_ties_to_communication() -> None:
    assert looks_like_communication("Memcpy PtoP (Device -> Device)", "copy")
    assert not looks_like_communication("Memcpy DtoD (Device -> Device)", "copy")


def test_look_alikes_are_listed_with_their_share_of_the_steps() -> None:
    made = Made(
        events=[
            Event(STREAM_7, Kind.COMPUTE, 0, 60, "gemm"),
            Event(STREAM_7, Kind.COMPUTE, 60, 15, "my_all_reduce"),
            Event(STREAM_7, Kind.COMPUTE, 75, 5, "odd_all_to_all"),
            Event(STREAM_20, Kind.COLLECTIVE, 5, 20, "my_all_gather"),
        ],
        steps=[Step(0, 100)],
    )
    result = kernels.conclude(make_view([made]), None)
    assert result is not None
    assert result.tables["lookalikes"]["name"] == ["my_all_reduce", "odd_all_to_all"]
    values = {metric.id: metric.value for metric in result.metrics}
    assert (values["kernels.lookalike_ms"], values["kernels.lookalike_share"]) == (2e-5, 0.2)
    [said] = [caveat for caveat in result.caveats if "look like" in caveat]
    assert said.startswith(
        "2 names (20.0 % of the steps) look like communication and count as compute, the longest `my_all_reduce`: "
    )
    assert "--communication REGEX" in said


def test_real_traces_hold_none(foreign_traces: Path) -> None:
    read = 0
    for folder in ("kineto", "ascend"):
        for run in find_runs([foreign_traces / folder]):
            for files in run.ranks.values():
                try:
                    table = kernels_of(read_rank(files))
                except InputError:
                    continue
                read += 1
                pairs = zip(table["name"], table["kind"], strict=True)
                assert not [name for name, kind in pairs if looks_like_communication(name, kind)], files
    assert read > 20
