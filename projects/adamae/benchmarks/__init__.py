"""What the tools in ``tools/benchmarks`` measure with; nothing trains with it."""
