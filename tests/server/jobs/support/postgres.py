"""A PostgreSQL server of our own, from the system's programs, on a socket in a private folder."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.waiting import PATIENCE_S


def find_programs() -> Path | None:
    """Where `initdb` and `pg_ctl` are; Debian keeps them out of PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


def as_whom() -> dict[str, Any]:
    """Who runs it: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


@contextmanager
def running_postgres(programs: Path) -> Iterator[str]:
    """Yields the address of the server, up to the name of a database."""
    folder = Path(tempfile.mkdtemp(prefix="egopack-pg-"))
    who = as_whom()
    if who:
        shutil.chown(folder, who["user"], who["group"])
    data = folder / "data"

    def run(*command: str) -> None:
        ran = subprocess.run(
            command,
            cwd=folder,
            text=True,
            timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            **who,
        )
        assert ran.returncode == 0, ran.stdout

    try:
        run(str(programs / "initdb"), "-D", str(data), "-U", "tests", "-A", "trust", "-N")
        options = f"-c listen_addresses= -k {folder} -c fsync=off -c max_connections=60"
        log = str(folder / "log")
        run(str(programs / "pg_ctl"), "-D", str(data), "-l", log, "-w", "-o", options, "start")
        try:
            yield f"postgresql://tests@/{{name}}?host={folder}"
        finally:
            run(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
