"""What a model costs, and studies of several runs; nothing here is registered."""
