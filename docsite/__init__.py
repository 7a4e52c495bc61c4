"""What the documents say of the code, taken from the code; and what holds them to it."""
