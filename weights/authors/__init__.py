"""Checkpoints of the paper's authors, converted to a bundle."""
