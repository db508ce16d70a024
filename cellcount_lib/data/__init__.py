"""Pictures with labels: the simulator, the datasets, and their download."""
