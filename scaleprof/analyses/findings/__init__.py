"""What can be done: rules that judge a run's numbers, what they gain, and what to try."""
