"""Lifecycle of a rival server's process: start, first answer, end with its children."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from bench.load.watch import process_tree

START_S = 180.0
STOP_S = 20.0


@dataclass(frozen=True)
class Rival:
    """Another way to serve the same model.

    Attributes:
        name: to show.
        module: of `bench.rivals`.
        needs: the package it cannot do without.
        flags: passed to it.
        goal: how many times faster ours is to be; None: measured for the record.
    """

    name: str
    module: str
    needs: str
    flags: tuple[str, ...] = ()
    goal: float | None = None

    @property
    def is_installed(self) -> bool:
        """Whether it can be started here."""
        return importlib.util.find_spec(self.needs) is not None


def rivals(cores: int) -> list[Rival]:
    """Returns the rivals to measure on a number of cores.

    First as a reader of their guides would write it, then with a copy of the model for every core
    and one thread in each: what a second look at a busy machine would lead to. All call our library
    for decoding and encoding, but for the one by hand, which knows neither our readers nor our
    runtimes.
    """
    tuned = ("--workers", str(cores), "--threads", "1")
    return [
        Rival("FastAPI handler", "plain", "fastapi", goal=1.5),
        Rival("LitServe", "lit", "litserve", goal=1.2),
        Rival("Ray Serve", "ray_serve", "ray", goal=1.2),
        Rival("FastAPI handler, 1 thread", "plain", "fastapi", ("--threads", "1"), goal=1.0),
        Rival("FastAPI handler by hand", "by_hand", "fastapi", goal=1.5),
        Rival(f"LitServe, {cores} workers", "lit", "litserve", tuned, goal=1.0),
        Rival(f"Ray Serve, {cores} replicas", "ray_serve", "ray", tuned, goal=1.0),
    ]


@contextmanager
def running(rival: Rival, *flags: str) -> Iterator[tuple[str, int]]:
    """Yields the address of a running rival, and its process.

    Raises:
        RuntimeError: it does not start; the message has its last words.
    """
    port = _free_port()
    command = [sys.executable, "-m", f"bench.rivals.{rival.module}", "--port", str(port)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, *rival.flags, *flags],
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C at the terminal is ours to handle
        )
        try:
            url = f"http://127.0.0.1:{port}"
            if not _listens(url, process):
                log.seek(0)
                words = "\n".join(log.read().splitlines()[-5:])
                raise RuntimeError(f"{rival.name} did not start; its last words:\n{words}")
            yield url, process.pid
        finally:
            _end(process)


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """Stops all processes of an idle server meanwhile.

    One that looks for work all the time would take that time from the server that is measured.
    """
    tree = process_tree(pid)
    _signal(tree, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(tree, signal.SIGCONT)


def first_answer(url: str, path: str, form: dict[str, tuple[str, bytes]]) -> dict[str, Any]:
    """Returns the first answer to a clip; a server may listen before its model is loaded.

    Raises:
        RuntimeError: there is none.
    """
    until_s = time.monotonic() + START_S
    with httpx.Client(base_url=url, trust_env=False, timeout=START_S) as http:
        while True:
            response = http.post(path, files=form)
            if response.status_code == 200:
                answer: dict[str, Any] = response.json()
                return answer
            if time.monotonic() > until_s:
                raise RuntimeError(f"no answer but status {response.status_code}")
            time.sleep(0.2)


def _listens(url: str, process: "subprocess.Popen[bytes]") -> bool:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and process.poll() is None:
        with suppress(httpx.TransportError):
            # A server without such a path is up all the same.
            httpx.get(f"{url}/health", trust_env=False, timeout=5)
            return True
        time.sleep(0.2)
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Terminates it, then kills the rest of its process group."""
    tree = process_tree(process.pid) if process.poll() is None else []
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    _signal(tree, signal.SIGKILL)
    process.wait()


def _signal(tree: Sequence[int], number: signal.Signals) -> None:
    for pid in tree:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def missing(wanted: Sequence[Rival]) -> list[str]:
    """Returns what to install, one sentence per rival."""
    return [
        f"{one.name}: not measured; `pip install {one.needs}` or the extra `rivals`"
        for one in wanted
        if not one.is_installed
    ]
