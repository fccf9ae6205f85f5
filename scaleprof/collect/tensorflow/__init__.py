"""Recordings of TensorFlow jobs."""
