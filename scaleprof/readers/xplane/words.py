"""What the events of an XPlane file are, told once per name and line: the words of TensorFlow, JAX and XLA in terms of `trace.Kind`.

Metadata first: a number of a step, an HLO operation or a launch says more than a name. On the host only kernels (`node:OpType`) and HLO
operations compute; what Python does is never added to the busy time. The input pipeline runs on threads of its own, beside the training.
"""

import re
from collections.abc import Collection, Sequence
from enum import Enum

from scaleprof.readers.families import is_own
from scaleprof.readers.rules import kind_of
from scaleprof.trace import Kind


class Word(Enum):
    """What an event is, as far as name and line tell; its value is the category of its name."""

    STEP = "step"
    OP = "tf_op"
    INPUT = "tf_data"
    COLLECTIVE = "collective"
    SEND = "p2p"
    HLO = "hlo_op"
    HLO_COLLECTIVE = "hlo_collective"
    KERNEL = "kernel"
    COPY = "gpu_memcpy"
    FILL = "gpu_memset"
    CALL = "cuda_runtime"
    OWN = "own"
    """Communicates, says the user."""
    COMPILE = "compile"
    PYTHON = "python_function"
    GROUP = "group"
    """Says the size of a group."""
    MEMORY = "memory"
    STARTED = "started"
    DONE = "done"
    """The two ends of a kernel that runs on nobody's thread."""
    HOST = "host"


READ: dict[Word, tuple[str, ...]] = {
    Word.STEP: ("step_num",),
    Word.COLLECTIVE: ("group_key", "instance_key", "step_id"),
    Word.SEND: ("key",),
    Word.HLO: ("device_ordinal",),
    Word.HLO_COLLECTIVE: ("device_ordinal", "run_id", "program_id"),
    Word.KERNEL: ("correlation_id", "hlo_op", "program_id"),
    Word.COPY: ("correlation_id", "memcpy_details", "memset_details"),
    Word.FILL: ("correlation_id", "memcpy_details", "memset_details"),
    Word.CALL: ("correlation_id",),
    Word.GROUP: ("group_key", "group_size"),
    Word.MEMORY: ("tf_op", "requested_bytes"),
    Word.STARTED: ("kernel_type", "name", "_pt", "_p"),
    Word.DONE: ("kernel_type", "_ct", "_c"),
}
"""Which stats of an event are read; of all others none, because decoding them costs more than everything else."""

DERIVED = re.compile(
    r"(?i)steps$|xla (modules|ops|traceme)|(tensorflow|framework) (ops|name scope)|.*name scope|source( code)?$|launch stats"
)
"""Lines that say again, in other words, what the streams of a device did."""
TEMPORARY = "TempChunk"
"""What a ring calls the memory for the part of the tensor that travels."""
STARTED, DONE = "ExecutorState::ProcessAsync::Start", "ExecutorState::ProcessAsync::Done"
SYNTHESIZED = re.compile(r"_?(Host)?Recv|Horovod\w+")
"""Kernels that run on nobody's thread: from their start to their end nothing else stands in the file."""
_DATA_LINE = "tf_data"
_KERNEL = re.compile(r"[^:]+:(_?[A-Z]\w*)")
_COLLECTIVE = re.compile(r"Collective(Reduce|Gather|Bcast|Broadcast|AllToAll)\w*|_?Nccl(AllReduce|Reduce|Broadcast)\w*")
_HLO_COLLECTIVE = re.compile(
    r"(all-reduce|all-gather|reduce-scatter|all-to-all|ragged-all-to-all|collective-permute|collective-broadcast)(-start|-done)?(\.\d+)*"
)
_INPUT_OP = re.compile(r"((Multi)?(Device)?Iterator|OptionalGetValue)\w*|\w*Dataset(V\d)?")
_INPUT = re.compile(
    r"Iterator|Prefetch(Produce|Consume)|MapAndBatch|ParallelMap|ParallelInterleave|GetNextFromShard|BatchDataset|MakeIterator"
)
_COMPILE = re.compile(r"(?<![A-Za-z])(Xla|Xla\w+::|PjRt\w*::|Backend)?Compile(?!d)")
_COPIES = re.compile(r"(?i)mem(cpy|set)")
_FILLS = re.compile(r"(?i)memset")


