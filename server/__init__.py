"""The inference server: HTTP API, admission control, micro-batching, jobs."""

__version__ = "0.1.0"
