"""The HTTP client: httpx and the standard library only."""
