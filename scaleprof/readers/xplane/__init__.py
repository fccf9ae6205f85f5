"""Profiles of TensorFlow and JAX (.xplane.pb)."""
