"""Record a job of TensorFlow: `KerasCallback` for `model.fit`, of Keras 3 and of `tf_keras`, and `session` for loops of one's own.

What comes out is a run directory as of any recording, with windows of TensorFlow's own profiler (XPlane files) in the folder of each rank. Rank and
world size come from `TF_CONFIG`, else from the launcher. Nothing here imports TensorFlow before the training has.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scaleprof.collect.guard import Guard
from scaleprof.collect.options import Options, Windows, with_environment
from scaleprof.collect.tensorflow.tensorflow import TensorflowSession
from scaleprof.run import Level

__all__ = ["KerasCallback", "session"]

WINDOWS = Windows(skip=5, steps=10)
"""Steps to profile, where the user says nothing: enough to tell chance from a rank that is always late, and few enough for the profiler."""


def _options(
    folder: str | os.PathLike[str], tags: Mapping[str, str] | None, windows: Windows | None, **given: Any
) -> Options:
    return Options(folder=os.fspath(folder), tags=dict(tags or {}), windows=windows or WINDOWS, **given)


def _session(
    options: Options, trained: Callable[[], Iterable[Any]], model: Callable[[], str | None]
) -> TensorflowSession | None:
    """A recording that has begun; None where the environment switches it off."""
    guard = Guard()
    with guard.on("nothing is recorded"):
        options = with_environment(options)
        if options.enabled:
            begun = TensorflowSession(options, guard, trained, model)
            begun.start()
            return begun
    return None


class session:  # noqa: N801  a `with` block reads as a thing
    """Record a `with` block, in which `step()` stands around each step of a training loop, into a run directory below `folder`.

    Every rank writes when its steps began and ended (monotonic ns), and its profile of the steps in `windows` (XPlane, in unix ns). `variables` are
    those that are trained, or a function that gives them: their bytes are those of the gradients that are exchanged. `samples_per_step` are
    those that this rank takes in one step. The other options are those of `scaleprof.profile`; at level `light` there is no profile.

    Errors of the recorder become one warning each, those of the training pass through.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] = "traces/",
        *,
        level: Level = "full",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        windows: Windows | None = None,
        strategy: str | None = None,
        samples_per_step: float | None = None,
        variables: Iterable[Any] | Callable[[], Iterable[Any]] = (),
        redact: bool = False,
    ) -> None:
        given = {
            "level": level,
            "name": name,
            "strategy": strategy,
            "samples_per_step": samples_per_step,
            "redact": redact,
        }
        self._options = _options(folder, tags, windows, **given)
        self._variables = variables
        self._running: TensorflowSession | None = None

    def __enter__(self) -> "session":
        variables = self._variables
        trained = variables if callable(variables) else lambda: variables
        self._running = _session(self._options, trained, lambda: None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if self._running is not None:
            self._running.finish(error)

    @contextmanager
    def step(self, *, samples: float | None = None) -> Iterator[None]:
        """Around each step; `samples` are those that this rank takes in it."""
        running = self._running
        if running is not None:
            running.step_begins()
        yield
        if running is not None:
            running.step_ends(samples)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Around what is no training, such as an evaluation: it is part of no step."""
        if self._running is not None:
            self._running.pause()
        try:
            yield
        finally:
            if self._running is not None:
                self._running.resume()


class KerasHooks:
    """Records `model.fit` into a run directory: `model.fit(..., callbacks=[scaleprof.tensorflow.KerasCallback("traces/")])`.

    The options are those of `session`, but for the variables: these are the model's. Where Keras runs several steps at once
    (`steps_per_execution`), these are one step here, with as many times the samples.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] = "traces/",
        *,
        level: Level = "full",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        windows: Windows | None = None,
        strategy: str | None = None,
        samples_per_step: float | None = None,
        redact: bool = False,
    ) -> None:
        super().__init__()
        self._supports_tf_logs, self._chief_worker_only = True, None  # what tf_keras asks its callbacks for
        given = {
            "level": level,
            "name": name,
            "strategy": strategy,
            "samples_per_step": samples_per_step,
            "redact": redact,
        }
        self._options = _options(folder, tags, windows, **given)
        self._running: TensorflowSession | None = None
        self._at_once = 1

    def on_train_begin(self, logs: Any = None) -> None:
        """Training begins."""
        if self._running is not None:
            self._running.finish(None)
        model: Any = getattr(self, "model", None)
        self._running = _session(
            self._options,
            lambda: model.trainable_variables,
            lambda: type(model).__name__ if model is not None else None,
        )
        if self._running is not None:
            with self._running.guard.on("how many steps are run at once is not known"):
                said: Any = getattr(model, "steps_per_execution", None) or getattr(model, "_steps_per_execution", 1)
                self._at_once = max(int(said.numpy() if hasattr(said, "numpy") else said), 1)
                self._running.details["steps_per_execution"] = self._at_once

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Training goes on."""
        if self._running is not None:
            self._running.resume()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """What other callbacks do between epochs is part of no step."""
        if self._running is not None:
            self._running.pause()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """A step begins."""
        if self._running is not None:
            self._running.step_begins()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """It has ended."""
        if self._running is not None:
            self._running.step_ends(None, steps=self._at_once)

    def on_test_begin(self, logs: Any = None) -> None:
        """An evaluation is no training."""
        if self._running is not None:
            self._running.pause()

    def on_test_end(self, logs: Any = None) -> None:
        """It has ended."""
        if self._running is not None:
            self._running.resume()

    def on_train_end(self, logs: Any = None) -> None:
        """All is trained."""
        if self._running is not None:
            self._running.finish(None)
            self._running = None


if TYPE_CHECKING:
    KerasCallback = KerasHooks


def __getattr__(name: str) -> Any:
    if name == "KerasCallback":
        return _built(_bases())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _bases() -> tuple[type, ...]:
    """The callbacks of each Keras that is loaded, else of the one that TensorFlow takes."""
    loaded = [sys.modules[package] for package in ("keras", "tf_keras") if package in sys.modules]
    found = tuple(module.callbacks.Callback for module in loaded if hasattr(module, "callbacks"))
    if found:
        return found
    import tensorflow

    return (tensorflow.keras.callbacks.Callback,)


@functools.cache
def _built(bases: tuple[type, ...]) -> Any:
    return type("KerasCallback", (KerasHooks, *bases), {"__module__": __name__, "__doc__": KerasHooks.__doc__})
