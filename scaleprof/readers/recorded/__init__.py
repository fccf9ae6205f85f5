"""Our own recordings: run directories, and the streams of a rank."""
