"""Decoding in processes that may crash. Imports nothing: they run without torch."""
