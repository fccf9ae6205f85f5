"""The mathematics, free of files and frames: statistics of step times, scaling laws, communication cost."""
