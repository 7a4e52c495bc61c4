"""Session: sends requests with deadlines and retries, and maps failures to `clients.errors`."""

import itertools
import json
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from clients.api.requests import ApiRequest
from clients.api.sse import EventReader, ServerEvent
from clients.api.transport import Transport
from clients.errors import Busy, ClientError, ServerFault, TimedOut, Unreachable, error_of

MAX_WAIT_S = 60.0
"""Longest `Retry-After` to wait out; with a longer one the call fails as `Busy`."""

JITTER = 0.25
"""Up to this share is added to each wait, so that clients do not retry in step."""

BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError)
"""Retried: the connection was refused or broke. A time-out is not: it would be as slow again."""

KEY_IN_PROGRESS = "idempotency-in-progress"
"""Code for a retry while the server has not noticed yet that the first try broke off."""


@dataclass(frozen=True)
class RetryPolicy:
    """Timeouts and retries.

    Attributes:
        connect_s: connect timeout.
        silence_s: read and write timeout: longest time without a byte.
        total_s: longest time for a whole call, with its retries; None: no limit.
        max_retries: retries when the server is busy or the connection breaks.
    """

    connect_s: float = 10.0
    silence_s: float = 120.0
    total_s: float | None = None
    max_retries: int = 3


class Deadline:
    """The instant by which a call has to end."""

    def __init__(self, total_s: float | None) -> None:
        self._until_s = None if total_s is None else time.monotonic() + total_s

    @property
    def left_s(self) -> float:
        """Seconds left; infinite without a limit."""
        return float("inf") if self._until_s is None else self._until_s - time.monotonic()

    def check(self) -> None:
        """Raises TimedOut once it has passed."""
        if self.left_s <= 0:
            raise TimedOut("the time allowed for the call is up")


class Session:
    """Base of all calls: knows HTTP and no endpoint."""

    def __init__(self, transport: Transport, policy: RetryPolicy) -> None:
        self._transport = transport
        self._policy = policy

    async def _json(self, request: ApiRequest) -> dict[str, Any]:
        """Returns the JSON object of a success."""
        response = await self._whole(request)
        body = _object(response)
        if body is None:
            raise ServerFault("the answer is not a JSON object", status=response.status_code)
        return body

    async def _whole(self, request: ApiRequest) -> httpx.Response:
        """Returns a success with its whole body."""
        response = await self._send(request, Deadline(self._policy.total_s))
        try:
            await self._transport.read(response)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            await self._transport.close(response)
        return response

    async def _listen(
        self, request: ApiRequest, deadline: Deadline | None = None
    ) -> AsyncGenerator[ServerEvent, None]:
        """Yields the events of a stream until it ends, or breaks."""
        deadline = deadline or Deadline(self._policy.total_s)
        response = await self._send(request, deadline)
        reader = EventReader()
        try:
            async with aclosing(self._transport.chunks(response)) as chunks:
                async for chunk in chunks:
                    for event in reader.feed(chunk):
                        yield event
                    deadline.check()
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            await self._transport.close(response)

    async def _send(self, request: ApiRequest, deadline: Deadline) -> httpx.Response:
        """Returns a success, of which the headers have arrived, after up to all retries."""
        for attempt in itertools.count():
            try:
                return await self._once(request, deadline)
            except ClientError as error:
                wait_s = pause_s(error, attempt)
                is_last = attempt >= self._policy.max_retries
                if isinstance(error, Unreachable) and not request.is_repeatable:
                    raise
                if wait_s is None or is_last or wait_s >= deadline.left_s:
                    raise
            await self._transport.sleep(wait_s)
        raise AssertionError("counting does not end")

    async def _once(self, request: ApiRequest, deadline: Deadline) -> httpx.Response:
        deadline.check()
        silence_s = min(self._policy.silence_s, deadline.left_s)
        timeout = httpx.Timeout(silence_s, connect=min(self._policy.connect_s, silence_s))
        try:
            with request.body(deadline.check) as body:
                sent = self._transport.http.build_request(
                    request.method,
                    request.path,
                    params=request.params or None,
                    headers=request.headers,
                    timeout=timeout,
                    **body,
                )
                response = await self._transport.send(sent)
            if response.is_success:
                return response
            try:
                await self._transport.read(response)
            finally:
                await self._transport.close(response)
        except httpx.HTTPError as error:
            deadline.check()
            raise self._unreachable(error) from error
        raise error_of(response.status_code, _object(response) or {}, _retry_after_s(response))

    def _unreachable(self, error: httpx.HTTPError) -> Unreachable:
        where = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(f"no answer from {where} in time")
        return Unreachable(f"cannot reach {where}: {error}")


def pause_s(error: ClientError, attempt: int) -> float | None:
    """Returns how long to wait before the next try, or None for an error that is not retried."""
    if isinstance(error, Unreachable):
        wait_s = 0.25 * 2.0**attempt if isinstance(error.__cause__, BROKEN) else None
    elif isinstance(error, Busy) or error.code == KEY_IN_PROGRESS:
        wait_s = 1.0 if error.retry_after_s is None else error.retry_after_s
    else:
        wait_s = None
    if wait_s is None or wait_s > MAX_WAIT_S:
        return None
    return wait_s * (1 + JITTER * random.random())


def data_of(event: ServerEvent) -> dict[str, Any]:
    """Returns the JSON object that an event carries.

    Raises:
        ServerFault: there is none.
    """
    try:
        data = json.loads(event.data)
    except ValueError as error:
        raise ServerFault(f"the event `{event.name}` is not JSON") from error
    if not isinstance(data, dict):
        raise ServerFault(f"the event `{event.name}` is not a JSON object")
    return data


def _object(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON object of a body; None where it is none."""
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds that `Retry-After` names, as a number or as a date (RFC 9110, section 10.2.3)."""
    text = response.headers.get("retry-after", "")
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        instant = parsedate_to_datetime(text)
    except ValueError:
        return None
    wait_s: float = (instant.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, wait_s)
