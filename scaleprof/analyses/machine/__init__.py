"""What the machine did meanwhile: sampled counters and power."""
