"""Server under load: a running one, or one started for the benchmark."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.load.callers import Door
from clients.local import LocalServer, check_stopped


@dataclass(frozen=True)
class Target:
    """A running server.

    Attributes:
        door: its endpoint for clips.
        pid: of its process; None if it cannot be sampled.
    """

    door: Door
    pid: int | None


def add_target(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name a server."""
    parser.add_argument("--url", help="a server that runs already; default: one is started")
    parser.add_argument("--api-key", help="of that server")
    parser.add_argument("--pid", type=int, help="of that server, to watch what it holds")
    parser.add_argument(
        "--serve",
        action="append",
        default=[],
        metavar="FLAG=VALUE",
        help="a flag for the server that is started, such as --serve max-requests=32; repeatable",
    )


@contextmanager
def target(arguments: argparse.Namespace, *flags: str) -> Iterator[Target]:
    """Yields the server of the flags of `add_target`.

    Raises:
        ClientError: it does not start, or does not stop as it should.
    """
    if arguments.url:
        key = arguments.api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        yield Target(Door(arguments.url, headers=headers), arguments.pid)
        return
    # All calls come from one address, which would get its share of the places only.
    wanted = ["--max-caller-share=1", *(f"--{flag}" for flag in arguments.serve)]
    with LocalServer(*flags, *wanted) as server:
        yield Target(Door(server.url), server.pid)
    check_stopped(server)
