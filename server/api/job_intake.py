"""Job intake: a request with `Prefer: respond-async` -> a durable job."""

import asyncio
import contextlib
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from starlette.requests import Request

from server.api.clip_request import (
    BOTH,
    check_no_track,
    features_limit,
    read_options,
    timeout_of,
)
from server.api.middleware import CALLER
from server.api.uploads.bodies import MemoryBody
from server.api.uploads.job_room import JobRoom
from server.api.uploads.pace import Pace
from server.api.uploads.receive import Upload, UploadReceiver, holder_of
from server.engine.engine import Engine
from server.engine.uploaded_features import read_features
from server.errors import (
    FeaturesTooLong,
    FieldInvalid,
    JobsUnavailable,
    KeyReused,
    NotFound,
    VideoTooLong,
)
from server.jobs.files import sha256_of
from server.jobs.idempotency import EarlierUse
from server.jobs.records import Job, NewJob
from server.jobs.service import Jobs
from server.jobs.ssrf_safe_client import UrlRefused
from server.schemas.options import PredictOptions, PredictParameters

KEY_LEASE_S = 15.0
"""Lease of an idempotency key while its body is received."""

RENEWALS = 3
"""How often it is renewed within its length."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, eq=False)
class TeachJob:
    """What a job that teaches a skill is to know.

    Attributes:
        request: shown with the job, as JSON.
        input: kept for the job.
        webhook_url: gets a message about the end.
    """

    request: dict[str, Any]
    input: bytes
    webhook_url: str | None


class Intake:
    """Receives bodies of jobs, with a spool and limits apart from synchronous requests."""

    def __init__(self, engine: Engine, jobs: Jobs) -> None:
        self._engine, self._jobs = engine, jobs
        self._settings = engine.settings
        self._room = JobRoom(jobs.store, engine.settings)
        self._spool = UploadReceiver(
            jobs.files.incoming,
            max_bytes=self._settings.job_max_upload_bytes,
            timeout_s=self._settings.job_upload_timeout_s,
            pace=Pace(self._settings.min_upload_bytes_s, self._settings.upload_stall_s),
            reserve=self._room.reserve,
        )
        self.directory = self._spool.directory

    async def accept(self, request: Request, query: PredictParameters) -> Job:
        """Returns the new job, or the job of an earlier request with the same idempotency key.

        Raises:
            ServerError: the queue is full, or the body, the options or the key are invalid.
        """
        self._engine.life.require_open()
        caller, key = caller_of(request), _key_of(request)
        limit = partial(features_limit, self._engine, self._settings.job_max_duration_s)
        async with (
            self._reserved(caller, key) as earlier,
            # Its place and room are held until the job is in the store, which counts it then.
            self._spool.receive(request, BOTH, features_limit=limit) as upload,
        ):
            options = read_options(query, upload.options, PredictOptions)
            await self._check(options, upload)
            new = await self._describe(upload, options, caller)
            body_sha256 = _body_hash(new)
            if earlier is not None:
                return await self._again(earlier, body_sha256, caller)
            job = await self._jobs.accept(new, upload.path, key=key, body_sha256=body_sha256)
            self._room.settle(holder_of(request), upload.size_bytes)
            return job

    async def accept_labels(
        self, request: Request, *, max_bytes: int, describe: Callable[[bytes], Awaitable[TeachJob]]
    ) -> Job:
        """Returns the job of a JSON body that teaches a skill; idempotency keys as in `accept`.

        Args:
            request: whose body has not been read.
            max_bytes: of the body.
            describe: checks the body, and returns what the job is to know.

        Raises:
            ServerError: the queue is full, or the body or the key is invalid.
        """
        self._engine.life.require_open()
        caller, key = caller_of(request), _key_of(request)
        held = self._spool.hold(request, lambda _: MemoryBody(max_bytes))
        async with self._reserved(caller, key) as earlier, held as (path, _, body):
            sent = bytes(body.data)
            sent_sha256 = hashlib.sha256(sent).hexdigest()
            if earlier is not None:
                return await self._again(earlier, sent_sha256, caller)
            teach_job = await describe(sent)
            self._check_webhook(teach_job.webhook_url)
            await self._jobs.files.call(path.write_bytes, teach_job.input)
            new = NewJob(
                id=uuid4().hex,
                caller=caller,
                request=teach_job.request,
                input_kind="labels",
                input_bytes=len(teach_job.input),
                input_sha256=sent_sha256,
                webhook_url=teach_job.webhook_url,
            )
            job = await self._jobs.accept(new, path, key=key, body_sha256=sent_sha256)
            self._room.settle(holder_of(request), new.input_bytes)
            return job

    @asynccontextmanager
    async def _reserved(self, caller: str, key: str | None) -> AsyncIterator[EarlierUse | None]:
        """Holds an idempotency key while its body is received; yields its earlier use."""
        if key is None:
            yield None
            return
        keys, now_s = self._jobs.keys, time.time()
        earlier = await keys.call(keys.reserve, caller, key, now_s=now_s, hold_s=KEY_LEASE_S)
        if earlier is not None:
            yield earlier
            return
        renewing = asyncio.create_task(self._renew(caller, key))
        try:
            yield None
        except BaseException:
            await asyncio.shield(keys.call(keys.release, caller, key))
            raise
        finally:
            renewing.cancel()

    async def _renew(self, caller: str, key: str) -> None:
        while True:
            await asyncio.sleep(KEY_LEASE_S / RENEWALS)
            with contextlib.suppress(JobsUnavailable):
                keys = self._jobs.keys
                await keys.call(keys.renew, caller, key, now_s=time.time(), hold_s=KEY_LEASE_S)

    async def _check(self, options: PredictOptions, upload: Upload) -> None:
        """Refuses whatever can be checked before the job runs."""
        self._engine.long_video.check(options)
        timeout_of(options, self._settings.job_timeout_s)
        self._check_webhook(options.webhook_url)
        if upload.kind == "features":
            check_no_track(options)
            encoder, limit_s = self._engine.predictor.encoder, self._settings.job_max_duration_s
            try:
                await self._jobs.files.call(
                    read_features, upload.path, encoder, max_duration_s=limit_s
                )
            except FeaturesTooLong as error:
                raise VideoTooLong(str(error)) from error

    def _check_webhook(self, url: str | None) -> None:
        if url is None:
            return
        if self._jobs.client is None:
            raise FieldInvalid(("/webhook_url", "this server sends no webhooks"))
        try:
            self._jobs.client.check(url)
        except UrlRefused as error:
            raise FieldInvalid(("/webhook_url", str(error))) from error

    async def _describe(self, upload: Upload, options: PredictOptions, caller: str) -> NewJob:
        request = options.model_dump(mode="json", exclude_unset=True, by_alias=True)
        return NewJob(
            id=uuid4().hex,
            caller=caller,
            request=request,
            input_kind=upload.kind,
            input_bytes=upload.size_bytes,
            input_sha256=await self._jobs.files.call(sha256_of, upload.path),
            webhook_url=request.pop("webhook_url", None),  # may hold a token: never shown
        )

    async def _again(self, earlier: EarlierUse, body_sha256: str, caller: str) -> Job:
        if earlier.body_sha256 != body_sha256:
            raise KeyReused("send another Idempotency-Key with another body")
        store = self._jobs.store
        job = await store.call(store.get, earlier.job_id, caller)
        if job is None:
            raise NotFound("the job of this Idempotency-Key was forgotten just now")
        return job


def caller_of(request: Request) -> str:
    """Returns the name of the caller's API key: jobs are visible to the key they were sent with."""
    return str(request.scope.get(CALLER, ""))


def _key_of(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise FieldInvalid(("/idempotency-key", "give 1 to 255 visible ASCII characters"))
    return key


def _body_hash(new: NewJob) -> str:
    """Hash of everything that defines the job; the framing of a form does not."""
    parts = [new.input_kind, new.input_sha256, new.request, new.webhook_url]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
