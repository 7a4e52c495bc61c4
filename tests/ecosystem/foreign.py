"""Programs of others: installed apart from ours, started, waited for, stopped."""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

logger = logging.getLogger(__name__)

START_S = 300.0
STOP_S = 20.0


def environment(folder: Path, *steps: Sequence[str]) -> Path:
    """Returns the folder of the programs of a fresh virtual environment.

    Args:
        folder: where it is made.
        steps: packages that are installed together, one step after another.
    """
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", folder]
    for packages in steps:
        logger.info("installing %s ...", " ".join(packages))
        subprocess.run([*install, *packages], check=True)
    return folder / "bin"


def free_port() -> int:
    """Returns a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str | Path], *, home: Path, ready: str, variables: Mapping[str, str] = {}
) -> Iterator[None]:
    """Runs a program until the block ends.

    Args:
        command: its words.
        home: where it keeps its things, and its log.
        ready: an address that answers once it can be used.
        variables: of its environment, beside ours.

    Raises:
        AssertionError: it ended, or did not become ready in time.
    """
    home.mkdir(parents=True, exist_ok=True)
    log = home / f"{Path(command[0]).name}.log"
    environ = {**os.environ, "HOME": str(home), **variables}
    with log.open("w") as out:
        process = subprocess.Popen(
            command, env=environ, stdin=subprocess.PIPE, stdout=out, stderr=out
        )
        try:
            _wait(process, ready, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], ready: str, log: Path) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and process.poll() is None:
        try:
            if httpx.get(ready, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise AssertionError(f"not ready; its last words:\n{log.read_text()[-2000:]}")
