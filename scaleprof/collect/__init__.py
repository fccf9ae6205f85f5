"""Runs inside the training process: records steps, communication and counters, and never harms the job.

Public: profile, step, trace_handler, Windows; `trainers.py` holds the callbacks.
"""

from scaleprof.collect.handler import trace_handler
from scaleprof.collect.options import Windows
from scaleprof.collect.recording import emulated_sleep, profile, step

__all__ = ["Windows", "emulated_sleep", "profile", "step", "trace_handler"]
