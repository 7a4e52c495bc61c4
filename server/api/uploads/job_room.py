"""Room for jobs: places and bytes of those in the store and of those whose bodies are coming in."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from server.api.uploads.spool import DiskQuota
from server.errors import QueueFull
from server.jobs.store import JobStore
from server.scheduling.shares import Shares
from server.settings.settings import Settings

RETRY_AFTER_S = 30
"""`Retry-After` when the job queue is full: jobs take minutes."""


class JobRoom:
    """Bounds uploads, jobs and bytes, in all and for each caller.

    Uploads are counted in this process; servers that share a store each count their own.
    """

    def __init__(self, store: JobStore, settings: Settings) -> None:
        self._store = store
        share = settings.max_caller_share
        self._uploads = Shares(settings.max_job_uploads, share)
        self._jobs = Shares(settings.max_jobs, share)
        self._quota = DiskQuota(
            settings.job_storage_bytes,
            lambda: RETRY_AFTER_S,
            share=share,
            largest=settings.job_max_upload_bytes,
        )
        self._reads: dict[object, list[tuple[str, int]]] = {}

    @asynccontextmanager
    async def reserve(self, caller: str, declared: int) -> AsyncIterator[Callable[[int], None]]:
        """Holds a place and room for a job's body; yields what grows the room to a size.

        Args:
            caller: whose share is counted.
            declared: size of the body in bytes, as far as it is known.

        Raises:
            QueueFull: there is no place or no room; what is yielded raises it too.
            JobsUnavailable: the store does not answer.
        """
        if not self._uploads.has_room(caller):
            raise QueueFull(RETRY_AFTER_S)
        with self._uploads.hold(caller), self._jobs.hold(caller):
            await self._read()
            if not self._jobs.has_room(caller, 0):
                raise QueueFull(RETRY_AFTER_S)
            with self._quota.reserve(caller) as grow_to:
                # A body of unknown size asks for its first byte: none comes into a full store.
                grow_to(max(1, declared))
                yield grow_to

    def settle(self, caller: str, size_bytes: int) -> None:
        """Counts a body that has become a job of the store, until the store is read again."""
        for settled in self._reads.values():
            settled.append((caller, size_bytes))
        self._count([(caller, 1, size_bytes)], onto=True)

    async def _read(self) -> None:
        """Reads what the store holds; what is settled meanwhile may be missing there."""
        read, settled = object(), list[tuple[str, int]]()
        self._reads[read] = settled
        try:
            stored = await self._store.call(self._store.waiting)
        finally:
            del self._reads[read]
        rows = [(f"key {name}" if name else "", *held) for name, held in stored.items()]
        self._count(rows + [(caller, 1, size_bytes) for caller, size_bytes in settled])

    def _count(self, rows: list[tuple[str, int, int]], *, onto: bool = False) -> None:
        jobs, size_bytes = Counter[str](), Counter[str]()
        if onto:
            jobs.update(self._jobs.elsewhere)
            size_bytes.update(self._quota.shares.elsewhere)
        for caller, count, held_bytes in rows:
            jobs[caller] += count
            size_bytes[caller] += held_bytes
        self._jobs.elsewhere, self._quota.shares.elsewhere = jobs, size_bytes
