"""Video Swin trunk: shifted-window attention without masks."""
