"""Live streams in real time against a server."""
