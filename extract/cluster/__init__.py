"""Extraction of many videos on a Ray cluster."""
