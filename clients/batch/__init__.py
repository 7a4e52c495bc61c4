"""Many clips through a server: concurrent, resumable, every answer written whole."""
