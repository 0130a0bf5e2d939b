"""What runs on a supplier's host: the sources that see who uses its GPUs. Python's standard library only."""
