"""Forecasts of label sequences: every way on one table: python -m model.train forecast."""
