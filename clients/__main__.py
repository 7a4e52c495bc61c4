"""Command `python -m clients`: send clips to a server, export answers, diagnose faults.

Exit status: 0 answered, 1 the server failed or cannot be reached, 2 wrong usage, 3 the request
or some clips of a batch were refused, 4 the server is busy, 130 interrupted.
"""

import argparse
import importlib
import sys
from types import ModuleType

from clients.commands import EPILOG
from clients.errors import Busy, ClientError, Rejected

COMMANDS = {
    "demo": "a server with the shipped bundle, a sample clip, the answers beside the truth",
    "predict": "the answers about one clip, to read or as JSON",
    "batch": "many clips, a few at a time; run it again to go on after a break",
    "live": "answers while a camera, a file or a stream goes on",
    "jobs": "clips that are answered later: send them, wait, fetch, cancel",
    "features": "a clip's features as a file, to ask with as often as one likes",
    "teach": "a skill of your own from labelled videos, on the server",
    "backpack": "what the model has seen that is close to a clip or an action",
    "render": "the clip again, with its answers drawn below the picture",
    "export": "the answers in the format of another tool",
    "lerobot": "sub-tasks for the episodes of a LeRobot data set",
    "label-studio": "a machine learning backend for Label Studio",
    "doctor": "what is wrong with an installation or a server, and what to do about it",
}
"""Name -> what it gives; `clients.commands` has a module of each name, `-` spelt `_`."""

EXIT_FAILED, EXIT_USAGE, EXIT_REJECTED, EXIT_BUSY = 1, 2, 3, 4
EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Runs the sub-command; returns the exit status."""
    words = sys.argv[1:] if argv is None else argv
    chosen = next((word for word in words if word in COMMANDS), None)
    options = _parser(chosen).parse_args(words, _load(chosen).Options() if chosen else None)
    try:
        status: int = _load(options.command).run(options)
        return status
    except ClientError as error:
        print(f"python -m clients: {error}", file=sys.stderr)
        for pointer, detail in error.errors:
            print(f"  {pointer}: {detail}", file=sys.stderr)
        for limit, value in error.limits.items():
            print(f"  {limit} is {value:g}", file=sys.stderr)
        if error.request_id:
            print(f"  {error.code}, request {error.request_id}", file=sys.stderr)
        if isinstance(error, Rejected):
            return EXIT_REJECTED
        return EXIT_BUSY if isinstance(error, Busy) else EXIT_FAILED
    except (OSError, ValueError) as error:
        print(f"python -m clients: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("python -m clients: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _load(name: str) -> ModuleType:
    """Imports only the chosen module, so that `doctor` runs where a dependency is missing."""
    return importlib.import_module(f"clients.commands.{name.replace('-', '_')}")


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m clients",
        description="Ask an EgoPack server about clips; `demo` starts one by itself.",
        epilog=EPILOG,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in COMMANDS.items():
        description = f"{about[0].upper()}{about[1:]}."
        one = commands.add_parser(name, help=about, description=description)
        if name == chosen:
            _load(name).add_arguments(one)
    return parser


if __name__ == "__main__":
    sys.exit(main())
