"""Names of kernels and spans as the libraries' sources and published profiles have them, the family of each and the operation it says."""

import re
import time

import pytest

from scaleprof.readers.comm import _op_in as op_in
from scaleprof.readers.families import FAMILIES, MOST_LETTERS, bare_name, family_of, is_own
from scaleprof.readers.rules import kind_of
from scaleprof.trace import Kind

NCCL, EXPERTS, SYMMETRIC = "NCCL and RCCL", "expert parallelism", "symmetric memory of PyTorch"
BUFFERS, CUSTOM = "user buffers of TransformerEngine", "custom all-reduces"
KERNELS = [
    # NCCL, oldest first, and RCCL, which keeps its names.
    (NCCL, "all_reduce", "ncclAllReduceRingLLKernel_sum_f32(ncclColl)"),
    (NCCL, "broadcast", "ncclBroadcastRingLLKernel_copy_i8(ncclColl)"),
    (NCCL, "all_reduce", "ncclKernel_AllReduce_RING_LL_Sum_float(ncclDevComm*, unsigned long, ncclWork*)"),
    (NCCL, "all_gather", "ncclKernel_AllGather_RING_LL_Sum_int8_t(ncclWork)"),
    (NCCL, "send_recv", "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*, unsigned long, ncclWork*)"),
    (NCCL, "all_reduce", "ncclDevKernel_AllReduce_Sum_bf16_TREE_LL(ncclDevKernelArgsStorage<4096ul>)"),
    (NCCL, "reduce_scatter", "ncclDevKernel_ReduceScatter_Sum_f32_RING_LL(ncclDevComm*, unsigned long, ncclWork*)"),
    (NCCL, "reduce", "ncclDevKernel_Reduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"),
    (NCCL, "broadcast", "ncclDevKernel_Broadcast_RING_LL(ncclDevKernelArgsStorage<(unsigned long)4096>)"),
    (NCCL, "send_recv", "ncclDevKernel_SendRecv(ncclDevComm *, unsigned long, ncclWork *)"),
    (NCCL, "all_reduce", "ncclSymkDevKernel_AllReduce_RSxLDMC_AGxSTMC_sum_bf16(ncclSymkDevWorkArgs4K)"),
    (NCCL, "reduce_scatter", "ncclSymkDevKernel_ReduceScatter_LL_sum_f8e4m3(ncclSymkDevWorkArgs4K)"),
    (NCCL, "all_gather", "ncclSymkDevKernel_AllGather_STMC"),
    (NCCL, "all_to_all", "void ncclKernelAllToAllv<float>(int*, CtranAlgoDeviceState*, ctran::alltoallv::KernelArgs)"),
    (NCCL, "unknown", "ncclDevKernel_Generic(ncclDevComm*, channelMasks, ncclWork*)"),
    (NCCL, "unknown", "ncclDevKernel_Generic_1(ncclDevKernelArgsStorage<4096ul>)"),
    (NCCL, "unknown", "mscclKernel_Sum_half_Simple_false(ncclDevComm*, mscclAlgo*, mscclWork*)"),
    ("HCCL", "all_reduce", "hcom_allReduce__868_0_1"),
    ("HCCL", "reduce_scatter", "hcom_reduceScatter__511_1_1"),
    ("HCCL", "send_recv", "hcom_batchSendRecv__128_5_1"),
    ("HCCL", "recv", "hcom_receive__128_5_1"),
    ("HCCL", "all_gather", "aiv_all_gather_bfloat16_t"),
    ("HCCL", "all_to_all", "aclnnMoeDistributeDispatchV2_MoeDistributeDispatchV2_MoeDistributeDispatchV2"),
    ("oneCCL", "all_reduce", "oneccl_allreduce_pcie<sycl::half, Rt64_128_PCIE, RingTransmit>"),
    ("oneCCL", "all_gather", "oneccl_allgatherv_pcie<sycl::half>"),
    ("oneCCL", "reduce_scatter", "oneccl_reduce_scatter_large_read<float, 8, 4>"),
    ("MSCCL++", "all_reduce", "void mscclpp::collective::allreducePacket<float>(float*)"),
    ("MSCCL++", "all_gather", "mscclpp::collective::allgatherFullmesh2"),
    # DeepEP and its kin.
    (EXPERTS, "all_to_all", "void deep_ep::internode_ll::dispatch<true, 3, 10, 7168>(void*, float*, int*, long*)"),
    (EXPERTS, "all_to_all", "void deep_ep::internode_ll::combine<(bool)0, (int)6144, (int)11, (int)4>(void *, void *)"),
    (EXPERTS, "all_to_all", "void deep_ep::intranode::dispatch<8, 768, 8192>(int4*, float*)"),
    (EXPERTS, "barrier", "deep_ep::intranode::cached_notify_combine<8>"),
    (EXPERTS, "barrier", "void deep_ep::intranode::notify_dispatch<2>(int const*, int*)"),
    (EXPERTS, "barrier", "void deep_ep::internode_ll::clean_low_latency_buffer<1024>(int*, int)"),
    (EXPERTS, "layout", "void deep_ep::layout::get_dispatch_layout<256, 4, 8>(long const*, int*)"),
    (EXPERTS, "all_to_all", "void dpsk::ep::internode::dispatch<...>"),
    (EXPERTS, "all_to_all", "void uccl::internode_ll::dispatch<true>(void*)"),
    (EXPERTS, "all_to_all", "void primus_turbo::deep_ep::intranode::combine<__nv_bfloat16, 8>(__nv_bfloat16*)"),
    (EXPERTS, "all_to_all", "void hybrid_ep::dispatch_kernel<unsigned char>(hybrid_ep::dispatch_kernel_param_t<unsigned char>)"),
    (EXPERTS, "all_to_all", "hybrid_ep::combine_kernel"),
    (EXPERTS, "barrier", "hybrid_ep::device_sync_kernel"),
    (EXPERTS, "all_to_all", "void tensorrt_llm::kernels::moe_comm::moeA2ADispatchKernel<8, false>(int const*)"),
    (EXPERTS, "all_to_all", "void tensorrt_llm::kernels::moe_comm::moeA2ACombineKernel<__nv_bfloat16>(int)"),
    (EXPERTS, "all_to_all", "moeAllToAllKernel"),
    (EXPERTS, "all_to_all", "EpDispatchIntraNodeKernel_bf16"),
    (EXPERTS, "all_to_all", "void a2a_kernels::a2a_dispatch_send_kernel<16, 8>(unsigned long)"),
    (EXPERTS, "all_to_all", "a2a_combine_recv_kernel"),
    (EXPERTS, "all_to_all", "kernel_dispatch_token_intra_node"),
    (EXPERTS, "all_to_all", "dlslime::intranode_alltoall_kernel"),
    ("NVSHMEM", "barrier", "void barrier_on_stream_kernel_threadgroup<(threadgroup_t)1>(int, int)"),
    ("NVSHMEM", "all_to_all", "nvshmemi_alltoall_kernel"),
    (SYMMETRIC, "all_reduce", "void multimem_all_reduce_kernel<c10::BFloat16, 16>(c10::BFloat16*, unsigned long)"),
    (SYMMETRIC, "all_reduce", "void multimem_one_shot_reduce_kernel<float, 16>(float*, float*)"),
    (SYMMETRIC, "all_reduce", "inkling_multimem_one_shot_fused_kernel"),
    (SYMMETRIC, "all_gather", "_multimem_all_gather_kernel"),
    (SYMMETRIC, "barrier", "c10d::symmetric_memory::barrier_kernel(unsigned int**, int, int, int, unsigned long)"),
    (SYMMETRIC, "unknown", "(anonymous namespace)::put_signal_kernel(unsigned int**, int)"),
    (SYMMETRIC, "all_to_all", "void exchangeSplitAndOffset_2d<true>(long*, long*)"),
    (SYMMETRIC, "all_to_all", "allToAllV(void*, void*, long*, unsigned long)"),
    (BUFFERS, "all_gather", "void userbuffers_fp16_sum_inplace_gpu_rw_ag<8>(int, int)"),
    (BUFFERS, "reduce_scatter", "void userbuffers_fp16_sum_inplace_gpu_rr_rs_oop<8>(int, int)"),
    (BUFFERS, "all_reduce", "void userbuffers_fp16_sum_inplace_gpu_rw<8>(int, int)"),
    (BUFFERS, "send_recv", "kuserbuffers_pushrecv(int, int, int, int, int*)"),
    (CUSTOM, "all_reduce", "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>(vllm::RankData*)"),
    (CUSTOM, "all_reduce", "aiter::cross_device_reduce_2stage<bf16,8,false>"),
    (CUSTOM, "reduce_scatter", "aiter::reduce_scatter_cross_device_store<bf16, 4>"),
    (CUSTOM, "all_reduce", "quickreduce::allreduce_prototype_twoshot<AllReduceTwoshot<__half, CodecQ4<__half,4>, true>, __half>"),
    (CUSTOM, "all_reduce", "void tensorrt_llm::oneShotAllReduceKernel<__half, (int)8>(tensorrt_llm::AllReduceParams)"),
    (CUSTOM, "all_reduce", "void lowPrecisionTwoShotAllReduceKernel<8>(int)"),
    (CUSTOM, "all_reduce", "void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport<(AllReduceFusionPattern)1>(x)"),
    (CUSTOM, "all_reduce", "void flashinfer::trtllm_mnnvl_allreduce::twoshotAllreduceKernel<(unsigned char)4, __nv_bfloat16, true>(x)"),
    (CUSTOM, "all_reduce", "two_shot_all_reduce_kernel"),
    (CUSTOM, "all_reduce", "allreduce_two_shot_multimem_intra_node_kernel"),
    (CUSTOM, "all_reduce", "pcclKernel_twoShotAllReduceKernel"),
    (CUSTOM, "all_gather", "persistent_all_gather"),
]  # fmt: skip

