"""Simulation of a server under load."""
