"""HTTP callers of one server; every call becomes an `Answer`."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import httpx

from bench.load.answers import HUNG_UP, LOST, REFUSALS, Answer
from bench.load.clips import LoadClip
from clients.client import may_use_proxy

MAX_RETRIES = 20
"""How often an obedient caller comes back with one clip."""


@dataclass(frozen=True)
class Door:
    """Endpoint of a server for clips.

    Attributes:
        url: of the server.
        path: of the endpoint.
        part: of the form, that holds the clip.
        headers: sent with every call.
    """

    url: str
    path: str = "/v1/predictions"
    part: str = "video"
    headers: Mapping[str, str] = field(default_factory=dict)


class Callers:
    """Callers of one endpoint; use it as an asynchronous context manager.

    Attributes:
        answers: what every call met so far, in the order of their ends.
        begun_s: when the first caller may have come, on the monotonic clock.
    """

    def __init__(self, door: Door, *, timeout_s: float = 180.0, obey: bool = False) -> None:
        """Opens no connection yet.

        Silence is put up with for `timeout_s`; who obeys retries a refusal after its Retry-After.
        """
        self._door = door
        self._obey = obey
        self._http = httpx.AsyncClient(
            base_url=door.url,
            headers=dict(door.headers),
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=may_use_proxy(door.url),
        )
        self.answers: list[Answer] = []
        self.begun_s = time.monotonic()

    async def __aenter__(self) -> Self:
        self.begun_s = time.monotonic()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(self, clip: LoadClip, *, hang_up_s: float | None = None) -> Answer:
        """Sends a clip, retries it if Retry-After is respected, and returns the last answer.

        The caller loses patience after `hang_up_s`.
        """
        for _ in range(MAX_RETRIES):
            answer = await self._once(clip, hang_up_s)
            self.answers.append(answer)
            if not (self._obey and answer.status in REFUSALS):
                break
            await asyncio.sleep(answer.retry_after_s or 1)
        return answer

    async def _once(self, clip: LoadClip, hang_up_s: float | None) -> Answer:
        sent_s = time.monotonic()
        status, code, wait = LOST, "", None
        try:
            async with asyncio.timeout(hang_up_s):
                response = await self._http.post(
                    self._door.path,
                    files={self._door.part: ("clip", clip.body, "application/octet-stream")},
                )
            status = response.status_code
            code = "" if response.is_success else _code(response)
            text = response.headers.get("retry-after", "")
            wait = int(text) if text.isdecimal() else None
        except TimeoutError:
            status = HUNG_UP
        except httpx.HTTPError as error:
            code = type(error).__name__
        return Answer(
            clip=clip.name,
            status=status,
            code=code,
            sent_s=sent_s - self.begun_s,
            took_s=time.monotonic() - sent_s,
            retry_after_s=wait,
            is_expected=status in REFUSALS or status == HUNG_UP or status in clip.statuses,
        )


def _code(response: httpx.Response) -> str:
    try:
        return str(response.json().get("code", ""))
    except (ValueError, AttributeError):
        return ""
