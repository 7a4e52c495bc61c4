"""Faults of a machine, caused on purpose under a running server."""
