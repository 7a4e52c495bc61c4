"""What `python -m clients` can do: one module a command."""

import argparse
from typing import Protocol


class Command(Protocol):
    """A module that is a command; the first line of its docstring is its help."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds this command's flags."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Carries it out; returns the exit status."""
