"""Load tests of a server over HTTP: callers, latencies, and the server's resource use."""
