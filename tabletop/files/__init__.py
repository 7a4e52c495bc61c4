"""Worlds on disk, and the files derived from them."""
