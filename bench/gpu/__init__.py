"""GPU benchmark of the video trunk, and of what comes before and after it."""
