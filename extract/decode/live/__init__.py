"""Decoding of streams as they arrive."""
