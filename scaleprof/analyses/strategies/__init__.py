"""Configurations of one model side by side: which is the better one where, and what communication costs that one could have otherwise."""
