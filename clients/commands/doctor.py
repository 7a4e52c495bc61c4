"""What is wrong with this installation or a server, and what to do about it."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from clients.commands import EPILOG
from clients.doctor.findings import Finding, wrong

EXIT_WRONG = 1
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
SAMPLE = Path(__file__).parents[1] / "sample" / "clip.mp4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's flags."""
    parser.add_argument("--url", help="a server to look at too")
    parser.add_argument(
        "--server-only", action="store_true", help="look at the server, not at what is installed"
    )
    parser.epilog = EPILOG


def run(arguments: argparse.Namespace) -> int:
    """Looks and tells as it goes; returns the exit status: 1 if something is wrong."""
    if arguments.server_only and arguments.url is None:
        raise ValueError("--server-only needs --url")
    is_well = True
    for finding in _findings(arguments):
        print(finding, flush=True)
        is_well = is_well and finding.state != "wrong"
    return 0 if is_well else EXIT_WRONG


def _findings(arguments: argparse.Namespace) -> Iterator[Finding]:
    """What is missing is imported nowhere above, so that it can be told here."""
    try:
        if not arguments.server_only:
            from clients.doctor import machine, packages

            yield from packages.check_packages(PYPROJECT)
            yield from machine.check_libraries()
            yield machine.check_disk()
            yield machine.check_bundle()
        if arguments.url is not None:
            from clients.commands import connection
            from clients.doctor.service import check_server

            with connection.connect(arguments) as client:
                yield from check_server(client, SAMPLE)
    except ImportError as error:
        yield wrong("packages", str(error), "make install, or pip install -r requirements/run.txt")
