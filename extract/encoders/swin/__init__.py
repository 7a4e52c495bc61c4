"""The video Swin trunk, with attention in windows and without masks."""
