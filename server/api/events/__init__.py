"""Streams of server-sent events: their format, and the feed that all readers of jobs share."""
