"""The libraries that communicate, what they call their kernels and host spans, and the operation that such a name says.

The table is for names only: what an event's metadata says comes before it, and so do the user's own patterns. The first family that fits wins.
A kernel's name is looked at without its template arguments and parameters, where words such as `Dispatch` or `Broadcast` mean other things.
Names stand here as the libraries' sources and published profiles have them. To add a family, add an entry and its names to the tests.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

MOST_LETTERS = 2_000
"""Of a name so much is matched: a pattern that backtracks must not meet the longest names that templates make."""
_NAMELESS = re.compile(r"\(anonymous namespace\)::|\(anonymous\)::")


@dataclass(frozen=True)
class Family:
    """One library, or what several do alike."""

    name: str
    kernels: re.Pattern[str] | None = None
    """Kernels that communicate."""
    collectives: re.Pattern[str] | None = None
    """Spans on a host in which a collective runs."""
    transfers: re.Pattern[str] | None = None
    """Spans on a host in which something is sent to or received from one other rank."""
    operations: tuple[tuple[re.Pattern[str], str], ...] = ()
    """What a name says where its words do not (`AllGather`, `reduce_scatter` and their kin need no entry)."""


def _names(*alternatives: str) -> re.Pattern[str]:
    return re.compile("(?i)" + "|".join(alternatives))


def _says(**operations: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile("(?i)" + pattern), op) for op, pattern in operations.items())


_EXPERTS = _says(
    # Counting and announcing tokens carries next to nothing, but waits for every rank.
    barrier=r"notify|barrier|clean_low_latency|device_sync",
    layout=r"layout|^scan|prepare|sanitize",
    all_to_all=r"dispatch|combine|all_?to_?all|a2a",
)
_SHOTS = r"(one|two)_?shot_?all_?reduce|all_?reduce_(one|two)_?shot"

FAMILIES: tuple[Family, ...] = (
    Family(
        # 2.4 to 2.6 ncclAllReduceRingLLKernel_sum_f32, then ncclKernel_AllReduce_RING_LL_Sum_float, ncclDevKernel_AllReduce_Sum_f32_RING_LL, and
        # ncclSymkDevKernel_* in symmetric memory. RCCL keeps these names (ncclDevKernel_Generic_1), ctran's are ncclKernelAllToAllv. NCCL itself
        # says that a name may be that of the first of several operations in one kernel (github.com/NVIDIA/nccl, issues 714 and 739).
        "NCCL and RCCL",
        _names(r"\bnccl\w*Kernel", r"\brccl", r"mscclKernel"),
    ),
    Family(
        # hcom_allReduce__868_0_1 on a lane of collectives, aiv_all_gather_bfloat16_t on the vector cores, experts' tokens by an operator.
        "HCCL",
        _names(
            r"\bhcom_",
            r"hccl",
            r"\baiv_?(all_?(reduce|gather|to_?all)|reduce_?scatter|broadcast|send|recv)",
            r"MoeDistribute(Dispatch|Combine)",
        ),
        operations=_says(all_to_all=r"MoeDistribute"),
    ),
    Family("oneCCL", _names(r"oneccl", r"\bccl::")),
    Family(
        "MSCCL++", _names(r"mscclpp::(?!megamoe)")
    ),  # that one is a matrix product that communicates: its time is mostly compute
    Family(
        "expert parallelism",
        _names(
            r"deep_?ep(_\w+)?::|\bdeep_?ep\b|dpsk::ep::|\bhybrid_?ep::|\buccl::(intra|inter)node",
            r"\b(intranode|internode|internode_ll)::",
            r"moe_?A2A\w*Kernel|moe_?All_?to_?All\w*Kernel",  # TensorRT-LLM, FlashInfer
            r"\bEp(Dispatch|Combine)\w*(Kernel|Node)",  # MORI
            r"\ba2a_(dispatch|combine)_(send|recv)_kernel",  # pplx
            r"(?<!mega_)\bkernel_(dispatch|combine)_token",  # Triton-distributed
            r"dlslime::\w*all_?to_?all",
        ),
        operations=_EXPERTS,
    ),
    Family(
        "NVSHMEM",
        _names(r"nvshmem|rocshmem", r"\b(barrier|sync)_on_stream_kernel"),
        operations=_says(barrier=r"barrier|sync"),
    ),
    Family(
        "symmetric memory of PyTorch",
        _names(
            r"multimem_(all|one_shot|reduce|two_shot|push|full)",
            r"symmetric_memory::|symm_mem::",
            r"\bexchangeSplitAndOffset|\ballToAllV(_2d)?\b",
            r"\b(barrier|put_signal|wait_signal)_kernel$",
        ),
        operations=_says(
            all_gather=r"all_?gather",
            all_to_all=r"exchangeSplit",
            barrier=r"barrier_kernel",
            all_reduce=r"multimem_(one_shot|two_shot|reduce|push|full)",
        ),
    ),
    Family(
        "user buffers of TransformerEngine",
        _names(r"userbuffers_"),
        operations=_says(
            send_recv=r"push_?(send|recv)",  # rings within a tensor-parallel group: no stage of a pipeline
            all_gather=r"_ag(_|$)",
            reduce_scatter=r"_rs(_|$)",
            all_reduce=r"userbuffers_\w*sum_inplace",
        ),
    ),
    Family(
        "custom all-reduces",
        _names(
            r"cross_device_(reduce|all_?gather)",  # vLLM, SGLang, AITER: also cross_device_reduce_scatter
            r"reduce_scatter_cross_device_store",  # AITER: the first half of a fused all-reduce
            _SHOTS,  # TensorRT-LLM, FBGEMM, PyTorch, Triton-distributed
            r"all_?reduce_prototype|quickreduce::",
            r"all_?reduce_fusion_kernel",  # FlashInfer, TensorRT-LLM
            r"mnnvl_lamport_(all_?gather|reduce_?scatter)",
            r"\bpersistent_(all_gather|all_reduce|reduce_scatter|all_to_all)",  # Iris
        ),
        operations=_says(
            reduce_scatter=r"reduce_?scatter",
            all_gather=r"all_?gather",
            all_to_all=r"all_to_all",
            all_reduce=r"all_?reduce|cross_device_reduce|quickreduce",
        ),
    ),
    Family(
        "gloo",
        collectives=re.compile(r"^gloo:(?!send|recv)"),
        transfers=re.compile(r"^gloo:(send|recv)"),
    ),
    Family(
        # mpi:all_reduce is what torch's backend calls it, MPI_Allreduce what other recorders do. MPI_Iallreduce only begins one.
        "MPI",
        collectives=re.compile(r"^mpi:(?!send|recv)|^MPI_(All|Reduce|Bcast|Gather|Scatter|Barrier|Scan|Exscan)"),
        transfers=re.compile(r"^mpi:(send|recv)|^MPI_(Send|Recv|Sendrecv|[BSR]send)\b"),
    ),
)


def bare_name(name: str) -> str:
    """A kernel's name without what it returns, its template arguments and its parameters: `deep_ep::intranode::dispatch`."""
    text = _NAMELESS.sub("", name[:MOST_LETTERS])
    return re.split(r"[<(]", text, maxsplit=1)[0].rstrip().rpartition(" ")[2] or text


@lru_cache(maxsize=4096)
def family_of(kernel: str) -> Family | None:
    """The family whose kernels are called so; None where none is known to communicate."""
    bare = bare_name(kernel)
    return next((family for family in FAMILIES if family.kernels and family.kernels.search(bare)), None)


def operation_in(kernel: str) -> str:
    """The operation that a kernel's family knows by this name; empty where its words must say it."""
    family = family_of(kernel)
    last = bare_name(kernel).rpartition("::")[2]
    return next((op for pattern, op in (family.operations if family else ()) if pattern.search(last)), "")


def is_collective_span(name: str) -> bool:
    """Whether a collective runs in host spans of this name."""
    return any(family.collectives.search(name) for family in FAMILIES if family.collectives)


def is_transfer_span(name: str) -> bool:
    """Whether something is sent to or received from one other rank in host spans of this name."""
    return any(family.transfers.search(name) for family in FAMILIES if family.transfers)


def is_own(name: str, own: Sequence[str]) -> bool:
    """Whether one of the user's patterns fits a name, or the beginning of a very long one."""
    return any(re.search(pattern, name[:MOST_LETTERS]) for pattern in own)
