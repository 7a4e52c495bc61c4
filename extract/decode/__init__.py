"""Decoding: a file to frames at 30 per second, in this process. Imports nothing, so no torch."""
