"""Request options and response bodies."""
