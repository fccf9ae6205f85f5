"""Where a step ends, found without the user's help: when the leading optimizer has stepped.

Global hooks see every optimizer. Several may step in an iteration (a GAN, one per parameter), wrappers call the one they wrap, and a step may
fail in the middle; so only the outermost call on the training thread counts, and only that of one *leader*.
"""

import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from scaleprof.collect.guard import Guard

PATIENCE = 32
"""A leader that has not stepped while others did this often has been replaced (a new optimizer per fold or trial)."""


class LeaderRule:
    """Elects the leader: the first optimizer seen, then any that steps less often, and a new one when the old one is gone or silent."""

    def __init__(self) -> None:
        self._leader: weakref.ref[Any] | None = None
        self._counts: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._since = 0
        self._gap = 0

    def ends_step(self, optimizer: Any) -> bool:
        """Whether this optimizer's step ends a training step."""
        count = self._counts.get(optimizer, 0) + 1
        self._counts[optimizer] = count
        leader = self._leader() if self._leader else None
        if leader is None:
            leader = self._elect(optimizer)
        elif optimizer is not leader:
            self._since += 1
            if 2 <= count < self._counts[leader]:
                self._gap = max(self._gap, -(-self._counts[leader] // count))
                leader = self._elect(optimizer)
            elif self._since > max(PATIENCE, 4 * self._gap):
                leader = self._elect(optimizer)
        if optimizer is not leader:
            return False
        if self._since <= PATIENCE:
            self._gap = max(self._gap, self._since)
        self._since = 0
        return True

    def _elect(self, optimizer: Any) -> Any:
        self._leader = weakref.ref(optimizer)
        return optimizer


class OptimizerHooks:
    """Global hooks of torch's optimizers; `on_step` gets the optimizer, its duration in ns, and whether it ends the step."""

    def __init__(self, on_step: Callable[[Any, int, bool], None], guard: Guard) -> None:
        from torch.optim.optimizer import Optimizer
        from torch.optim.optimizer import register_optimizer_step_post_hook as after
        from torch.optim.optimizer import register_optimizer_step_pre_hook as before

        self._on_step = on_step
        self._guard = guard
        self._thread = threading.get_ident()
        self._rule = LeaderRule()
        self._started: dict[int, int] = {}
        self.elsewhere = 0
        """Steps of optimizers in other threads than the recorded one."""
        # The code object that every optimizer's step runs through: frames are counted, because a counter would stay wrong for ever
        # after one step that raised.
        self._wrapper = Optimizer.profile_hook_step(lambda self: None).__code__
        self._handles = [before(self._before), after(self._after)]

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()

    def explain_no_step(self, backward_passes: int) -> None:
        """The recording ends without a step: say why, where something was trained."""
        if self.elsewhere:
            self._guard.warn(
                "no step was recorded", "optimizers stepped in another thread: record the function that runs there"
            )
        elif backward_passes:
            self._guard.warn(
                "no step was recorded", "no optimizer of torch's stepped: say where a step ends with scaleprof.step()"
            )

    def _before(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        if threading.get_ident() == self._thread:
            self._started[id(optimizer)] = time.perf_counter_ns()
        else:
            self.elsewhere += 1

    def _after(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        now = time.perf_counter_ns()
        with self._guard.on("the end of a step was not seen"):
            if threading.get_ident() != self._thread or self._depth() > 1:
                return
            took = now - self._started.pop(id(optimizer), now)
            self._on_step(optimizer, took, self._rule.ends_step(optimizer))

    def _depth(self) -> int:
        depth, frame = 0, sys._getframe(1)
        while frame is not None:
            depth += frame.f_code is self._wrapper
            frame = frame.f_back  # type: ignore[assignment]
        return depth