COMPUTE = [
    "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float>>(at::native::ReduceOp<float>)",
    "void at::native::_scatter_gather_elementwise_kernel<128, 4>(int)",
    "void at::native::(anonymous namespace)::indexSelectLargeIndex<float>(int)",
    "void cub::DeviceReduceByKeyKernel<cub::DispatchReduceByKey<long*, long*>::Policy>(long*)",
    "void cub::DeviceRadixSortExclusiveSumKernel<cub::DispatchRadixSort<false, int>>(int*)",
    "triton_red_fused_all_gather_into_tensor_native_layer_norm_wait_tensor_3",
    "triton_poi_fused_all_reduce_add_0",
    "void flash::flash_fwd_splitkv_combine_kernel<Flash_fwd_kernel_traits<128, 64>>(Flash_fwd_params)",
    "flash_fwd_mla_combine_kernel",
    "void vllm::moe::moe_align_block_size_kernel<int>(int const*, int*)",
    "void permute_kernel<float>(float*)",
    "aclnnEqTensor_BroadcastToAiCore_BroadcastTo",
    "void cudnn::bn_fw_tr_1C11_kernel_NCHW<float>",
    "aiter::local_device_load_rmsnorm<bf16, 512, 2>",
    "void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<AllReduce>>(x)",
    "void my::softmax<ncclDevKernel_AllReduce>(int)",
]


