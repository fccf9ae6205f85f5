"""One job at several sizes: efficiency and its tree, what grows, and what sizes that nobody measured would do."""
