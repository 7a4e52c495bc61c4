"""A folder of files, local or behind a URL, and a cache by SHA-256."""