@pytest.mark.parametrize(("family", "op", "name"), KERNELS)
def test_a_kernel_of_a_library_communicates_and_says_what(family: str, op: str, name: str) -> None:
    found = family_of(name)
    assert (found.name if found else "", op_in(name)) == (family, op)
    assert kind_of("kernel", name) == (Kind.COLLECTIVE, True)


@pytest.mark.parametrize("name", COMPUTE)
def test_false_friends_compute(name: str) -> None:
    assert family_of(name) is None
    assert kind_of("kernel", name)[0] == Kind.COMPUTE


def test_a_matrix_product_that_communicates_counts_as_the_product() -> None:
    for name in ("void mscclpp::megamoe::detail::megaMoe<false>()", "mega_kernel_dispatch_token_moe_grouped_gemm"):
        assert kind_of("kernel", name)[0] == Kind.COMPUTE


@pytest.mark.parametrize(
    ("name", "annotation", "operator"),
    [
        ("gloo:all_reduce", Kind.COLLECTIVE, Kind.COLLECTIVE),
        ("gloo:recv", Kind.P2P, Kind.P2P),
        ("mpi:all_reduce", Kind.COLLECTIVE, Kind.COLLECTIVE),
        ("mpi:send", Kind.P2P, Kind.P2P),
        ("MPI_Allreduce", Kind.COLLECTIVE, Kind.COLLECTIVE),
        ("MPI_Bcast", Kind.COLLECTIVE, Kind.COLLECTIVE),
        ("MPI_Sendrecv", Kind.P2P, Kind.P2P),
        ("MPI_Ssend", Kind.P2P, Kind.P2P),
        ("MPI_Iallreduce", Kind.OTHER, Kind.LAUNCH),
        ("MPI_Isend", Kind.OTHER, Kind.LAUNCH),
        ("MPI_Waitall", Kind.WAIT, Kind.WAIT),
        ("MPI_Init", Kind.PHASE, Kind.OP),
        ("nccl:all_reduce", Kind.OTHER, Kind.OTHER),
    ],
)
def test_spans_on_the_host(name: str, annotation: Kind, operator: Kind) -> None:
    assert kind_of("user_annotation", name) == (annotation, True)
    assert kind_of("cpu_op", name) == (operator, True)


