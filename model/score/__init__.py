"""Challenge files for the unannotated test sets: python -m model.score."""
