"""One small real job for each strategy, over gloo on the CPU, with what each must send, worked out by hand."""
