"""A file to frames at 30 per second, in this process. Imports nothing: it runs without torch."""
