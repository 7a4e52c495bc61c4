"""Live streams: bytes as they arrive -> windows -> sliding answers, events and a summary."""
