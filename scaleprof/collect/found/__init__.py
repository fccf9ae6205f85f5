"""What is found without being told: the model, its gradient hooks, and how the ranks share the work."""
