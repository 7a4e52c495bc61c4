"""Which server a command talks to."""

import argparse
import os

from clients.client import EgoPackClient

EPILOG = "EGOPACK_URL names the server and EGOPACK_API_KEY is sent, if they are set."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that names the server."""
    parser.add_argument(
        "--url",
        default=os.environ.get("EGOPACK_URL", "http://127.0.0.1:8080"),
        help="default: %(default)s",
    )
    parser.epilog = EPILOG


def connect(arguments: argparse.Namespace) -> EgoPackClient:
    """Returns a client of that server; the caller closes it."""
    return EgoPackClient(arguments.url, api_key=os.environ.get("EGOPACK_API_KEY"))
