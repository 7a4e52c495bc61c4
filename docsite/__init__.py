"""What the documents say of the code, taken from the code."""
