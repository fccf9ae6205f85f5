"""`ScaleprofCallback` for Hugging Face's `Trainer`, and for what is derived from it: `Trainer(..., callbacks=[ScaleprofCallback("traces/")])`."""

from typing import TYPE_CHECKING, Any

from scaleprof.collect.trainers import HuggingFaceHooks, callback

if TYPE_CHECKING:
    ScaleprofCallback = HuggingFaceHooks

__all__ = ["ScaleprofCallback"]


def __getattr__(name: str) -> Any:
    if name == "ScaleprofCallback":
        return callback(HuggingFaceHooks, __name__, ("transformers",), "TrainerCallback")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
