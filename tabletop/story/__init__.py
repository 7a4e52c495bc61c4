"""Timed actions of a video, from rules, recipes and a seed."""
