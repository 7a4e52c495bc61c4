"""Local server: `python -m server` as a child process on a free loopback port."""

import contextlib
import select
import subprocess
import sys
import tempfile
import time
from typing import IO, Self

from clients.client import EgoPackClient
from clients.errors import ClientError, ServerFault, Unreachable

STOP_S = 60.0
"""Longest time from SIGTERM to the child's end; then it is killed."""


class LocalServer:
    """Starts a server on entry, ready to answer, and stops it on exit.

    Attributes:
        url: base URL of the server.
        pid: process id of the child.
        start_s: seconds from start to ready.
        exit_code: of the stopped child.
    """

    def __init__(self, *flags: str, timeout_s: float = 300.0) -> None:
        """Takes the flags of `python -m server`, and the longest time until it is ready."""
        self._flags = flags
        self._timeout_s = timeout_s
        self._cleanup = contextlib.ExitStack()
        self.url = ""
        self.pid = 0
        self.start_s = 0.0
        self.exit_code: int | None = None

    def __enter__(self) -> Self:
        """Starts it.

        Raises:
            ServerFault: it ended, or did not become ready; the message has its last log lines.
        """
        started_s = time.monotonic()
        until_s = started_s + self._timeout_s
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(tempfile.TemporaryFile("w+"))
            state = stack.enter_context(tempfile.TemporaryDirectory(prefix="egopack-state-"))
            ours = ["--port", "0", "--drain-delay-s", "0", "--state-dir", state]
            process = subprocess.Popen(
                [sys.executable, "-m", "server", *ours, *self._flags],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for the parent: a second signal ends at once
            )
            stack.enter_context(process)
            stack.callback(self._stop, process)
            self.pid = process.pid
            self.url = _address(process, until_s)
            if not self.url:
                raise ServerFault(f"the server did not start{_last_lines(log)}")
            if not _becomes_ready(process, self.url, until_s):
                raise ServerFault(f"the server is not ready{_last_lines(log)}")
            self._cleanup = stack.pop_all()
        self.start_s = time.monotonic() - started_s
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def _stop(self, process: subprocess.Popen[str]) -> None:
        process.terminate()
        try:
            self.exit_code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            self.exit_code = process.wait()


def _address(process: subprocess.Popen[str], until_s: float) -> str:
    """Returns the URL in the line that the server prints when it listens; empty if none comes."""
    assert process.stdout is not None
    while (left_s := until_s - time.monotonic()) > 0:
        if select.select([process.stdout], [], [], left_s)[0]:
            line = process.stdout.readline()
            if "http://" in line:
                return "http://" + line.split("http://", 1)[1].split("/", 1)[0].strip()
            if not line:
                break
    return ""


def _becomes_ready(process: subprocess.Popen[str], url: str, until_s: float) -> bool:
    with EgoPackClient(url, timeout_s=10.0) as client:
        while process.poll() is None and time.monotonic() < until_s:
            with contextlib.suppress(ClientError):
                client.wait_ready(timeout_s=0.0)
                return True
            time.sleep(0.05)
    return False


def _last_lines(log: IO[str]) -> str:
    log.seek(0)
    tail = [line.strip()[:200] for line in log.readlines()[-3:]]
    return "\n".join(["; its last words:", *tail]) if tail else ""


def check_stopped(server: LocalServer) -> None:
    """Raises unless the server ended with status 0.

    Raises:
        Unreachable: it was never started.
        ServerFault: it ended with another status than 0.
    """
    if server.exit_code is None:
        raise Unreachable("the server was never started")
    if server.exit_code != 0:
        raise ServerFault(f"the server ended with status {server.exit_code}")
