"""Data sets as training takes them: samples, label spaces, encoder."""
