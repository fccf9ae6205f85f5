"""Names of kernels that count as compute and look like communication: what a table of known libraries cannot know, shown instead of hidden.

A judgement by words, so it may be wrong both ways; it changes no number. Kernels that are known to communicate are none of these.
"""

import re

_MOST_LETTERS = 2_000
_LIKE = re.compile(
    r"all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|_a2_?a|cross_device|multimem|mnnvl|lamport"
    r"|_p2_?p(_|$)|_peers?(_|$)|rdma|ibgda|nv_?link|xgmi|_nvls|shmem|_[a-z]{0,4}ccl(_|$)"
    r"|_(send|recv|sendrecv|receive|barrier|exchange|signal)(_|$)|_(inter|intra)_?node|_remote_"
    r"|_(dispatch|combine)(_|$)|^peer_copy$"
)
_UNLIKE = re.compile(
    # What compilers and libraries of one device call theirs: a fused kernel of inductor is named after what stands before and behind it,
    # split attention and split matrix products combine their parts, and experts' tokens are sorted where they are.
    r"^_(triton|at_native|at_cuda|c10|thrust|cub|rocprim|hipcub|cutlass|cute|cudnn|cublas|cask|cufft|xe|ck)_"
    r"|_flash_|flash_?(fwd|bwd|mla)|fmha|attn|attention|mla_|split_?kv?_|_lse_|moe_(align|permute|unpermute|sum|sort)"
)
_PEER_COPY = "Memcpy PtoP"
_NAMELESS = re.compile(r"\(anonymous namespace\)::|\(anonymous\)::")


def looks_like_communication(name: str, kind: str) -> bool:
    """Whether a kernel of this kind, or a copy, has a name such as those that communicate have."""
    if kind == "copy":
        return name.startswith(_PEER_COPY)
    words = _words(name)
    return kind == "compute" and _LIKE.search(words) is not None and not _UNLIKE.search(words)


def _words(name: str) -> str:
    """`_my_lib_ring_send_`, of `void my_lib::RingSend<T>(T*)`: template arguments and parameters mean other things."""
    text = re.split(r"[<(]", _NAMELESS.sub("", name[:_MOST_LETTERS]), maxsplit=1)[0].rstrip().rpartition(" ")[2]
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    return f"_{re.sub(r'[^a-z0-9]+', '_', apart.lower()).strip('_')}_"
