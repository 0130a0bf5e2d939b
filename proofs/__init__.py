"""The pure core: values and their one encoding. No I/O; nothing of ours is imported."""
