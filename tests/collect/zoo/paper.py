"""What each job of the zoo must record, worked out by hand (`method` 6): its strategy, its mesh, and what rank 0 sends in one step.

Bytes are those of the large side of an operation, as nccl-tests counts them: what all ranks together gather, what is to be scattered, or what
is reduced. A transfer from rank to rank counts where it is sent and where it is received.
"""

from dataclasses import dataclass, field

from tests.collect.zoo.jobs import BATCH, MICRO_BATCHES
from tests.collect.zoo.models import (
    BLOCK_PARAMETERS,
    BLOCKS,
    CLASSES,
    END_PARAMETERS,
    FLOAT,
    LENGTH,
    PARAMETERS,
    TENSORS,
    WIDTH,
    Images,
)

ACTIVATION = BATCH * LENGTH * WIDTH * FLOAT
"""Bytes of what goes from block to block, of a whole batch."""
NORM_TENSORS = 2 * (BLOCKS + 1)
SIZES = {"single": (1,), "hsdp": (2, 4), "fsdp2_tp": (4,), "ddp_tp": (4,), "ddp_pp": (4,)}
"""The numbers of ranks on which a job runs; else 2 and 4, and those of plain data parallelism also alone."""
ALONE = ("ddp", "fsdp2")
Sent = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Paper:
    """What must come out; `sent` is, by operation, how often a step and how many bytes in all."""

    strategy: str
    mesh: dict[str, int]
    replicas: int | None
    sent: Sent
    groups: list[list[int]] = field(default_factory=list)
    """Ranks of the process groups of rank 0 besides that of all ranks."""
    instead: str = ""
    """What ran instead of what torch ships for GPUs alone."""


def sizes(job: str) -> tuple[int, ...]:
    """On how many ranks a job runs."""
    return SIZES.get(job, (1, 2, 4) if job in ALONE else (2, 4))


