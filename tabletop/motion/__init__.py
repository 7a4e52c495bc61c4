"""Positions of hands and objects at any instant."""
