"""The extraction of many videos on a Ray cluster."""
