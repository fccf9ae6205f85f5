"""Traces of Ascend's profiler."""
