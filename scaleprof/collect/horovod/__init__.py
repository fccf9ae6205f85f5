"""Recordings of Horovod jobs."""
