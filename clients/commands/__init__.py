"""What `python -m clients` can do: one module a command, imported when it is asked for."""

import argparse
from typing import Protocol

EPILOG = "EGOPACK_URL names the server and EGOPACK_API_KEY is sent, if they are set."


class Command(Protocol):
    """A module that is a command."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds this command's flags."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Carries it out; returns the exit status."""
