"""What operators, kernels and frames of a synthetic job are called: as a transformer's are, so that every rule about names has its work.

Each pass repeats its row of (operator, kernel, weight) within a layer; the weight is the kernel's part of the layer's time.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """One operator and the kernel that it launches."""

    operator: str
    kernel: str
    weight: int = 1
    asks: bool = False
    """Whether its library asks the runtime something before it launches."""


_ELEMENTWISE = (
    "void at::native::vectorized_elementwise_kernel<4, at::native::{functor}, std::array<char*, {arity}ul> >"
    "(int, at::native::{functor}, std::array<char*, {arity}ul>)"
)


def _elementwise(functor: str, arity: int) -> str:
    return _ELEMENTWISE.format(functor=functor, arity=arity)


FORWARD = (
    Work("aten::mm", "ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_tn", 6, asks=True),
    Work("aten::add", _elementwise("CUDAFunctor_add<c10::BFloat16>", 3)),
    Work(
        "aten::native_layer_norm",
        "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float, false>"
        "(int, float, c10::BFloat16 const*, c10::BFloat16 const*, c10::BFloat16 const*, float*, float*, c10::BFloat16*)",
    ),
    Work(
        "aten::_scaled_dot_product_flash_attention",
        "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 64, 4, false, false, cutlass::bfloat16_t>, "
        "false, true, false, false, true, true, false>(pytorch_flash::Flash_fwd_params)",
        4,
    ),
    Work("aten::gelu", _elementwise("GeluCUDAKernelImpl(at::TensorIteratorBase&)::{lambda(float)#1}", 2)),
    Work(
        "aten::addmm",
        "sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x256x32_stage3_warpsize2x4x1_tensor16x8x16",
        6,
        asks=True,
    ),
)
BACKWARD = (
    Work("MmBackward0", "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x3_nt", 6, asks=True),
    Work("AddBackward0", _elementwise("CUDAFunctor_add<c10::BFloat16>", 3)),
    Work(
        "NativeLayerNormBackward0",
        "void at::native::(anonymous namespace)::layer_norm_grad_input_kernel_vectorized<c10::BFloat16, float, false>"
        "(c10::BFloat16 const*, c10::BFloat16 const*, float const*, float const*, c10::BFloat16 const*, c10::BFloat16*, int)",
    ),
    Work(
        "ScaledDotProductFlashAttentionBackward0",
        "void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<64, 128, 128, 8, 4, 4, 4, "
        "false, false, cutlass::bfloat16_t>, false, true, false, false, true, true>(pytorch_flash::Flash_bwd_params)",
        5,
    ),
    Work(
        "GeluBackward0",
        _elementwise("GeluBackwardCUDAKernelImpl(at::TensorIteratorBase&)::{lambda(float, float)#1}", 3),
    ),
    Work("AddmmBackward0", "ampere_bf16_s16816gemm_bf16_256x128_ldg8_f2f_stages_32x3_nn", 6, asks=True),
)
OPTIMIZER = (
    Work(
        "aten::_foreach_add_",
        "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::TensorListMetadata<2>, "
        "at::native::(anonymous namespace)::BinaryOpListAlphaFunctor<float, 2, 2, 0>, std::plus<float>, float>"
        "(at::native::(anonymous namespace)::TensorListMetadata<2>, std::plus<float>, float)",
    ),
)
COPY = (Work("aten::copy_", "Memcpy HtoD (Pinned -> Device)"),)


@dataclass(frozen=True)
class Words:
    """What torch and NCCL call one operation of communication."""

    collective: str
    """`Collective name` in its metadata."""
    operator: str
    title: str
    """The annotation around it."""
    kernel: str
    old_kernel: str
    """The kernel's name in 2022."""


_ARGUMENT = "(ncclDevKernelArgsStorage<4096ul>)"
COMMUNICATION = {
    "all_reduce": Words(
        "allreduce",
        "c10d::allreduce_",
        "nccl:all_reduce",
        f"ncclDevKernel_AllReduce_Sum_f32_RING_LL{_ARGUMENT}",
        "ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)",
    ),
    "all_gather": Words(
        "_allgather_base",
        "c10d::_allgather_base_",
        "nccl:_all_gather_base",
        f"ncclDevKernel_AllGather_RING_LL{_ARGUMENT}",
        "ncclKernel_AllGather_RING_LL_Sum_int8_t(ncclWorkElem)",
    ),
    "reduce_scatter": Words(
        "_reduce_scatter_base",
        "c10d::_reduce_scatter_base_",
        "nccl:_reduce_scatter_base",
        f"ncclDevKernel_ReduceScatter_Sum_f32_RING_LL{_ARGUMENT}",
        "ncclKernel_ReduceScatter_RING_LL_Sum_float(ncclWorkElem)",
    ),
    "send": Words(
        "send",
        "c10d::send",
        "nccl:send",
        f"ncclDevKernel_SendRecv{_ARGUMENT}",
        "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclWorkElem)",
    ),
    "recv": Words(
        "recv",
        "c10d::recv_",
        "nccl:recv",
        f"ncclDevKernel_SendRecv{_ARGUMENT}",
        "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclWorkElem)",
    ),
}
_COMPUTE = {"copy": COPY, "forward": FORWARD, "backward": BACKWARD, "optimizer": OPTIMIZER}
OF_PHASE: Mapping[str, tuple[Work, ...]] = {
    **_COMPUTE,
    **{op: (Work(words.operator, words.kernel),) for op, words in COMMUNICATION.items()},
}

FRAMES = (
    "train.py(88): train_step",
    "torch/nn/modules/module.py(1775): _call_impl",
    "nn.Module: TransformerBlock_{layer}",
    "model.py(143): forward",
    "nn.Module: Linear_{layer}",
    "<built-in function linear>",
)
"""A stack of Python frames, outermost first."""


def kernel_of(op: str, *, is_half: bool, is_old: bool) -> str:
    """The kernel of an operation in float32, or in bfloat16 if `is_half`; `is_old`: as NCCL called it in 2022."""
    words = COMMUNICATION[op]
    if is_old:
        return words.old_kernel.replace("_Sum_float(", "_Sum___nv_bfloat16(") if is_half else words.old_kernel
    return words.kernel.replace("_Sum_f32_", "_Sum_bf16_") if is_half else words.kernel


def work_of(phase: str, kernels: int, *, per_layer: int = 1, first: int = 0) -> list[Work]:
    """What each kernel of a segment is: the phase's row, begun anew with each layer; `first` is the place of its first kernel in a layer."""
    row = OF_PHASE[phase]
    return [row[place % per_layer % len(row)] for place in range(first, first + kernels)]
