"""Data to stages to bundle, the paper's tables, new skills: python -m model.train."""
