"""`python -m clients`: ask a server about a clip, or show what it can do.

Exit status: 0 answered, 1 the server failed or cannot be reached, 2 wrong usage, 3 the request
was refused, 4 the server is busy.
"""

import argparse
import sys

from clients.commands import Command, demo, export, predict, render
from clients.errors import Busy, ClientError, Rejected

COMMANDS: dict[str, Command] = {
    "predict": predict,
    "demo": demo,
    "render": render,
    "export": export,
}
EXIT_FAILED, EXIT_USAGE, EXIT_REJECTED, EXIT_BUSY = 1, 2, 3, 4


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status.

    Args:
        argv: arguments; default: the command line's.
    """
    arguments = _parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command].run(arguments)
    except ClientError as error:
        print(f"python -m clients: {error}", file=sys.stderr)
        for pointer, detail in error.errors:
            print(f"  {pointer}: {detail}", file=sys.stderr)
        if error.request_id:
            print(f"  {error.code}, request {error.request_id}", file=sys.stderr)
        if isinstance(error, Rejected):
            return EXIT_REJECTED
        return EXIT_BUSY if isinstance(error, Busy) else EXIT_FAILED
    except (OSError, ValueError) as error:
        print(f"python -m clients: {error}", file=sys.stderr)
        return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m clients", description="Ask an EgoPack server about a clip."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        about = module.__doc__ or ""
        module.add_arguments(commands.add_parser(name, help=about, description=about))
    return parser


if __name__ == "__main__":
    sys.exit(main())
