"""Plain tables: measurements, logs of nccl-tests, published tables of operations."""
