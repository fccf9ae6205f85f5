"""Named spans around what a job computes only because it is distributed: a gradient hook's encoding and decoding, SyncBatchNorm's passes.

They stand in the trace at every level that has one, so that their cost can be told. Nothing is added to a graph or to a future: functions
that torch calls anyway are called between the two ends of a span.
"""

import functools
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Protocol

from scaleprof.collect.found.gradient_hooks import hook_name
from scaleprof.collect.found.job import Seen
from scaleprof.collect.guard import Guard
from scaleprof.collect.patching import Patches

ENCODE, DECODE = "scaleprof::encode", "scaleprof::decode"
SYNC_BATCH_NORM = "scaleprof::sync_batch_norm"


class Listener(Protocol):
    """What the spans need of a recording."""

    active: bool

    def in_job(self) -> bool:
        """Whether this is the recorded thread of the recorded process, and the recording runs."""

    def span(self, name: str) -> Any | None:
        """A span for the trace, None while no window is open."""


class NamedSpans:
    """Wraps hooks as they are registered, and SyncBatchNorm's function for autograd."""

    def __init__(self, listener: Listener, guard: Guard, seen: Seen) -> None:
        self._listener = listener
        self._guard = guard
        self._seen = seen
        self._hook = threading.local()  # the name of the hook that runs on this thread: decoding runs on gloo's

    def install(self, patches: Patches) -> None:
        """Wrap what this torch has of them."""
        import torch
        from torch.nn.modules._functions import SyncBatchNorm

        for way in ("forward", "backward"):
            patches.wrap(SyncBatchNorm, way, functools.partial(self._around_pass, way))
        if not torch.distributed.is_available():
            return
        from torch.nn.parallel import DistributedDataParallel

        patches.wrap(DistributedDataParallel, "register_comm_hook", self._around_register)
        patches.wrap(DistributedDataParallel, "no_sync", self._around_no_sync)
        patches.wrap(torch._C.Future, "then", self._around_then)
        sharding: Any = sys.modules.get("torch.distributed.fsdp")  # slow to import where nobody did
        if sharding is not None:
            patches.wrap(sharding.FullyShardedDataParallel, "no_sync", self._around_no_sync)
            if hasattr(sharding, "FSDPModule"):
                patches.wrap(sharding.FSDPModule, "set_requires_gradient_sync", self._around_requires_sync)

    def _around_pass(self, way: str, original: Callable[..., Any]) -> Any:
        import torch

        compiling = torch.compiler.is_compiling

        @functools.wraps(original)
        def sync_batch_norm(*arguments: Any, **keywords: Any) -> Any:
            if compiling():
                return original(*arguments, **keywords)
            with self._span(f"{SYNC_BATCH_NORM} {way}"):
                return original(*arguments, **keywords)

        return staticmethod(sync_batch_norm)

    def _around_no_sync(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def no_sync(*arguments: Any, **keywords: Any) -> Any:
            self._seen.no_sync |= self._listener.in_job()
            return original(*arguments, **keywords)

        return no_sync

    def _around_requires_sync(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def set_requires_gradient_sync(
            module: Any, requires_gradient_sync: bool, *arguments: Any, **keywords: Any
        ) -> Any:
            self._seen.no_sync |= not requires_gradient_sync and self._listener.in_job()
            return original(module, requires_gradient_sync, *arguments, **keywords)

        return set_requires_gradient_sync

    def _around_register(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def register_comm_hook(module: Any, state: Any, hook: Any) -> Any:
            if not self._listener.active or not callable(hook) or not hasattr(hook, "__name__"):  # torch refuses it
                return original(module, state, hook)
            spanned = self._guard.call("a communication hook has no spans", lambda: self._around_hook(hook), hook)
            result = original(module, state, spanned)
            with self._guard.on("a communication hook is shown as wrapped"):
                kept = module._comm_hooks  # what is shown, copied and pickled stays the user's own function
                kept[:] = [(hook, *entry[1:]) if entry[0] is spanned else entry for entry in kept]
            return result

        return register_comm_hook

    def _around_hook(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        name = hook_name(hook)

        @functools.wraps(hook)  # torch looks at the hook's name, parameters and annotations
        def encode(state: Any, bucket: Any) -> Any:
            outer, self._hook.name = getattr(self._hook, "name", None), name
            try:
                with self._span(f"{ENCODE} {name}"):
                    return hook(state, bucket)
            finally:
                self._hook.name = outer

        return encode

    def _around_then(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def then(future: Any, callback: Any) -> Any:
            name = getattr(self._hook, "name", None)
            if name is None or not callable(callback):
                return original(future, callback)

            @functools.wraps(callback)
            def decode(done: Any) -> Any:
                outer, self._hook.name = getattr(self._hook, "name", None), name
                try:
                    with self._span(f"{DECODE} {name}"):
                        return callback(done)
                finally:
                    self._hook.name = outer

            return original(future, decode)

        return then

    def _span(self, name: str) -> Any:
        ask = functools.partial(self._listener.span, name)
        span = self._guard.call("what hooks and norms cost is missing", ask, None) if self._listener.active else None
        return span if span is not None else nullcontext()
