"""Recordings that a trainer opens and closes: what the callbacks of Lightning and Hugging Face do at which of their hooks.

Nothing here imports a trainer. `scaleprof/lightning.py` and `scaleprof/huggingface.py` put the base class of the trainer in use behind these.
A step ends where the optimizer has stepped, as in any recording, so that accumulated batches are one step; evaluations and checkpoints are
regions, and part of no step.
"""

import functools
import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from scaleprof.collect.guard import Guard
from scaleprof.collect.patching import Patches
from scaleprof.collect.recording import profile, recording_now
from scaleprof.errors import MissingPackage


class Recording(profile):
    """A recording whose `with` block is what a trainer does between two of its hooks."""

    _asides: tuple[AbstractContextManager[None], ...] = ()
    _patches: Patches | None = None

    def begin(self) -> None:
        """Training begins."""
        self.end(None)
        self._patches = Patches()
        self.__enter__()

    def end(self, error: BaseException | None) -> None:
        """It has ended, with this error or well; safe to call when nothing is open."""
        while self._asides:
            self.aside_ends()
        if self._patches is not None:
            self._patches.undo()
        if self._entered:
            self.__exit__(type(error) if error is not None else None, error, None)

    def aside_begins(self, name: str) -> None:
        """Something that is no training begins, if training goes on at all."""
        if self._entered:
            aside = self.aside(name)
            aside.__enter__()
            self._asides = (*self._asides, aside)

    def aside_ends(self) -> None:
        """The last of these has ended."""
        if self._asides:
            *outer, last = self._asides
            self._asides = tuple(outer)
            last.__exit__(None, None, None)

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace a trainer's method until the recording ends."""
        if self._patches is not None:
            self._patches.wrap(owner, name, make)

    def leave_out(self, owner: Any, name: str, region: str) -> None:
        """Until the recording ends, what this method does is no training; of some versions it may be missing."""

        def around(original: Any) -> Any:
            @functools.wraps(original)
            def call(*arguments: Any, **keywords: Any) -> Any:
                with self.aside(region):
                    return original(*arguments, **keywords)

            return call

        if hasattr(owner, name):
            self.wrap(owner, name, around)


class LightningHooks(Recording):
    """Records `Trainer.fit` into a run directory: `Trainer(callbacks=[ScaleprofCallback("traces/")])`.

    The arguments are those of `scaleprof.profile`.
    """

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """The ranks know one another, and the strategy is about to wrap the model: gradient hooks come now."""
        if stage == "fit":
            self.begin()
            with _fence("checkpoints are a part of the steps"):
                self.leave_out(type(trainer), "save_checkpoint", "checkpoint")
            self.aside_begins("setup")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The first step begins: everything is set up, and the sanity check is over."""
        self.aside_ends()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """A validation begins."""
        self.aside_begins("validation")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """It has ended."""
        self.aside_ends()

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """All is trained; the ranks still know one another."""
        self.end(None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Training has failed, or was interrupted."""
        self.end(exception)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Where training ended in a way that has no hook, such as a search for the largest batch."""
        self.end(None)


class HuggingFaceHooks(Recording):
    """Records `Trainer.train` into a run directory: `Trainer(..., callbacks=[ScaleprofCallback("traces/")])`.

    The arguments are those of `scaleprof.profile`.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        with _fence("a training that fails is recorded until the process ends"):
            _end_with_errors(importlib.import_module("transformers.trainer").Trainer)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Training begins, with the model wrapped."""
        self.begin()
        with _fence("evaluations and checkpoints are a part of the steps"):
            trainer = importlib.import_module("transformers.trainer").Trainer
            self.leave_out(trainer, "evaluate", "evaluation")
            self.leave_out(trainer, "predict", "prediction")
            self.leave_out(trainer, "_save_checkpoint", "checkpoint")
        with _fence("samples are counted where they are loaded, one batch early"):
            loaders = importlib.import_module("accelerate.data_loader")
            for kind in (loaders.DataLoaderShard, loaders.DataLoaderDispatcher):
                self.wrap(kind, "__iter__", _timed)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """All is trained."""
        self.end(None)


def _timed(original: Any) -> Any:
    """Accelerate's loaders read one batch ahead, and may read those of all ranks on one: what counts is which batches they hand out."""

    @functools.wraps(original)
    def batches(loader: Any) -> Any:
        session = recording_now()
        inner = original(loader)
        return session.inputs.timed(inner) if session is not None and session.is_ours() else inner

    return batches


def _end_with_errors(trainer: Any) -> None:
    """Make `train` end our recordings with the error that it ends with: Hugging Face has no hook for that."""
    original = trainer.train
    if getattr(original, "ends_recordings", False):
        return

    @functools.wraps(original)
    def train(self: Any, *arguments: Any, **keywords: Any) -> Any:
        try:
            return original(self, *arguments, **keywords)
        except BaseException as error:
            for callback in self.callback_handler.callbacks:
                if isinstance(callback, HuggingFaceHooks):
                    callback.end(error)
            raise

    train.ends_recordings = True  # type: ignore[attr-defined]
    trainer.train = train


def _fence(lost: str) -> AbstractContextManager[None]:
    session = recording_now()
    return (session.guard if session is not None else Guard()).on(lost)


def callback(hooks: Any, module: str, packages: tuple[str, ...], base: str) -> Any:
    """These hooks on the callbacks of the trainer in use: of each of the packages that is imported, else of the first that is installed."""
    found = [name for name in packages if name in sys.modules] or [
        name for name in packages if importlib.util.find_spec(name.partition(".")[0]) is not None
    ][:1]
    if not found:
        missing = " or ".join(name.partition(".")[0] for name in packages)
        raise MissingPackage(missing, "trainers", "ScaleprofCallback")
    return _built(hooks, module, tuple(getattr(importlib.import_module(name), base) for name in found))


@functools.cache
def _built(hooks: Any, module: str, bases: tuple[type, ...]) -> Any:
    return type("ScaleprofCallback", (hooks, *bases), {"__module__": module, "__doc__": hooks.__doc__})