def test_every_family_has_a_name_of_its_own_and_a_test() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert {family.name for family in FAMILIES if family.kernels} == {family for family, _, _ in KERNELS}


def test_a_bare_name_is_without_types_and_parameters() -> None:
    assert bare_name("void (anonymous namespace)::f::g<int>(int)") == "f::g"
    assert bare_name("hcom_allReduce__868_0_1") == "hcom_allReduce__868_0_1"
    assert bare_name("<lambda>") == "<lambda>"


def test_a_pattern_of_the_users_meets_no_more_than_the_beginning_of_a_long_name() -> None:
    name = "x" * MOST_LETTERS + "exchange"
    assert not is_own(name, ("exchange",))
    assert is_own(name[8:], ("exchan", "nothing"))
    begun = time.perf_counter()
    kind_of("kernel", "nccl" * 1_000_000)
    assert time.perf_counter() - begun < 1


def test_the_users_patterns_come_before_the_rules_and_after_metadata() -> None:
    own = ("(?i)sgemm",)
    assert kind_of("kernel", "ampere_sgemm", own=own) == (Kind.COLLECTIVE, True)
    assert kind_of("gpu_memcpy", "Memcpy DtoD (Device -> Device)", own=("DtoD",)) == (Kind.COLLECTIVE, True)
    assert kind_of("cuda_runtime", "cudaLaunchKernel", own=("cuda",)) == (Kind.LAUNCH, True)
    assert kind_of("gpu_user_annotation", "my_exchange", own=("my_exchange",)) == (Kind.OTHER, True)


def test_what_a_users_pattern_makes_of_the_host_depends_on_who_does_the_work() -> None:
    own = ("all.?reduce|my_",)
    assert kind_of("cpu_op", "my_lib::exchange", own=own) == (Kind.COLLECTIVE, True)
    assert kind_of("user_annotation", "my_exchange", own=own) == (Kind.COLLECTIVE, True)
    assert kind_of("cpu_op", "my_lib::exchange", own=own, beside_device=True) == (Kind.LAUNCH, True)
    assert kind_of("user_annotation", "my_exchange", own=own, beside_device=True) == (Kind.PHASE, True)
    assert kind_of("cpu_op", "c10d::allreduce_", own=own) == (Kind.LAUNCH, True), "it only hands it to gloo"


def test_patterns_say_nothing_of_case_where_libraries_do_not() -> None:
    assert all(family.kernels.flags & re.IGNORECASE for family in FAMILIES if family.kernels)
