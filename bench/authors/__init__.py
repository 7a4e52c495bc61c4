"""The authors' formulation, and benchmarks beside it."""
