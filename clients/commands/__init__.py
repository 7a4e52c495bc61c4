"""What `python -m clients` can do: one module a command."""

import argparse
from typing import Protocol


class Command(Protocol):
    """A module that is a command; the first line of its docstring is its help."""

    __doc__: str | None

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Adds this command's flags."""

    @staticmethod
    def run(arguments: argparse.Namespace) -> int:
        """Carries it out; returns the exit status."""
