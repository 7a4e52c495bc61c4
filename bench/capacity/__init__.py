"""Capacity planning: a queueing model, a simulation, and their validation on a server."""
