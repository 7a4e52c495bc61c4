"""Machine learning backend for Label Studio, on top of a server."""
