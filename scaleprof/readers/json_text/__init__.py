"""Trace files as text: JSON in blocks, scanned as columns or decoded, whole or broken, in bounded memory."""
