"""Feature extraction: video bytes to windows to features."""
