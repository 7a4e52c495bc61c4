"""Metrics, calibration, scores of a split and the report: python -m model.evaluate."""
