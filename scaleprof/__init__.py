"""ScaleProf: why a training job does not scale. Names are loaded when used, so importing this loads nothing heavy."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaleprof.collect import Windows, profile, step, trace_handler
    from scaleprof.errors import ScaleprofError
    from scaleprof.pipeline import analyze
    from scaleprof.results import Report

__version__ = "0.1.0"

_TRAINERS = ("horovod", "huggingface", "lightning", "tensorflow")
"""Modules for those who write `scaleprof.lightning.ScaleprofCallback`; none is loaded with the package."""

_HOMES = {
    "Report": "scaleprof.results",
    "ScaleprofError": "scaleprof.errors",
    "Windows": "scaleprof.collect",
    "analyze": "scaleprof.pipeline",
    "profile": "scaleprof.collect",
    "step": "scaleprof.collect",
    "trace_handler": "scaleprof.collect",
}

__all__ = ["Report", "ScaleprofError", "Windows", "__version__", "analyze", "profile", "step", "trace_handler"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _TRAINERS:
        return import_module(f"scaleprof.{name}")
    raise AttributeError(f"module 'scaleprof' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
