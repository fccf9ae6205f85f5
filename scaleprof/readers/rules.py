"""What an event is, decided once per distinct name: the one table of rules. Metadata first, then the user's own patterns of what communicates,
then the families of libraries that do (`families.py`), then the rules by category and name.

The first rule that fits wins. A kernel that no rule knows is taken as compute, so that the account closes, and is listed as unclassified
(`by_rule` False): add a rule here when such a list shows a family.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from scaleprof.readers.families import MOST_LETTERS, family_of, is_collective_span, is_own, is_transfer_span
from scaleprof.trace import Kind


class Place(IntEnum):
    """The families of categories."""

    KERNEL = 0
    COPY = 1
    CALL = 2
    """Calls of the runtime or driver that launch, wait or allocate."""
    OPERATOR = 3
    ANNOTATION = 4
    ASIDE = 5
    """Mirrors, waits of streams, the profiler's own spans: no part of the account."""


class Hint(IntEnum):
    """What the metadata of single events adds to their name."""

    NONE = 0
    COLLECTIVE = 1
    P2P = 2


_OLD_CATEGORIES = {
    "Kernel": "kernel",
    "Memcpy": "gpu_memcpy",
    "Memset": "gpu_memset",
    "Runtime": "cuda_runtime",
    "Operator": "cpu_op",
    "PythonFunction": "python_function",
    "UserAnnotation": "user_annotation",
}
_PLACES = {
    "kernel": Place.KERNEL,
    "concurrent_kernel": Place.KERNEL,
    "mtia_ccp_events": Place.KERNEL,
    "gpu_memcpy": Place.COPY,
    "gpu_memset": Place.COPY,
    "enqueue": Place.CALL,
    "dequeue": Place.CALL,
    "cpu_op": Place.OPERATOR,
    "user_annotation": Place.ANNOTATION,
}
HOST = (Place.OPERATOR, Place.ANNOTATION)
_DEVICE_ASIDE = ("gpu_user_annotation", "cuda_sync")
_CALLS = re.compile(r"(runtime|driver)$")


@dataclass(frozen=True)
class Rule:
    """Names of a family of categories that match are of this kind."""

    place: Place
    kind: Kind
    pattern: re.Pattern[str]


def _rule(place: Place, kind: Kind, *alternatives: str) -> Rule:
    return Rule(place, kind, re.compile("|".join(alternatives)))