def word_on_host(line: str, text: str, keys: Collection[str]) -> Word:
    """What an event on a thread is; `keys` are those of the first event of this name on the line."""
    if "step_num" in keys:
        return Word.STEP
    if text.startswith("$"):
        return Word.PYTHON
    if "hlo_op" in keys and "device_ordinal" in keys:
        return Word.HLO_COLLECTIVE if _HLO_COLLECTIVE.fullmatch(text) else Word.HLO
    if "correlation_id" in keys:
        return Word.CALL
    is_data = line.startswith(_DATA_LINE)
    kernel = _KERNEL.fullmatch(text)
    if kernel:
        if _COLLECTIVE.fullmatch(kernel[1]):
            return Word.COLLECTIVE
        if kernel[1] in ("_Send", "_HostSend"):
            return Word.SEND
        return Word.INPUT if is_data or _INPUT_OP.fullmatch(kernel[1]) else Word.OP
    if text == "CollectiveExecutor::CompleteParams":
        return Word.GROUP
    if is_data:
        return Word.INPUT if _INPUT.match(text) else Word.HOST
    if text == "MemoryAllocation":
        return Word.MEMORY
    if text in (STARTED, DONE):
        return Word.STARTED if text == STARTED else Word.DONE
    return Word.COMPILE if _COMPILE.search(text) else Word.HOST


def word_on_device(text: str, keys: Collection[str]) -> Word:
    """What an event on a stream of a device is."""
    if "memcpy_details" in keys or "memset_details" in keys or _COPIES.match(text):
        return Word.FILL if _FILLS.match(text) or "memset_details" in keys else Word.COPY
    return Word.HLO_COLLECTIVE if _HLO_COLLECTIVE.fullmatch(text) else Word.KERNEL


_KINDS = {
    Word.STEP: Kind.PHASE,
    Word.OP: Kind.OP,
    Word.INPUT: Kind.INPUT,
    Word.COLLECTIVE: Kind.COLLECTIVE,
    Word.SEND: Kind.P2P,
    Word.HLO: Kind.OP,
    Word.HLO_COLLECTIVE: Kind.COLLECTIVE,
    Word.COPY: Kind.COPY,
    Word.FILL: Kind.COPY,
    Word.OWN: Kind.COLLECTIVE,
    Word.COMPILE: Kind.COMPILE,
}
_MAY_BE_OWN = (Word.OP, Word.HLO, Word.KERNEL, Word.HOST)


def with_own(word: Word, text: str, own: Sequence[str]) -> Word:
    """The word, unless one of the user's patterns says that the name communicates."""
    return Word.OWN if own and word in _MAY_BE_OWN and is_own(text, own) else word


def kind_in(word: Word, text: str, *, of_xla: bool) -> tuple[Kind, bool]:
    """The kind of a name, and whether a rule knew it; kernels that XLA made from an HLO operation are known by that."""
    if word in (Word.KERNEL, Word.CALL):
        kind, by_rule = kind_of(word.value, text)
        return kind, by_rule or of_xla
    return _KINDS.get(word, Kind.OTHER), True


def op_in(text: str) -> str:
    """What a collective is called here, from its node or HLO name: `CollectiveReduceV2`, `all-reduce-start.3`."""
    letters = re.sub(r"[^a-z]", "", text.rsplit(":", 1)[-1].lower())
    for part, op in _OPS:
        if part in letters:
            return op
    return "unknown"


_OPS = (
    ("reducescatter", "reduce_scatter"),
    ("alltoall", "all_to_all"),
    ("allgather", "all_gather"),
    ("collectivegather", "all_gather"),
    ("allreduce", "all_reduce"),
    ("collectivereduce", "all_reduce"),
    ("bcast", "broadcast"),
    ("broadcast", "broadcast"),
    ("permute", "permute"),
    ("reduce", "reduce"),
    ("send", "send"),
    ("recv", "recv"),
)
"""In this order: the first that stands in a name decides."""
