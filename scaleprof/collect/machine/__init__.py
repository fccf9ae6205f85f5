"""The machine meanwhile: counters of process, host and GPU, and the clocks of hosts."""
