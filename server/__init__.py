"""HTTP and scheduling, no maths."""

__version__ = "0.1.0"
