"""Asks about many clips at once, and keeps every outcome as soon as it is there."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from clients.aio import AsyncEgoPackClient
from clients.api.requests import Choices
from clients.batch.folder import BatchFolder
from clients.errors import KeyRefused, NeedsJob, Rejected, ServerFault
from clients.results.predictions import PredictionResult

MAX_RETRIES = 30
"""A batch has time: it comes back to a busy server for as long as the server is there."""


class BatchRunner:
    """Takes clips from a list until none is left, a few at a time."""

    def __init__(
        self,
        client: AsyncEgoPackClient,
        folder: BatchFolder,
        choices: Choices,
        *,
        sha256: str,
        on_done: Callable[[bool], None],
    ) -> None:
        """Wires the parts.

        Args:
            client: of the server.
            folder: keeps the outcomes.
            choices: of every request.
            sha256: of the model that the batch began with.
            on_done: hears of every clip whether it was answered.
        """
        self._client, self._folder, self._choices = client, folder, choices
        self._sha256 = sha256
        self._on_done = on_done

    async def run(self, clips: Mapping[str, Path], *, concurrency: int) -> None:
        """Returns once every clip has an outcome.

        Args:
            clips: name -> clip.
            concurrency: requests at once.

        Raises:
            KeyRefused, Busy, Unreachable: going on is pointless; what is done stays done.
            ServerFault: the server has begun to serve another model.
        """
        left = iter(clips.items())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(clips))):
                    group.create_task(self._work(left))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _work(self, left: Iterator[tuple[str, Path]]) -> None:
        for name, clip in left:
            try:
                result = await self._answer(name, clip)
            except KeyRefused:
                raise
            except (Rejected, ServerFault, OSError) as error:
                self._folder.keep_error(name, error)
                self._on_done(False)
                continue
            if result.model.sha256 != self._sha256:
                raise ModelChanged("the server has begun to serve another model; begin anew")
            self._folder.keep_answer(name, result)
            self._on_done(True)

    async def _answer(self, name: str, clip: Path) -> PredictionResult:
        try:
            return await self._client.predict(clip, **self._choices)
        except NeedsJob:
            key = self._key(name, clip)
            job = await self._client.submit(clip, idempotency_key=key, **self._choices)
            await self._client.wait(job.id)
            return await self._client.result(job.id)

    def _key(self, name: str, clip: Path) -> str | None:
        """The same in every run of a batch, so that a job outlives a run that was killed.

        After a failure it is a new one, for the old one stands for the job that failed.
        """
        if self._folder.has_error(name, clip):
            return None
        stat = clip.stat()
        facts = f"{self._folder.run_id}/{stat.st_size}/{stat.st_mtime_ns}/{name}"
        return hashlib.sha256(os.fsencode(facts)).hexdigest()


class ModelChanged(ServerFault):
    """Another model answers than the batch began with."""
