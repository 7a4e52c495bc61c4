"""Job files: inputs and results of jobs, on disk below the state folder.

A result is written in pieces and put in its place in one step. Several servers may share the
folder, as they share the database; a file is an orphan only when it is older than any upload or
result still being written. Errors that pass, such as a full disk, are raised as `JobsUnavailable`.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Container
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from server.errors import JobsUnavailable
from server.jobs.records import Job
from server.jobs.setbacks import reason_of
from server.jobs.threads import Threads
from weights.storage.atomic import sync

THREADS = 4

FLUSH_BYTES = 1 << 20
"""Bytes of a result gathered in memory before they are written."""

CHUNK_BYTES = 1 << 18
"""Bytes of a result read at once."""

_PART = ".part"
_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


class JobFiles:
    """`inputs/ID`, `results/ID.TOKEN.json`, and `incoming` for uploads."""

    def __init__(self, folder: Path) -> None:
        self._inputs = folder / "inputs"
        self._results = folder / "results"
        self.incoming = folder / "incoming"
        self._folders = (folder, self._inputs, self._results, self.incoming)
        self._threads = Threads("job-files", THREADS)

    def create(self) -> None:
        """Creates the folders, and closes them to other users of the machine.

        Raises:
            OSError: they cannot be created.
        """
        for folder in self._folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # another user's, who decides
                folder.chmod(folder.stat().st_mode & ~0o077)

    def close(self) -> None:
        """Ends the threads."""
        self._threads.close()

    async def call(
        self, work: Callable[_Given, _Made], *args: _Given.args, **values: _Given.kwargs
    ) -> _Made:
        """Runs blocking work on the files in a thread of their own.

        Raises:
            JobsUnavailable: something is missing that may come back, such as space on the disk.
        """
        try:
            return await self._threads.call(work, *args, **values)
        except OSError as error:
            reason = reason_of(error)
            if reason is None:
                raise
            raise JobsUnavailable(reason) from error

    def input_path(self, job_id: str) -> Path:
        """Path of a job's input."""
        return self._inputs / job_id

    def adopt(self, received: Path, job_id: str) -> None:
        """Moves a received body to the input of a job."""
        os.replace(received, self.input_path(job_id))

    def drop_input(self, job_id: str) -> None:
        """Deletes a job's input."""
        self.input_path(job_id).unlink(missing_ok=True)

    def new_result(self, job: Job) -> "ResultFile":
        """Returns a result to be written.

        The name contains the claim's token: a worker that lost its lease overwrites nothing.
        """
        return ResultFile(self._results / f"{job.id}.{job.token}.json")

    def open_result(self, name: str) -> IO[bytes]:
        """Opens a result; what is open can be read to its end, even if it expires.

        Raises:
            FileNotFoundError: it is gone.
        """
        return (self._results / name).open("rb")

    async def chunks(self, file: IO[bytes]) -> AsyncIterator[bytes]:
        """Yields an open file's bytes, and closes it."""
        with file:
            while chunk := await self.call(file.read, CHUNK_BYTES):
                yield chunk

    def drop_result(self, name: str) -> None:
        """Deletes a result."""
        (self._results / name).unlink(missing_ok=True)

    def probe(self) -> None:
        """Writes a file and deletes it, as every job does.

        Raises:
            OSError: it cannot be written.
        """
        path = self._results / f".probe-{os.getpid()}"
        try:
            path.write_bytes(b"x")
        finally:
            path.unlink(missing_ok=True)

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
        orphans += [
            p
            for p in self._results.iterdir()
            if p.name not in results
            and not (p.name.endswith(_PART) and p.name.partition(".")[0] in live_inputs)
        ]
        swept = 0
        for path in orphans:
            with contextlib.suppress(FileNotFoundError):  # another server may sweep, too
                if path.stat().st_mtime < before_s:
                    path.unlink()
                    swept += 1
        return swept


class ResultFile:
    """A result in the making; blocking.

    Attributes:
        name: of the file.
    """

    def __init__(self, path: Path) -> None:
        """Creates no file yet."""
        self.name = path.name
        self._path, self._part = path, path.with_name(path.name + _PART)
        self._pending: list[bytes] = []
        self._written = 0

    def add(self, data: bytes) -> None:
        """Adds bytes. While they cannot be written they are kept in memory."""
        self._pending.append(data)
        if sum(map(len, self._pending)) >= FLUSH_BYTES:
            with contextlib.suppress(OSError):  # `finish` says it
                self._flush()

    def finish(self) -> str:
        """Puts the result in its place; returns its name.

        Raises:
            OSError: it cannot be written; it can be tried again.
        """
        self._flush()
        sync(self._part)
        os.replace(self._part, self._path)
        with contextlib.suppress(OSError):  # some network file systems cannot sync a folder
            sync(self._path.parent)
        return self.name

    def drop(self) -> None:
        """Deletes what was written."""
        for path in (self._part, self._path):
            path.unlink(missing_ok=True)

    def _flush(self) -> None:
        with self._part.open("r+b" if self._written else "wb") as file:
            file.truncate(self._written)
            file.seek(self._written)
            file.writelines(self._pending)
        self._written += sum(map(len, self._pending))
        self._pending.clear()


def sha256_of(path: Path) -> str:
    """Returns a file's hash."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
