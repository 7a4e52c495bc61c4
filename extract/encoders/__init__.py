"""Encoders: the networks from windows to feature vectors, and their preprocessing."""
