"""Bytes to windows to features."""
