"""`ScaleprofCallback` for Lightning, called `lightning.pytorch` or `pytorch_lightning`: `Trainer(callbacks=[ScaleprofCallback("traces/")])`."""

from typing import TYPE_CHECKING, Any

from scaleprof.collect.trainers import LightningHooks, callback

if TYPE_CHECKING:
    ScaleprofCallback = LightningHooks

__all__ = ["ScaleprofCallback"]


def __getattr__(name: str) -> Any:
    if name == "ScaleprofCallback":
        return callback(LightningHooks, __name__, ("lightning.pytorch", "pytorch_lightning"), "Callback")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
