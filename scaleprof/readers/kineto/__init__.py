"""Traces of torch.profiler (Kineto), whether our recorder wrote them or somebody else."""
