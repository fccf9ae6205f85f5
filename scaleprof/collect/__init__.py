"""Runs inside the training process: records steps, communication and counters, and never harms the job. Public: profile, step, Windows."""

from scaleprof.collect.options import Windows
from scaleprof.collect.recording import emulated_sleep, profile, step

__all__ = ["Windows", "emulated_sleep", "profile", "step"]
