"""Diagnostics of an installation or a server, with advice."""
