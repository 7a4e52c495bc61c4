"""Rendering of a scene: frames and label maps."""
