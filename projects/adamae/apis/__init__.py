"""High-level functions over a config and a checkpoint."""
