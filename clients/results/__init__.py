"""What comes back, as frozen dataclasses."""
