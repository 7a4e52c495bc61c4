"""Transport, retries, server-sent events and every call."""