_ANY_CASE = "(?i)"
RULES: tuple[Rule, ...] = (
    # Kernels that compute, by library and by what frameworks call them.
    _rule(
        Place.KERNEL,
        Kind.COMPUTE,
        _ANY_CASE
        + r"gemm|gemv|cutlass|cublas|cudnn|cute::|nvjet|xmma|wgmma|hmma|\bCijk_|rocblas|hipblas|tensile|miopen|tensorop|ck::|\bck_tile",
        r"at::native|at::cuda|vectorized_elementwise|elementwise|c10::|at_cuda_detail|fbgemm|torch::|pytorch",
        r"triton|inductor|flash|fmha|attention|attn_(fwd|bwd)|softmax|layer_?norm|rms_?norm|batch_?norm|group_?norm|bn_fw|bn_bw|norm_kernel",
        r"reduce|scan|sort|radix|histogram|unique|thrust::|\bcub::|rocprim|hipcub",
        r"conv|winograd|_fft|pooling|im2col|col2im|wgrad|dgrad|fprop|transpose|permute|nchw|nhwc",
        r"embedding|index_(add|select|put|copy)|indexing_|linearize_index|compute_cuda_kernel|gather|scatter|catarray|tril|triu|arange|philox|dropout",
        r"multi_tensor|foreach|adam|lamb|sgd|gelu|silu|relu|sigmoid|tanh|cross_entropy|nll_loss|topk|argmax|rope|rotary|quantize",
        r"split_?k|spmm|sddmm|csrmv|csrmm|cusparse|cusolver|curand|trsm|syrk|\baten_|memset|rocclr_",
    ),
    _rule(Place.COPY, Kind.COPY, ""),
    # Calls of the runtime and driver.
    _rule(
        Place.CALL,
        Kind.SYNC,
        r"^(cuda|hip)(Stream|Device|Event|Thread)Synchronize|^cu(Stream|Ctx|Event)Synchronize|^hipCtxSynchronize",
        r"^(cuda|hip)Mem(cpy|set)(2D|3D|ToSymbol|FromSymbol|DtoH|HtoD|DtoD|WithStream|Peer)?$|^cuMemcpy(?!\w*Async)",
        r"^(ur|pi)(EventWait|EventsWait|QueueFinish)|^ze\w*Synchronize|@aclrtSynchronize",
    ),
    _rule(
        Place.CALL,
        Kind.ALLOC,
        r"^(cuda|hip)(Malloc|Free|Host(Alloc|Register|Unregister)|ExtMalloc|MemPool\w*Trim)|^cuMem(Alloc|Free|Create|Map|Unmap|Release|Host|SetAccess|Address)",
        r"^(ur|pi(ext)?)USM\w*(Alloc|Free)|^zeMem(Alloc|Free)",
    ),
    _rule(
        Place.CALL,
        Kind.COMPILE,
        r"ModuleLoad|LibraryLoad|ModuleUnload|LinkComplete|GraphInstantiate|nvrtc|hiprtc",
        r"^(ur|pi)Program(Build|Compile|Link|Create)|^zeModule(Create|DynamicLink)",
    ),
    _rule(Place.CALL, Kind.LAUNCH, r"Launch|Mem(cpy|set)\w*Async|MemPrefetch|^Enqueue$|@launch$"),
    _rule(Place.CALL, Kind.LAUNCH, r"^(ur|pi(ext)?(USM)?)Enqueue|^zeCommandListAppend(Memory|Image)"),
    _rule(Place.CALL, Kind.OTHER, ""),
    # Words of this project's own recorder, whatever category they stand in.
    *(
        _rule(place, kind, rf"^scaleprof::({words})\b")
        for place in (Place.OPERATOR, Place.ANNOTATION)
        for kind, words in (
            (Kind.WAIT, "wait"),
            (Kind.COMPUTE, "emulated_compute"),
            (Kind.INPUT, "input"),
            (Kind.GC, "gc"),
            (Kind.CHECKPOINT, "checkpoint"),
        )
    ),
    # Operators. Those that only enqueue communication are launches: no compute, and no transfer either.
    _rule(Place.OPERATOR, Kind.WAIT, r"^(_?c10d_functional|aten)::wait_tensor|^c10d::monitored_barrier"),
    _rule(Place.OPERATOR, Kind.LAUNCH, r"^_?c10d(_functional(_autograd)?)?::|^symm_mem::|^Hccl[A-Z]"),
    _rule(Place.OPERATOR, Kind.OTHER, r"^record_param_comms$|^(nccl|hccl|xccl|ucc):"),
    _rule(Place.OPERATOR, Kind.LAUNCH, r"^MPI_I(?!nit)[a-z]"),
    _rule(Place.OPERATOR, Kind.WAIT, r"^MPI_Wait"),
    _rule(Place.OPERATOR, Kind.INPUT, r"^enumerate\(Data(Loader|Pipe)\)|^aten::pin_memory"),
    _rule(
        Place.OPERATOR,
        Kind.COMPILE,
        r"(?<!Call )CompiledFxGraph|^dynamo_timed|TorchDynamo(?! Cache Lookup)|_compile\.compile_inner",
    ),
    _rule(
        Place.OPERATOR, Kind.PHASE, r"^ProfilerStep#|^Optimizer\.(step|zero_grad)#|^DistributedDataParallel\.forward$"
    ),
    _rule(Place.OPERATOR, Kind.OP, ""),
    # Annotations.
    _rule(Place.ANNOTATION, Kind.OTHER, r"^(nccl|hccl|xccl|ucc):|^record_param_comms$|^MPI_I(?!nit)[a-z]"),
    _rule(Place.ANNOTATION, Kind.WAIT, r"^MPI_Wait"),
    _rule(Place.ANNOTATION, Kind.INPUT, r"^enumerate\(Data(Loader|Pipe)\)|\b(data_load|next_batch|wait_for_batch)\b"),
    _rule(
        Place.ANNOTATION,
        Kind.COMPILE,
        r"(?<!Call )CompiledFxGraph|dynamo_timed|TorchDynamo(?! Cache Lookup)|_compile\.compile_inner|inductor_codecache",
    ),
    _rule(Place.ANNOTATION, Kind.GC, _ANY_CASE + r"\bgc[._ ]?collect\b|garbage.?collect"),
    _rule(
        Place.ANNOTATION,
        Kind.CHECKPOINT,
        _ANY_CASE + r"(save|saving|write|writing|load|loading|async)[ _]?(model[ _]?)?(checkpoint|ckpt|state_dict)|"
        r"(checkpoint|ckpt)[ _](save|write|load)|torch\.(save|load)\b",
    ),
    _rule(Place.ANNOTATION, Kind.PHASE, ""),
)


