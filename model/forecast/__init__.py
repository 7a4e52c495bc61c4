"""Forecasts as sequences: edit distances, futures chosen as a set, baselines, the forecaster."""
