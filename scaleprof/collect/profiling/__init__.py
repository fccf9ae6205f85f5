"""Windows of torch's profiler: which one is open, and what is recorded in it."""
