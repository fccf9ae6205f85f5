"""Starting jobs: sweeps over world sizes with torchrun, the demo, the emulated device and the slow network of small honest studies."""
