"""Decoding with PyAV: packets to frames to pictures."""
