"""Decoding in confined processes that may crash. Imports nothing, so no torch."""
