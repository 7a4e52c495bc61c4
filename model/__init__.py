"""Features to graphs to perspectives to answers."""
