"""The graph of what waited for what, its critical path, and what a change would bring."""
