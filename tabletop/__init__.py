"""Synthetic tabletop world: videos and Ego4D v1 annotations from a seed."""
