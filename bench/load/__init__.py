"""Load on a server, from outside: callers, what they met, and what it cost the server."""
