"""Errors of a generated world.

TabletopError
└── WorldMismatch     a folder holds a world of another config
"""


class TabletopError(Exception):
    """Root of the errors of a generated world."""


class WorldMismatch(TabletopError):
    """The folder holds a generated world of another config; the message names both."""
