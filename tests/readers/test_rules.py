"""What an event is, by its name."""

import pytest

from scaleprof.readers.rules import Hint, category_of, kind_of, runs_on_device
from scaleprof.trace import Kind

KERNELS_THAT_COMPUTE = [
    "ampere_sgemm_128x64_nn",
    "void cutlass::Kernel<cutlass_80_tensorop_s1688gemm_128x128_32x3_nn_align4>",
    "nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT",
    "Cijk_Ailk_Bljk_BBS_BH_Bias_HAS_SAV_UserArgs_MT128x128x64",
    "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<c10::Half>>(int)",
    "triton_poi_fused_add_cos_sin_0",
    "flash_fwd_splitkv_kernel",
    "void cudnn::bn_fw_tr_1C11_kernel_NCHW<float>",
    "void cub::DeviceScanKernel<...>",
    "MIOpenBatchNormFwdTrainSpatial",
    "attn_fwd",
]
KERNELS_THAT_COMMUNICATE = [
    "ncclKernel_AllReduce_RING_LL_Sum_float(ncclDevComm*, unsigned long, ncclWork*)",
    "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
    "ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)",
    "ncclSymkDevKernel_AllReduce_AGxLL_R",
    "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>",
    "void dpsk::ep::internode::dispatch<...>",
    "two_shot_all_reduce_kernel",
]


@pytest.mark.parametrize("name", KERNELS_THAT_COMPUTE)
def test_kernels_of_known_libraries_compute(name: str) -> None:
    assert kind_of("kernel", name) == (Kind.COMPUTE, True)


@pytest.mark.parametrize("name", KERNELS_THAT_COMMUNICATE)
def test_kernels_of_communication_libraries_communicate(name: str) -> None:
    assert kind_of("kernel", name) == (Kind.COLLECTIVE, True)


def test_an_unknown_kernel_counts_as_compute_and_is_listed() -> None:
    assert kind_of("kernel", "my_special_thing_v3") == (Kind.COMPUTE, False)


def test_metadata_decides_before_the_name() -> None:
    assert kind_of("kernel", "ncclDevKernel_Generic", Hint.P2P) == (Kind.P2P, True)
    assert kind_of("gpu_memcpy", "Memcpy PtoP (Device -> Device)", Hint.COLLECTIVE) == (Kind.COLLECTIVE, True)


