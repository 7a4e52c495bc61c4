"""PostgreSQL server of our own, from the system's programs, on a socket in a private folder."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LONGEST_S = 300.0
"""Longest time for one of its programs."""


def find_programs() -> Path | None:
    """Returns where `initdb` and `pg_ctl` are; Debian keeps them out of PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


def _account() -> dict[str, Any]:
    """The user that runs it: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


class PostgresServer:
    """A server with a new data folder, which `close` removes."""

    def __init__(self, programs: Path) -> None:
        """Makes the data folder and starts the server.

        Raises:
            RuntimeError: a program failed; the message is what it printed.
        """
        self._programs, self._account = programs, _account()
        self.folder = Path(tempfile.mkdtemp(prefix="egopack-pg-"))
        if self._account:
            shutil.chown(self.folder, self._account["user"], self._account["group"])
        self._run("initdb", "-U", "egopack", "-A", "trust", "-N")
        self.start()

    def url(self, database: str) -> str:
        """Returns the address of a database."""
        return f"postgresql://egopack@/{database}?host={self.folder}"

    def start(self) -> None:
        """Starts it; returns when it takes connections."""
        options = f"-c listen_addresses= -k {self.folder} -c fsync=off -c max_connections=60"
        self._run("pg_ctl", "-l", str(self.folder / "log"), "-w", "-o", options, "start")

    def stop(self) -> None:
        """Stops it as a crash does."""
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops its processes: their kernel takes what is sent, and no answer comes."""
        leader = int((self.folder / "data/postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        pids = [leader, *map(int, children)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Stops the server if it runs, and removes its folder."""
        if (self.folder / "data/postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        ran = subprocess.run(
            [str(self._programs / program), "-D", str(self.folder / "data"), *arguments],
            cwd=self.folder,
            text=True,
            timeout=LONGEST_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            **self._account,
        )
        if ran.returncode != 0:
            raise RuntimeError(ran.stdout)
