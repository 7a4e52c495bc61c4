"""The made-up world: who does what, where things are, pixels, files."""