def paper(job: str, ranks: int) -> Paper:
    """The answers for one job on so many ranks."""
    data = {"dp": ranks}
    gradients = PARAMETERS * FLOAT
    blocks = BLOCKS * BLOCK_PARAMETERS * FLOAT
    reduced: Sent = {"all_reduce": (1, gradients)}
    # Each block and the end gather their parameters before their forward pass, the blocks again before their backward pass (the end keeps them),
    # and all scatter their gradients.
    sharded: Sent = {"all_gather": (2 * BLOCKS + 1, gradients + blocks), "reduce_scatter": (BLOCKS + 1, gradients)}
    match job:
        case "single":
            return Paper("single", {}, None, {})
        case "tasks":
            return Paper("tasks", {}, None, {})
        case "ddp" | "ddp_static" | "replicate_composable":
            return Paper("ddp", data, ranks, reduced)
        case "ddp_accumulate":
            return Paper(f"ddp+accumulate{MICRO_BATCHES}", data, ranks, reduced)
        case "ddp_fp16":
            return Paper("ddp+fp16", data, ranks, {"all_reduce": (1, gradients // 2)})
        case "ddp_bf16":
            instead = "the code of torch's bf16_compress_hook, which refuses to run without CUDA by its name, under another one"
            return Paper("ddp+bf16", data, ranks, {"all_reduce": (1, gradients // 2)}, instead=instead)
        case "ddp_powersgd":
            return Paper("ddp+powersgd", data, ranks, {"all_reduce": (3, _powersgd_bytes())})
        case "ddp_syncbn":
            instead = "torch's SyncBatchNorm function for autograd, over CPU kernels of the tests: torch ships kernels for GPUs alone"
            return Paper("ddp+syncbn", data, ranks, _syncbn(ranks), instead=instead)
        case "zero1":
            return Paper("ddp+zero1", data, ranks, {**reduced, "broadcast": (TENSORS, gradients)})
        case "fsdp1":
            return Paper("fsdp1", {"shard": ranks}, ranks, sharded)
        case "fsdp2":
            return Paper("fsdp2", data, ranks, sharded)
        case "fsdp2_mixed":
            half = {
                **sharded,
                "all_gather": (2 * BLOCKS + 1, (gradients + blocks) // 2),
            }  # parameters travel in two bytes
            return Paper("fsdp2", data, ranks, half)
        case "hsdp":
            mesh = {"replicate": ranks // 2, "shard": 2}
            across = {
                **sharded,
                "all_reduce": (BLOCKS + 1, gradients // 2),
            }  # shards of gradients, between the replicas
            groups = [[0, 2], [0, 1]] if ranks == 4 else [[0]]
            return Paper("hsdp", mesh, ranks, across, groups)
    return _of_split_models(job, ranks)


def _of_split_models(job: str, ranks: int) -> Paper:
    data_and_tensor, both = {"dp": ranks // 2, "tp": 2}, [[0, 2], [0, 1]]
    local = (PARAMETERS - BLOCKS * 8 * WIDTH * WIDTH // 2 - BLOCKS * 4 * WIDTH // 2) * FLOAT
    """Parameters of one of two tensor-parallel ranks: half of the linear layers' weights and of the first one's bias."""
    match job:
        case "tp":
            return Paper("tp", {"tp": ranks}, 1, {"all_reduce": (2 * BLOCKS, 2 * BLOCKS * ACTIVATION)})
        case "tp_sp":
            return Paper("tp+sp", {"tp": ranks}, 1, _sequence_parallel())
        case "fsdp2_tp":
            kept = (local - END_PARAMETERS * FLOAT, local)  # of the blocks, of all
            sent: Sent = {
                "all_gather": (2 * BLOCKS + 1, sum(kept)),
                "reduce_scatter": (BLOCKS + 1, local),
                "all_reduce": (2 * BLOCKS, 2 * BLOCKS * ACTIVATION),
            }
            return Paper("fsdp2+tp", data_and_tensor, ranks // 2, sent, both)
        case "ddp_tp":
            sent = {"all_reduce": (2 * BLOCKS + 1, 2 * BLOCKS * ACTIVATION + local)}
            return Paper("ddp+tp", data_and_tensor, ranks // 2, sent, both)
        case "pp_gpipe" | "pp_1f1b" | "pp_interleaved" | "pp_zero_bubble":
            schedules = {"pp_gpipe": "gpipe", "pp_1f1b": "1f1b", "pp_interleaved": "interleaved-1f1b"}
            chunks = BLOCKS // ranks if job in ("pp_interleaved", "pp_zero_bubble") else 1
            name = f"pp-{schedules.get(job, 'zero-bubble')}"
            return Paper(name, {"pp": ranks}, 1, _of_first_rank(chunks))
        case "ddp_pp":
            # The first stage holds half of the blocks and nothing of the end.
            gradients = BLOCKS // 2 * BLOCK_PARAMETERS * FLOAT
            sent = {**_of_first_rank(1), "all_reduce": (2, gradients + _UNUSED)}
            return Paper("ddp+pp-gpipe", {"pp": 2, "dp": ranks // 2}, ranks // 2, sent, both)
    raise KeyError(job)


_UNUSED = 4 * BLOCKS // 2 * 6
"""DistributedDataParallel, asked to look for unused parameters, also adds up which were used: an int32 for each tensor of 2 blocks."""


def _of_first_rank(chunks: int) -> Sent:
    """Activations of each micro-batch forth and gradients back, at each border of a stage: the first rank's first stage has only one."""
    borders = 2 * chunks - 1
    bytes_each_way = borders * ACTIVATION
    return {"send": (borders * MICRO_BATCHES, bytes_each_way), "recv": (borders * MICRO_BATCHES, bytes_each_way)}


def _sequence_parallel() -> Sent:
    """A block gathers its input and scatters its output, and the reverse in the backward pass; the end gathers its input and its output.

    AdamW uses every gradient three times (once for the mean, twice for the square), and each time DTensor adds up those of the norms, which
    are still partial sums.
    """
    output = BATCH * LENGTH * CLASSES * FLOAT
    return {
        "all_gather": (2 * BLOCKS + 2, (2 * BLOCKS + 1) * ACTIVATION + output),
        "reduce_scatter": (2 * BLOCKS + 1, (2 * BLOCKS + 1) * ACTIVATION),
        "all_reduce": (3 * NORM_TENSORS, 3 * NORM_TENSORS * WIDTH * FLOAT),
    }


def _powersgd_bytes() -> int:
    """Rank 1: of each weight one column and one row, of all biases and norms the whole."""
    weights = BLOCKS * [(4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH)] + [(CLASSES, WIDTH)]
    rest = PARAMETERS - sum(rows * columns for rows, columns in weights)
    return (rest + sum(rows + columns for rows, columns in weights)) * FLOAT


def _syncbn(ranks: int) -> Sent:
    """Forward each norm gathers mean, deviation and count; backward it adds up two sums a channel; its running values are broadcast."""
    channels = sum(Images.CHANNELS)
    norms = len(Images.CHANNELS)
    return {
        "all_gather": (norms, ranks * (2 * channels + norms) * FLOAT),
        "all_reduce": (norms + 1, (2 * channels + Images.parameters_on_paper()) * FLOAT),
        "broadcast": (2, 2 * channels * FLOAT + norms * 8),  # the means and variances, and how many batches there were
    }
