"""A server of one's own: `python -m server` as a child on a free loopback port."""

import select
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import IO, Self

from clients.client import EgoPackClient
from clients.errors import ClientError, ServerFault, Unreachable

STOP_S = 20.0
"""How long a child may take to stop after SIGTERM."""


class LocalServer:
    """Starts a server on entry, ready to answer, and stops it on exit.

    Attributes:
        url: where it listens.
        start_s: seconds from start to ready.
        exit_code: of the stopped child.
    """

    def __init__(self, *flags: str, timeout_s: float = 120.0) -> None:
        """Remembers how to start it.

        Args:
            flags: passed to `python -m server`.
            timeout_s: how long it may take to become ready.
        """
        self._flags = flags
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._state: tempfile.TemporaryDirectory[str] | None = None
        self.url = ""
        self.start_s = 0.0
        self.exit_code: int | None = None

    def __enter__(self) -> Self:
        """Starts it.

        Raises:
            ServerFault: it ended, or did not become ready; the message has its last words.
        """
        started_s = time.monotonic()
        self._log = tempfile.TemporaryFile("w+")
        self._state = tempfile.TemporaryDirectory(prefix="egopack-state-")
        ours = ["--port", "0", "--drain-delay-s", "0", "--state-dir", self._state.name]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "server", *ours, *self._flags],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # a Ctrl-C at the terminal is ours: two signals mean "at once"
        )
        try:
            self.url = self._address(started_s + self._timeout_s)
            self._wait_ready(started_s + self._timeout_s)
        except BaseException:
            self._stop()
            raise
        self.start_s = time.monotonic() - started_s
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        assert self._process is not None
        return self._process.pid

    def _address(self, until_s: float) -> str:
        """Reads the address from the line the server prints when it listens."""
        assert self._process is not None
        assert self._process.stdout is not None
        while (left_s := until_s - time.monotonic()) > 0:
            if select.select([self._process.stdout], [], [], left_s)[0]:
                line = self._process.stdout.readline()
                if "http://" in line:
                    return "http://" + line.split("http://", 1)[1].split("/", 1)[0].strip()
                if not line:
                    break
        raise ServerFault(f"the server did not start{self._last_words()}")

    def _wait_ready(self, until_s: float) -> None:
        assert self._process is not None
        with EgoPackClient(self.url, timeout_s=10.0) as client:
            while True:
                try:
                    client.wait_ready(timeout_s=0.0)
                except ClientError as error:
                    has_ended = self._process.poll() is not None
                    if has_ended or time.monotonic() >= until_s:
                        raise ServerFault(f"the server is not ready{self._last_words()}") from error
                    time.sleep(0.05)
                else:
                    return

    def _last_words(self) -> str:
        assert self._log is not None
        self._log.seek(0)
        tail = [line.strip()[:200] for line in self._log.readlines()[-3:]]
        return "\n".join(["; its last words:", *tail]) if tail else ""

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self.exit_code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.exit_code = self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._log is not None:
            self._log.close()
        if self._state is not None:
            self._state.cleanup()


def check_stopped(server: LocalServer) -> None:
    """Raises unless the server stopped as it should.

    Raises:
        Unreachable: it was never started.
        ServerFault: it ended with another status than 0.
    """
    if server.exit_code is None:
        raise Unreachable("the server was never started")
    if server.exit_code != 0:
        raise ServerFault(f"the server ended with status {server.exit_code}")
