"""Horovod's timelines, alone and beside the traces of the ranks."""
