"""Making and preparing videos before training."""
