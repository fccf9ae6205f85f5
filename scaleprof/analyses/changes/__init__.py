"""What changed between two runs or two studies, whether it is real, and whether demands hold."""
