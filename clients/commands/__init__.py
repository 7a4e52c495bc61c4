"""Sub-commands of `python -m clients`, a module each, imported when chosen."""

import argparse
from typing import Any, Protocol

EPILOG = "EGOPACK_URL names the server and EGOPACK_API_KEY is sent, if they are set."


class Command(Protocol):
    """A module that is a sub-command.

    Attributes:
        Options: class of its parsed flags.
    """

    Options: type[argparse.Namespace]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the sub-command's flags."""

    def run(self, options: Any) -> int:
        """Carries it out; returns the exit status."""
