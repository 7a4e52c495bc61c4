"""Benchmarks of every quoted speed figure, side by side with a baseline."""
