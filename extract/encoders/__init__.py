"""Windows to vectors: the networks and their preprocessing."""
