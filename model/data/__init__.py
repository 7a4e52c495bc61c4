"""Ego4D annotations to records, samples and batches."""
