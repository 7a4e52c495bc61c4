"""Job files: inputs and results of jobs, on disk below the state folder.

A result is written atomically. Several servers may share the folder, as they share the database;
a file is an orphan only when it is older than any upload or result still being written.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Container
from pathlib import Path

from server.jobs.records import Job
from weights.storage.atomic import write_atomic


class JobFiles:
    """`inputs/ID`, `results/ID.TOKEN.json`, and `incoming` for uploads."""

    def __init__(self, folder: Path) -> None:
        self._inputs = folder / "inputs"
        self._results = folder / "results"
        self.incoming = folder / "incoming"
        self._folders = (folder, self._inputs, self._results, self.incoming)

    def create(self) -> None:
        """Creates the folders, accessible by this user only.

        Raises:
            OSError: they cannot be created.
        """
        for folder in self._folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def input_path(self, job_id: str) -> Path:
        """Path of a job's input."""
        return self._inputs / job_id

    def adopt(self, received: Path, job_id: str) -> None:
        """Moves a received body to the input of a job."""
        os.replace(received, self.input_path(job_id))

    def drop_input(self, job_id: str) -> None:
        """Deletes a job's input."""
        self.input_path(job_id).unlink(missing_ok=True)

    def write_result(self, job: Job, body: bytes) -> str:
        """Writes a result; returns the name of its file.

        The name contains the claim's token: a worker that lost its lease overwrites nothing.
        """
        name = f"{job.id}.{job.token}.json"
        write_atomic(self._results / name, body)
        return name

    def read_result(self, name: str) -> bytes:
        """Returns a result.

        Raises:
            FileNotFoundError: it is gone.
        """
        return (self._results / name).read_bytes()

    def drop_result(self, name: str) -> None:
        """Deletes a result."""
        (self._results / name).unlink(missing_ok=True)

    def sweep(
        self, *, live_inputs: Container[str], results: Container[str], min_age_s: float
    ) -> int:
        """Deletes orphans that killed servers left behind; returns their number.

        Interrupted uploads are swept by the spool.

        Args:
            live_inputs: ids of jobs that have not ended.
            results: names of results that jobs still have.
            min_age_s: younger files may belong to a job that is being accepted or ended.
        """
        before_s = time.time() - min_age_s
        orphans = [p for p in self._inputs.iterdir() if p.name not in live_inputs]
        orphans += [p for p in self._results.iterdir() if p.name not in results]
        swept = 0
        for path in orphans:
            with contextlib.suppress(FileNotFoundError):  # another server may sweep, too
                if path.stat().st_mtime < before_s:
                    path.unlink()
                    swept += 1
        return swept


def sha256_of(path: Path) -> str:
    """Returns a file's hash."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
