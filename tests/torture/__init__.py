"""Faults of every kind put into synthetic jobs, and how often the right one is found: `python -m tests.torture`, `make torture`."""
