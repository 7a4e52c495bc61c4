"""Extraction of a data set: manifest, pipeline, feature files, report."""
