"""Real Horovod jobs, run by `make test-horovod` in an environment of their own."""
