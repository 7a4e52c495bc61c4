"""Benchmarks of everything from video files to features."""
