"""Our exports in the tools they are for: `python -m tests.ecosystem`."""
