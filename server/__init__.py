"""HTTP and scheduling, no maths."""
