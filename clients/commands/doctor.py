"""Sub-command `doctor`: checks of the installation and of a server, with advice."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from clients.commands import EPILOG
from clients.doctor.findings import Finding, wrong

EXIT_WRONG = 1
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
SAMPLE = Path(__file__).parents[1] / "sample" / "clip.mp4"


class Options(argparse.Namespace):
    """Parsed flags."""

    url: str
    server_only: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's flags."""
    parser.add_argument("--url", help="base URL of a server to check too; default: none")
    parser.add_argument(
        "--server-only", action="store_true", help="check the server, not the installation"
    )
    parser.epilog = EPILOG


def run(options: Options) -> int:
    """Prints each finding; returns the exit status: 1 if something is wrong."""
    if options.server_only and options.url is None:
        raise ValueError("--server-only needs --url")
    is_well = True
    for finding in _findings(options):
        print(finding, flush=True)
        is_well = is_well and finding.state != "wrong"
    return 0 if is_well else EXIT_WRONG


def _findings(options: Options) -> Iterator[Finding]:
    """Imports here what may be missing, so that it is reported as a finding."""
    try:
        if not options.server_only:
            from clients.doctor import machine, packages

            yield from packages.check_packages(PYPROJECT)
            yield from machine.check_libraries()
            yield machine.check_disk()
            yield machine.check_bundle()
        if options.url is not None:
            from clients.commands.arguments import connect
            from clients.doctor.service import check_server

            with connect(options.url) as client:
                yield from check_server(client, SAMPLE)
    except ImportError as error:
        yield wrong("packages", str(error), "make install, or pip install -r requirements/run.txt")
