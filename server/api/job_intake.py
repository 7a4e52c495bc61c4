"""Job intake: a request with `Prefer: respond-async` -> a durable job."""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from starlette.requests import Request

from server.api.clip_request import BOTH, check_no_track, read_options, timeout_of
from server.api.middleware import CALLER
from server.api.uploads.receive import Upload, UploadReceiver
from server.engine.engine import Engine
from server.engine.uploaded_features import read_features
from server.errors import (
    FeaturesTooLong,
    FieldInvalid,
    KeyReused,
    NotFound,
    QueueFull,
    VideoTooLong,
)
from server.jobs.files import sha256_of
from server.jobs.idempotency import EarlierUse
from server.jobs.records import Job, NewJob
from server.jobs.service import Jobs
from server.jobs.ssrf_safe_client import UrlRefused
from server.schemas.options import PredictOptions, PredictParameters

RETRY_AFTER_S = 30
"""`Retry-After` when the job queue is full: jobs take minutes."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class Intake:
    """Receives bodies of jobs, with a spool and limits apart from synchronous requests."""

    def __init__(self, engine: Engine, jobs: Jobs) -> None:
        self._engine, self._jobs = engine, jobs
        self._settings = engine.settings
        self._spool = UploadReceiver(
            jobs.files.incoming,
            max_bytes=self._settings.job_max_upload_bytes,
            timeout_s=self._settings.job_upload_timeout_s,
        )

    def close(self) -> None:
        """Removes bodies that were being received."""
        self._spool.directory.remove()

    async def accept(self, request: Request, query: PredictParameters) -> Job:
        """Returns the new job, or the job of an earlier request with the same idempotency key.

        Raises:
            ServerError: the queue is full, or the body, the options or the key are invalid.
        """
        self._engine.life.require_open()
        await self._check_room()
        caller, key = caller_of(request), _key_of(request)
        async with (
            self._reserved(caller, key) as earlier,
            self._spool.receive(request, BOTH) as upload,
        ):
            options = read_options(query, upload.options, PredictOptions)
            await self._check(options, upload)
            new = await self._describe(upload, options, caller)
            body_sha256 = _body_hash(new)
            if earlier is not None:
                return await self._again(earlier, body_sha256, caller)
            return await self._jobs.accept(new, upload.path, key=key, body_sha256=body_sha256)

    async def _check_room(self) -> None:
        store = self._jobs.store
        count, size_bytes = await store.call(store.waiting)
        settings = self._settings
        if count >= settings.max_jobs or size_bytes >= settings.job_storage_bytes:
            raise QueueFull(RETRY_AFTER_S)

    @asynccontextmanager
    async def _reserved(self, caller: str, key: str | None) -> AsyncIterator[EarlierUse | None]:
        """Reserves an idempotency key while its body is received; yields its earlier use."""
        if key is None:
            yield None
            return
        keys, hold_s = self._jobs.keys, 2 * self._settings.job_upload_timeout_s
        now_s = time.time()
        earlier = await keys.call(keys.reserve, caller, key, now_s=now_s, hold_s=hold_s)
        try:
            yield earlier
        except BaseException:
            if earlier is None:
                await asyncio.shield(keys.call(keys.release, caller, key))
            raise

    async def _check(self, options: PredictOptions, upload: Upload) -> None:
        """Refuses whatever can be checked before the job runs."""
        self._engine.long_video.check(options)
        timeout_of(options, self._settings.job_timeout_s)
        if options.webhook_url is not None:
            if self._jobs.client is None:
                raise FieldInvalid(("/webhook_url", "this server sends no webhooks"))
            try:
                self._jobs.client.check(options.webhook_url)
            except UrlRefused as error:
                raise FieldInvalid(("/webhook_url", str(error))) from error
        if upload.kind == "features":
            check_no_track(options)
            encoder, limit_s = self._engine.predictor.encoder, self._settings.job_max_duration_s
            try:
                await self._jobs.files.call(
                    read_features, upload.path, encoder, max_duration_s=limit_s
                )
            except FeaturesTooLong as error:
                raise VideoTooLong(str(error)) from error

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
