"""What ranks send one another: operations, transfers by size, links, clocks, and how much of it was waiting."""
