"""Point-to-point transfers as they are issued: gloo's are in no flight recorder of torch 2.13, NCCL's are, but without the peer's global rank."""

import functools
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from scaleprof.collect.guard import Guard
from scaleprof.collect.patching import Patches

ANY_RANK = -1
MOST_PAIRS = 100_000
"""Different (group, direction, peer, tag) whose transfers are numbered: a training that tags every message anew must not fill the memory."""


class PointToPoint:
    """Every send and receive of the training thread: `on_transfer` gets its line, times in ns of the monotonic clock.

    `seq` counts the transfers of one direction between the same two ranks with the same tag, so that both ends count alike.
    """

    def __init__(
        self, in_job: Callable[[], bool], on_transfer: Callable[[Mapping[str, Any]], None], guard: Guard
    ) -> None:
        self._in_job = in_job
        self._on_transfer = on_transfer
        self._guard = guard
        self._counts: Counter[tuple[str, str, int, int]] = Counter()

    def install(self, patches: Patches) -> None:
        """Wrap what every send and receive of torch.distributed goes through."""
        import torch.distributed as dist

        for name in ("send", "recv", "recv_anysource"):
            patches.wrap(dist.ProcessGroup, name, functools.partial(self._around, name))

    def _around(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def transfer(group: Any, tensors: Any, *arguments: Any, **keywords: Any) -> Any:
            if not self._in_job():
                return original(group, tensors, *arguments, **keywords)
            start = time.perf_counter_ns()
            work = original(group, tensors, *arguments, **keywords)
            with self._guard.on("point-to-point transfers are missing"):
                ends = _peer_and_tag(name, arguments, keywords)
                self._keep(name, group, tensors, ends, time.perf_counter_ns() - start, start)
            return work

        return transfer

    def _keep(self, name: str, group: Any, tensors: Any, ends: tuple[int, int], took_ns: int, start: int) -> None:
        import torch.distributed as dist

        peer, tag = ends
        op = "send" if name == "send" else "recv"
        key = (str(group.group_name), op, peer, tag)
        seq = self._counts[key] if len(self._counts) < MOST_PAIRS else -1
        if seq >= 0:
            self._counts[key] += 1
        self._on_transfer(
            {
                "t": start,
                "d": took_ns,
                "op": op,
                "group": key[0],
                "peer": dist.get_global_rank(group, peer) if peer >= 0 else ANY_RANK,
                "tag": tag,
                "seq": seq,
                "n": sum(tensor.numel() for tensor in tensors),
                "dtype": str(tensors[0].dtype).removeprefix("torch.") if len(tensors) else "",
            }
        )


def _peer_and_tag(name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> tuple[int, int]:
    """The peer's rank in the group, and the tag, by position or by keyword; torch gives both by position."""
    if name == "recv_anysource":
        return ANY_RANK, int(arguments[0])
    given = {**dict(zip(("peer", "tag"), arguments, strict=False)), **keywords}
    peer = next(given[key] for key in ("peer", "dstRank", "srcRank") if key in given)
    return int(peer), int(given.get("tag", 0))
