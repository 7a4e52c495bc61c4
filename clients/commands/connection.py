"""Which server a command talks to."""

import argparse
import os
from typing import Any

from clients.aio import AsyncEgoPackClient
from clients.client import EgoPackClient
from clients.commands import EPILOG


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
    return EgoPackClient(arguments.url, api_key=_key())


def connect_async(arguments: argparse.Namespace, **options: Any) -> AsyncEgoPackClient:
    """Returns a client to be awaited; the caller closes it.

    Args:
        arguments: name the server.
        options: of the client.
    """
    return AsyncEgoPackClient(arguments.url, api_key=_key(), **options)


def _key() -> str | None:
    return os.environ.get("EGOPACK_API_KEY")
