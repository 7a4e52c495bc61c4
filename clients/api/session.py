"""Sends what is asked, again where that helps, and gives back the reply or raises what it means."""

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
"""Longest single wait a server may ask for; one that asks for more is busy."""

JITTER = 0.25
"""Up to this share is added to each wait, so that callers sent away together come back apart."""

BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError)
"""The connection was refused or broke; one that is merely silent would be as slow next time."""

KEY_IN_PROGRESS = "idempotency-in-progress"
"""What a retry is told while the server has not noticed yet that the first try broke off."""


@dataclass(frozen=True)
class RetryPolicy:
    """How long to put up with what.

    Attributes:
        connect_s: until a connection stands.
        silence_s: between two pieces of an answer, or of a body on its way.
        total_s: for a whole call, with its retries; None: no limit.
        max_retries: how often to come back to a server that is busy or broke off.
    """

    connect_s: float = 10.0
    silence_s: float = 120.0
    total_s: float | None = None
    max_retries: int = 3


class Deadline:
    """When a call has to end."""

    def __init__(self, total_s: float | None) -> None:
        self._until_s = None if total_s is None else time.monotonic() + total_s

    @property
    def left_s(self) -> float:
        """Seconds until then; infinite without a limit."""
        return float("inf") if self._until_s is None else self._until_s - time.monotonic()

    def check(self) -> None:
        """Raises once it has passed.

        Raises:
            TimedOut: it has.
        """
        if self.left_s <= 0:
            raise TimedOut("the time allowed for the call is up")


class Session:
    """What every call goes through; knows HTTP and no endpoint."""

    def __init__(self, port: Transport, patience: RetryPolicy) -> None:
        self._port = port
        self._patience = patience

    async def _json(self, outgoing: ApiRequest) -> dict[str, Any]:
        """Returns the JSON object that answers."""
        return json_of(await self._ask(outgoing))

    async def _ask(self, outgoing: ApiRequest) -> httpx.Response:
        """Returns a success, whole."""
        deadline = Deadline(self._patience.total_s)
        response = await self._send(outgoing, deadline)
        try:
            await self._port.read(response)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            await self._port.close(response)
        return response

    async def _listen(
        self, outgoing: ApiRequest, deadline: Deadline
    ) -> AsyncGenerator[ServerEvent, None]:
        """Yields the events of a stream until it ends, or breaks."""
        response = await self._send(outgoing, deadline)
        reader = EventReader()
        try:
            async with aclosing(self._port.chunks(response)) as chunks:
                async for chunk in chunks:
                    for event in reader.feed(chunk):
                        yield event
                    deadline.check()
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            await self._port.close(response)

    async def _send(self, outgoing: ApiRequest, deadline: Deadline) -> httpx.Response:
        """Returns a success of which the head is here, after as many tries as are allowed."""
        for attempt in itertools.count():
            try:
                return await self._once(outgoing, deadline)
            except ClientError as error:
                wait_s = pause_s(error, attempt)
                is_last = attempt >= self._patience.max_retries
                if wait_s is None or is_last or wait_s >= deadline.left_s:
                    raise
            await self._port.sleep(wait_s)
        raise AssertionError("counting does not end")

    async def _once(self, outgoing: ApiRequest, deadline: Deadline) -> httpx.Response:
        deadline.check()
        silence_s = min(self._patience.silence_s, deadline.left_s)
        timeout = httpx.Timeout(silence_s, connect=min(self._patience.connect_s, silence_s))
        try:
            with outgoing.body(deadline.check) as body:
                request = self._port.build(
                    outgoing.method,
                    outgoing.path,
                    params=outgoing.params or None,
                    headers=outgoing.headers,
                    timeout=timeout,
                    **body,
                )
                response = await self._port.send(request)
            if response.is_success:
                return response
            try:
                await self._port.read(response)
            finally:
                await self._port.close(response)
        except httpx.HTTPError as error:
            deadline.check()
            raise self._unreachable(error) from error
        raise error_of(response.status_code, _problem(response), _retry_after_s(response))

    def _unreachable(self, error: httpx.HTTPError) -> Unreachable:
        where = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(f"no answer from {where} in time")
        return Unreachable(f"cannot reach {where}: {error}")


def pause_s(error: ClientError, attempt: int) -> float | None:
    """Returns how long to wait before asking again, or None where that would be pointless.

    Args:
        error: what came of the last try.
        attempt: how many tries went before it.
    """
    if isinstance(error, Unreachable):
        wait_s = 0.25 * 2.0**attempt if isinstance(error.__cause__, BROKEN) else None
    elif isinstance(error, Busy) or error.code == KEY_IN_PROGRESS:
        wait_s = 1.0 if error.retry_after_s is None else error.retry_after_s
    else:
        wait_s = None
    if wait_s is None or wait_s > MAX_WAIT_S:
        return None
    return wait_s * (1 + JITTER * random.random())


def json_of(response: httpx.Response) -> dict[str, Any]:
    """Returns the JSON object of a success.

    Raises:
        ServerFault: there is none.
    """
    body = _parsed(response)
    if not isinstance(body, dict):
        raise ServerFault("the answer is not a JSON object", status=response.status_code)
    return body


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


def _problem(response: httpx.Response) -> dict[str, Any]:
    body = _parsed(response)
    return body if isinstance(body, dict) else {}


def _parsed(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


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
