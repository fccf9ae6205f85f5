"""What lies below a path: files and archives, and which of them are one run."""