def category_of(text: str) -> str:
    """The category in today's words."""
    return _OLD_CATEGORIES.get(text, text)


def place_of(category: str) -> Place:
    """The family of a category; what is unknown stands aside."""
    place = _PLACES.get(category)
    if place is None:
        place = Place.CALL if _CALLS.search(category) else Place.ASIDE
    return place


def runs_on_device(category: str) -> bool:
    """Whether events of this category stand on a device's stream, not on a host thread."""
    return place_of(category) in (Place.KERNEL, Place.COPY) or category in _DEVICE_ASIDE


def kind_of(
    category: str, name: str, hint: Hint = Hint.NONE, own: Sequence[str] = (), *, beside_device: bool = False
) -> tuple[Kind, bool]:
    """What events of this name are, and whether a rule said so. `own` are the user's patterns of names that communicate.

    `beside_device`: there is a device that does the work, so that what the host's operators do is to start it.
    """
    place = place_of(category)
    if place == Place.ASIDE:
        return Kind.OTHER, True
    if hint != Hint.NONE:
        return (Kind.P2P if hint == Hint.P2P else Kind.COLLECTIVE), True
    name = name[:MOST_LETTERS]
    kind = _by_name(place, name)
    if place in (Place.KERNEL, Place.COPY):
        return (Kind.COLLECTIVE, True) if is_own(name, own) else (kind or Kind.COMPUTE, kind is not None)
    if kind in (Kind.OP, Kind.PHASE) and is_own(name, own):  # what the rules know of communication on the host stays so
        if not beside_device:
            return Kind.COLLECTIVE, True
        return (Kind.LAUNCH if kind == Kind.OP else kind), True
    return kind or Kind.OTHER, kind is not None


def _by_name(place: Place, name: str) -> Kind | None:
    """The kind by the families, else by the rules; None for a name that none knows."""
    if place == Place.KERNEL and family_of(name):
        return Kind.COLLECTIVE
    if place in HOST and is_transfer_span(name):
        return Kind.P2P
    if place in HOST and is_collective_span(name):
        return Kind.COLLECTIVE
    return next((rule.kind for rule in RULES if rule.place == place and rule.pattern.search(name)), None)


def kinds_of(
    names: Sequence[tuple[str, str]],
    hints: Sequence[Hint],
    own: Sequence[str] = (),
    *,
    beside_device: bool = False,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Kind and `by_rule` of every distinct name."""
    found = [
        kind_of(category, name, hint, own, beside_device=beside_device)
        for (category, name), hint in zip(names, hints, strict=True)
    ]
    return (
        np.array([kind for kind, _ in found], dtype=np.uint8),
        np.array([by_rule for _, by_rule in found], dtype=np.bool_),
    )