@pytest.mark.parametrize(
    ("category", "name", "kind"),
    [
        ("gpu_memcpy", "Memcpy HtoD (Pageable -> Device)", Kind.COPY),
        ("gpu_memset", "Memset (Device)", Kind.COPY),
        ("gpu_user_annotation", "ProfilerStep#3", Kind.OTHER),
        ("gpu_user_annotation", "nccl:all_reduce", Kind.OTHER),
        ("cuda_sync", "Stream Synchronize", Kind.OTHER),
        ("python_function", "train.py(3): step", Kind.OTHER),
        ("Trace", "PyTorch Profiler (0)", Kind.OTHER),
        ("cuda_runtime", "cudaLaunchKernel", Kind.LAUNCH),
        ("cuda_runtime", "hipExtModuleLaunchKernel", Kind.LAUNCH),
        ("cuda_driver", "cuLaunchKernelEx", Kind.LAUNCH),
        ("cuda_runtime", "cudaGraphLaunch", Kind.LAUNCH),
        ("cuda_runtime", "cudaMemcpyAsync", Kind.LAUNCH),
        ("cuda_driver", "cuMemcpyHtoDAsync_v2", Kind.LAUNCH),
        ("cuda_runtime", "cudaMemcpy", Kind.SYNC),
        ("cuda_driver", "cuMemcpyDtoH_v2", Kind.SYNC),
        ("cuda_runtime", "cudaStreamSynchronize", Kind.SYNC),
        ("cuda_runtime", "hipDeviceSynchronize", Kind.SYNC),
        ("cuda_runtime", "cudaStreamWaitEvent", Kind.OTHER),
        ("cuda_runtime", "cudaMalloc", Kind.ALLOC),
        ("cuda_runtime", "cudaFree", Kind.ALLOC),
        ("cuda_driver", "cuMemCreate", Kind.ALLOC),
        ("cuda_driver", "cuModuleLoadData", Kind.COMPILE),
        ("xpu_runtime", "urEnqueueKernelLaunch", Kind.LAUNCH),
        ("xpu_runtime", "piextUSMEnqueueMemcpy", Kind.LAUNCH),
        ("xpu_runtime", "urQueueFinish", Kind.SYNC),
        ("xpu_runtime", "urUSMFree", Kind.ALLOC),
        ("xpu_driver", "zeModuleCreate", Kind.COMPILE),
        ("xpu_driver", "zeCommandListAppendMemoryCopy", Kind.LAUNCH),
        ("xpu_runtime", "urKernelSetArgPointer", Kind.OTHER),
        ("enqueue", "Enqueue", Kind.LAUNCH),
        ("dequeue", "Dequeue@aclnnMul", Kind.OTHER),
        ("cann_runtime", "Node@launch", Kind.LAUNCH),
        ("cann_runtime", "AscendCL@aclrtSynchronizeStream", Kind.SYNC),
        ("cpu_op", "HcclAllreduce", Kind.LAUNCH),
        ("cpu_op", "aten::mm", Kind.OP),
        ("cpu_op", "record_param_comms", Kind.OTHER),
        ("cpu_op", "c10d::allreduce_", Kind.LAUNCH),
        ("cpu_op", "c10d::barrier", Kind.LAUNCH),
        ("cpu_op", "_c10d_functional::all_reduce", Kind.LAUNCH),
        ("cpu_op", "_c10d_functional::wait_tensor", Kind.WAIT),
        ("user_annotation", "gloo:all_reduce", Kind.COLLECTIVE),
        ("user_annotation", "gloo:send", Kind.P2P),
        ("user_annotation", "gloo:recv", Kind.P2P),
        ("user_annotation", "nccl:all_reduce", Kind.OTHER),
        ("user_annotation", "ProfilerStep#3", Kind.PHASE),
        ("user_annotation", "DistributedDataParallel.forward", Kind.PHASE),
        ("user_annotation", "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", Kind.INPUT),
        ("user_annotation", "scaleprof::wait", Kind.WAIT),
        ("cpu_op", "scaleprof::wait", Kind.WAIT),
        ("cpu_op", "scaleprof::emulated_compute", Kind.COMPUTE),
        ("user_annotation", "scaleprof::emulated_compute", Kind.COMPUTE),
        ("user_annotation", "save_checkpoint", Kind.CHECKPOINT),
    ],
)
def test_a_name_has_its_kind(category: str, name: str, kind: Kind) -> None:
    assert kind_of(category, name) == (kind, True)


def test_old_categories_are_todays() -> None:
    assert [category_of(text) for text in ("Kernel", "Memcpy", "Memset", "Runtime", "Operator", "kernel")] == [
        "kernel",
        "gpu_memcpy",
        "gpu_memset",
        "cuda_runtime",
        "cpu_op",
        "kernel",
    ]


def test_a_category_says_where_an_event_runs() -> None:
    assert all(runs_on_device(category) for category in ("kernel", "gpu_memcpy", "gpu_user_annotation", "cuda_sync"))
    assert not any(runs_on_device(category) for category in ("cpu_op", "cuda_runtime", "user_annotation", "Trace", ""))


def test_running_what_was_compiled_is_no_compilation() -> None:
    for category in ("cpu_op", "user_annotation"):
        for name in ("## Call CompiledFxGraph fabc ##", "TorchDynamo Cache Lookup"):
            assert kind_of(category, name)[0] != Kind.COMPILE
        assert kind_of(category, "dynamo_timed")[0] == Kind.COMPILE
