"""Validation of the capacity model on a real server."""
