"""JobFiles: what was sent with jobs and what came out, on disk below the state folder.

A result appears whole or not at all. Several servers may share the folder, as they share the
database; a file is only an orphan when it is older than anything that is still on its way.
"""

import hashlib
import os
import time
from collections.abc import Container
from pathlib import Path

from server.jobs.records import Job


class JobFiles:
    """`inputs/ID`, `results/ID.TOKEN.json`, and `incoming` for what is still being received."""

    def __init__(self, folder: Path) -> None:
        self._inputs = folder / "inputs"
        self._results = folder / "results"
        self.incoming = folder / "incoming"
        self._folders = (folder, self._inputs, self._results, self.incoming)

    def create(self) -> None:
        """Makes the folders, for this user alone.

        Raises:
            OSError: they cannot be made.
        """
        for folder in self._folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def input_path(self, job_id: str) -> Path:
        """Where what was sent with a job lies."""
        return self._inputs / job_id

    def adopt(self, received: Path, job_id: str) -> None:
        """Makes a received body the input of a job."""
        os.replace(received, self.input_path(job_id))

    def drop_input(self, job_id: str) -> None:
        """Removes what was sent; nobody will look at it again."""
        self.input_path(job_id).unlink(missing_ok=True)

    def write_result(self, job: Job, body: bytes) -> str:
        """Returns the name of the file that now holds a result.

        The name has the claim's token in it: a worker that lost its lease overwrites nothing.
        """
        name = f"{job.id}.{job.token}.json"
        partial = self._results / f"{name}.{os.getpid()}.part"
        try:
            with partial.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self._results / name)
        finally:
            partial.unlink(missing_ok=True)
        return name

    def read_result(self, name: str) -> bytes:
        """Returns a result.

        Raises:
            FileNotFoundError: it is gone.
        """
        return (self._results / name).read_bytes()

    def drop_result(self, name: str) -> None:
        """Removes a result."""
        (self._results / name).unlink(missing_ok=True)

    def sweep(
        self, *, live_inputs: Container[str], results: Container[str], min_age_s: float
    ) -> int:
        """Removes what killed servers left behind; returns how much it was.

        What they were still receiving is in folders that a spool sweeps by itself.

        Args:
            live_inputs: ids of jobs that have not ended.
            results: names of results still to be had.
            min_age_s: younger files may belong to something that is still on its way.
        """
        before_s = time.time() - min_age_s
        orphans = [p for p in self._inputs.iterdir() if p.name not in live_inputs]
        orphans += [p for p in self._results.iterdir() if p.name not in results]
        swept = 0
        for path in orphans:
            if _written_s(path) < before_s:
                path.unlink(missing_ok=True)
                swept += 1
        return swept


def sha256_of(path: Path) -> str:
    """Returns a file's hash."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _written_s(path: Path) -> float:
    """When a file was last written; infinity when it is gone by now."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
