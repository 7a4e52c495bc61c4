"""A data set of Ego4D's size, and what it costs."""
