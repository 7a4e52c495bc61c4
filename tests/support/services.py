"""Guard: a test that starts a server, Ray, a browser or PostgreSQL is marked `service`.

`make test-fast` deselects the mark; an audit hook refuses the start to every other test, so that
the selection stays what it says.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

SERVICE = re.compile(
    r" -m (server|tests\.server|bench\.rivals|ray\.scripts)\b"
    r"|/(raylet|gcs_server|chromedriver|chromium|initdb)\b"
)
"""Command lines of services."""

_running: list[pytest.Item] = []


@contextmanager
def watch(item: pytest.Item) -> Iterator[None]:
    """Guards what the test and its fixtures start."""
    _running.append(item)
    try:
        yield
    finally:
        _running.pop()


def _refuse_unmarked(event: str, arguments: tuple) -> None:
    if event != "subprocess.Popen" or not _running:
        return
    item, command = _running[-1], command_of(arguments[1])
    if SERVICE.search(command) and not item.get_closest_marker("service"):
        raise RuntimeError(f"{item.nodeid} starts a service and is not marked so: {command}")


def command_of(words) -> str:
    """The command line as text."""
    if isinstance(words, str | bytes | os.PathLike):
        words = [words]
    return " ".join(os.fsdecode(word) for word in words)


sys.addaudithook(_refuse_unmarked)
